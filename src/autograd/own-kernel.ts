/**
 * Elementwise ops of users, from a function of numbers. They are what built-in ones are, but for two things: their names
 * may be taken again, and their kernel is its text and nothing else, so that no device has a faster form of it.
 */
import type { ScalarKernel } from '../kernels/device.js';
import { kernelOf } from '../kernels/source/identity.js';
import { describeValue, UsageError } from '../tensor/errors.js';
import { defineOp, type VjpContext } from './op.js';
import {
  type Binary,
  type BinaryDefinition,
  binaryOp,
  type Unary,
  type UnaryDefinition,
  unaryOp,
} from './ops/elementwise.js';
import type { Tensor } from './tensor.js';

/** y_i = f(x_i), and its derivative: see {@link defineUnary}. */
export type OwnUnary = Pick<UnaryDefinition, 'name' | 'equation' | 'derivative' | 'source' | 'kernel' | 'int32'> & {
  /** Whether the derivative needs x (input, the default) or y (output); what is not needed is not kept. */
  saves?: UnaryDefinition['saves'];
  /** x̄ in differentiable ops, of `{ gradOutput, inputs: [x], output }`; or the reason why there is none. */
  vjp: UnaryDefinition['vjp'];
  /** x̄ as one kernel of (ȳ, x), or of (ȳ, y) where `saves` is 'output': the same derivative, in one pass. */
  gradKernel?: ScalarKernel;
};

/** y = f(a, b), and its derivatives: see {@link defineBinary}. */
export type OwnBinary = Pick<BinaryDefinition, 'name' | 'equation' | 'derivative' | 'source' | 'kernel' | 'int32'> & {
  /** What the derivatives need: inputs by position, the output. Default: all. */
  saves?: BinaryDefinition['saves'];
  /** ā and b̄ in differentiable ops, before broadcasting is undone; or the reason why there are none. */
  vjp: [(context: VjpContext<void>) => Tensor, (context: VjpContext<void>) => Tensor] | string;
};

/**
 * Defines y_i = f(x_i) from f as a function of a number, and gives the function of tensors. f runs on every device; it
 * sees its parameter, its own variables and Math alone (docs/own-kernel.md has the rules), which is checked here.
 *
 * @example
 * const softsign = defineUnary({
 *   name: 'softsign', equation: 'y = x / (1 + |x|)', derivative: 'x̄ = ȳ / (1 + |x|)²',
 *   kernel: (x) => x / (1 + Math.abs(x)),
 *   vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x.abs().add(1).square()),
 * });
 * softsign(tensor([1, -3]))
 *
 * int32 tensors are computed in float32, unless `int32` says otherwise.
 * @throws KernelError when a kernel breaks the rules or takes another number of arguments; UsageError when the name is
 *   that of a built-in op, or a part is missing
 */
export function defineOwnUnary(definition: OwnUnary): Unary {
  checkParts('defineUnary', definition, ['input', 'output', 'nothing']);
  const { saves = 'input', gradKernel, vjp } = definition;
  kernelOf(definition.kernel, 1);
  if (gradKernel !== undefined) {
    kernelOf(gradKernel, 2);
    if (saves === 'nothing' || typeof vjp === 'string')
      throw new UsageError('defineUnary', {
        received: `a gradKernel for ${definition.name}, which ${typeof vjp === 'string' ? 'has no derivative' : 'saves nothing'}`,
        expected: "saves: 'input' or 'output', and a vjp that is the same derivative",
      });
  }
  const op = defineOp(unaryOp({ ...definition, saves }));
  return (x) => op([x]);
}

/**
 * Defines y = f(a, b), broadcast as NumPy does, from f as a function of two numbers; at least one operand is a tensor.
 * Rules and errors are those of {@link defineUnary}.
 */
export function defineOwnBinary(definition: OwnBinary): Binary {
  checkParts('defineBinary', definition, null);
  kernelOf(definition.kernel, 2);
  const { saves = { inputs: [0, 1], output: true }, vjp } = definition;
  if (typeof vjp !== 'string' && !(Array.isArray(vjp) && vjp.length === 2))
    throw new UsageError('defineBinary', {
      received: `${describeValue(vjp)} as vjp of ${definition.name}`,
      expected: 'two functions, of ā and of b̄, or the reason why there are none',
    });
  const op = defineOp(binaryOp({ int32: 'float32', ...definition, saves }));
  return (a, b) => op([a, b]);
}

function checkParts(op: string, definition: OwnUnary | OwnBinary, saves: readonly string[] | null): void {
  if (definition === null || typeof definition !== 'object')
    throw new UsageError(op, {
      received: describeValue(definition),
      expected: 'an object with name, equation, derivative, kernel, vjp',
    });
  const fail = (part: string, expected: string) => {
    const value: unknown = Reflect.get(definition, part);
    throw new UsageError(op, {
      received: value === undefined ? `no ${part}` : `${describeValue(value)} as ${part}`,
      expected,
    });
  };
  for (const part of ['name', 'equation', 'derivative'] as const)
    if (typeof definition[part] !== 'string' || definition[part] === '')
      fail(part, 'a text, for messages and for describe()');
  if (!['string', 'function'].includes(typeof definition.vjp) && !Array.isArray(definition.vjp))
    fail('vjp', 'the derivative in ops, or the reason why there is none');
  if (saves && definition.saves !== undefined && !saves.includes(definition.saves as string))
    fail('saves', saves.map((kind) => `'${kind}'`).join(', '));
}
