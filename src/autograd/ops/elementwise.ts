/** How elementwise ops are made: a scalar kernel, its derivative, and nothing about loops. */
import type { ScalarKernel } from '../../kernels/device.js';
import { builtIn } from '../../kernels/source/own.js';
import { zipFlat, zipped } from '../../kernels/walk.js';
import { broadcastShapes } from '../../tensor/shape.js';
import { unbroadcast } from '../broadcast.js';
import { defineBuiltIn, type Int32Rule, type OpDefinition, type OpTest, type VjpContext } from '../op.js';
import { type Operand, Tensor } from '../tensor.js';

export interface UnaryDefinition {
  /** Of the op and of its kernel; with `Grad` at the end, of the derivative's. */
  name: string;
  equation: string;
  derivative: string;
  source?: string;
  kernel: ScalarKernel;
  /** Default: 'float32'. */
  int32?: Int32Rule;
  /** The kernel of whole numbers where `kernel` would not be exact: `kernelInt32: f.imul`. */
  kernelInt32?: ScalarKernel;
  /** Whether the derivative needs x (input) or y (output). */
  saves: 'input' | 'output' | 'nothing';
  /** x̄ in differentiable ops, or the reason why there is none. */
  vjp: ((context: VjpContext<void>) => Tensor) | string;
  /** x̄ as one kernel of (ȳ, saved value): the same derivative, fused. */
  gradKernel?: ScalarKernel;
  test?: OpTest<void>;
}

export type Unary = (x: Tensor) => Tensor;

/** Defines y_i = f(x_i), an op of this library. */
export function defineUnary(definition: UnaryDefinition): Unary {
  const { name, kernel, kernelInt32 = kernel, gradKernel } = definition;
  builtIn({ [name]: kernel, ...(gradKernel && { [`${name}Grad`]: gradKernel }) });
  if (kernelInt32 !== kernel) builtIn({ [`${name}Int32`]: kernelInt32 });
  const op = defineBuiltIn(unaryOp(definition));
  return (x) => op([x]);
}

/** The op of a function of one number. */
export function unaryOp(definition: UnaryDefinition): OpDefinition<void> {
  const { kernel, kernelInt32 = kernel, saves, gradKernel, vjp, ...rest } = definition;
  return {
    int32: 'float32',
    ...rest,
    saves: { inputs: saves === 'input' ? [0] : [], output: saves === 'output' },
    kernel: ([x], { device, dtype }) => device.map(dtype === 'int32' ? kernelInt32 : kernel, x as never),
    vjp: typeof vjp === 'string' ? vjp : [vjp],
    ...(gradKernel && {
      fusedVjp: ({ gradOutput, inputs: [x], output }) => [
        zip(gradKernel, gradOutput, saves === 'output' ? output : x!),
      ],
    }),
  };
}

/** One elementwise kernel of two same-shape tensors, unrecorded: for fused derivatives. */
export function zip(kernel: ScalarKernel, a: Tensor, b: Tensor): Tensor {
  return new Tensor(zipFlat(a.storage.device, kernel, a.storage, b.storage), a.shape);
}

export interface BinaryDefinition {
  /** Of the op and of its kernel. */
  name: string;
  equation: string;
  derivative: string;
  source?: string;
  kernel: ScalarKernel;
  /** The kernel of whole numbers where `kernel` would not be exact. */
  kernelInt32?: ScalarKernel;
  saves: { inputs?: readonly number[]; output?: boolean };
  /** ā and b̄ before broadcasting is undone, or the reason why there are none. */
  vjp: [(context: VjpContext<void>) => Tensor, (context: VjpContext<void>) => Tensor] | string;
  /** Default: 'exact'. */
  int32?: Int32Rule;
  test?: OpTest<void>;
}

/** At least one of the two is a tensor. */
export type Binary = (a: Operand, b: Operand) => Tensor;

/** Defines y = f(a, b) with NumPy broadcasting, an op of this library. */
export function defineBinary(definition: BinaryDefinition): Binary {
  builtIn({ [definition.name]: definition.kernel });
  const op = defineBuiltIn(binaryOp(definition));
  return (a, b) => op([a, b]);
}

/** The op of a function of two numbers. */
export function binaryOp(definition: BinaryDefinition): OpDefinition<void> {
  const { kernel, kernelInt32 = kernel, vjp, name, ...rest } = definition;
  return {
    ...rest,
    name,
    numbers: true,
    shape: (shapes) => broadcastShapes(name, ...shapes),
    kernel: (inputs, { device, shapes, outputShape, dtype }) =>
      zipped(device, dtype === 'int32' ? kernelInt32 : kernel, outputShape, inputs, shapes),
    vjp:
      typeof vjp === 'string'
        ? vjp
        : vjp.map((part, i) => (context: VjpContext<void>) => unbroadcast(part(context), context.shapes[i]!)),
  };
}

/** Adds `x.name(…)` for functions whose first argument is a tensor. Their types are declared where this is called. */
export function addMethods(
  methods: { [K in keyof Tensor]?: unknown } | Record<string, (...args: never[]) => unknown>,
): void {
  for (const [name, fn] of Object.entries(methods)) {
    Object.defineProperty(Tensor.prototype, name, {
      configurable: true,
      writable: true,
      value(this: Tensor, ...args: unknown[]) {
        return (fn as (...all: unknown[]) => unknown)(this, ...args);
      },
    });
  }
}
