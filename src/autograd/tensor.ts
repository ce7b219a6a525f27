/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The tensor: a shape over a storage, and how it came to be. Its operations live in ops/, one file a family;
 * each file adds its methods to this class, so that everything about an op stands in one place.
 */
import { refuseInCapture } from '../kernels/context.js';
import type { Device, Storage } from '../kernels/device.js';
import type { DType, TypedArray } from '../tensor/dtype.js';
import {
  DeviceError,
  DTypeError,
  describeValue,
  GraphError,
  HopgradError,
  ShapeError,
  UsageError,
} from '../tensor/errors.js';
import { formatTensor } from '../tensor/print.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { type BackwardOptions, backward, leafNode, type Node } from './graph.js';

/** A tensor or a plain number; numbers are constants without a gradient. */
export type Operand = Tensor | number;

/** Numbers in arrays in arrays, as deep as a tensor has axes; all arrays of one depth are equally long. */
export type NestedArray = number | NestedArray[];

/** A tensor: `shape` over `storage`, and how it was computed. Its methods are declared beside each op in ops/. */
export class Tensor {
  /** ∂loss/∂this after backward(), for tensors made with requiresGrad; null before. Accumulates over calls. */
  grad: Tensor | null = null;

  /** Set where an op without a derivative has cut the history off: the reason, for the error that backward() gives. */
  whyNoGradient: string | null = null;

  /**
   * Use `tensor()`, `zeros()` … to make tensors; this is for ops.
   * @param node how it was computed, or its leaf node; null when no gradient is tracked
   */
  constructor(
    readonly storage: Storage,
    readonly shape: Shape,
    public node: Node | null = null,
  ) {}

  get dtype(): DType {
    return this.storage.dtype;
  }

  /** Name of the device that holds the elements. */
  get device(): string {
    return this.storage.device.name;
  }

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return this.storage.size;
  }

  /** Whether gradients flow through this tensor. Settable on tensors that no op produced. */
  get requiresGrad(): boolean {
    return this.node !== null;
  }

  set requiresGrad(value: boolean) {
    if (this.node !== null && !this.node.isLeaf)
      throw new GraphError('requiresGrad', {
        received: `a tensor computed by ${this.node.name}`,
        expected: 'a tensor that no operation produced',
        hint: 'Use detach() to cut it off from its history first.',
      });
    if (!value) this.node = null;
    else if (this.dtype === 'int32') throw noGradientOfIntegers('requiresGrad');
    else this.node ??= leafNode(this);
  }

  /** The same elements (not a copy) without history. */
  detach(): Tensor {
    return new Tensor(this.storage, this.shape);
  }

  /** All elements, row-major, copied to the host. Works on every device and gives pending frees their turn. */
  async data(): Promise<TypedArray> {
    return this.#live('data').read(this.storage);
  }

  /** All elements at once. @throws DeviceError on devices that answer asynchronously: use data() there */
  dataSync(): TypedArray {
    return this.#live('dataSync').readSync(this.storage);
  }

  /** The only element. @throws ShapeError when there is not exactly one */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError('item', {
        received: `shape ${formatShape(this.shape)} with ${this.size} elements`,
        expected: 'one element',
        hint: 'Reduce it first, or read all with data() or array().',
      });
    return (await this.data())[0]!;
  }

  /** The elements as nested arrays, a number for a scalar. */
  async array(): Promise<NestedArray> {
    return nest(await this.data(), this.shape);
  }

  /**
   * Computes the gradient of this tensor with respect to every tensor it was computed from that has
   * requiresGrad, adding it to their `.grad`. Frees the graph unless `retainGraph` or `createGraph`.
   *
   * Every `.grad` has memory of its own, and lives as long as its tensor does.
   *
   * @param gradOutput same shape, dtype and device as this; may be left out for a single element (then 1)
   * @throws GraphError when there is no graph, it was freed, or this has several elements and no gradOutput;
   *   NotDifferentiableError when an op without a derivative cut the history off; ShapeError, DTypeError, DeviceError for
   *   a gradOutput that does not fit
   */
  backward(gradOutput?: Tensor | null, options?: BackwardOptions): void {
    backward(this, gradOutput ?? null, options);
  }

  /** Frees the memory now rather than when collected. Only for tensors that nothing else uses any more. */
  dispose(): void {
    this.storage.free();
  }

  /** Frees the storage at the end of a block that declares the tensor by `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #live(op: string): Device {
    refuseInCapture('reads a tensor');
    if (this.storage.freed) throw freedError(op, this);
    return this.storage.device;
  }

  /** Shape, dtype, device and the values, shortened like NumPy's. */
  toString(): string {
    const head = `Tensor ${formatShape(this.shape)} ${this.dtype} on ${this.device}${this.requiresGrad ? ', requiresGrad' : ''}`;
    if (this.storage.freed) return `${head}, freed`;
    try {
      return `${head}\n${formatTensor(this.dataSync(), this.shape)}`;
    } catch (error) {
      if (error instanceof HopgradError) return `${head} (values: await array())`;
      throw error;
    }
  }

  /** Text in template strings; `a + b`, `a < b` on tensors are refused rather than computed on their text. */
  [Symbol.toPrimitive](hint: 'number' | 'string' | 'default'): string {
    if (hint === 'string') return this.toString();
    throw new UsageError('Tensor', {
      received: `a tensor of shape ${formatShape(this.shape)} where JavaScript wants a number`,
      expected: 'methods, since operators do not work on tensors',
      hint: 'Write a.add(b), a.mul(2), a.greater(b) …, or read a number with await a.item().',
    });
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /**
   * What stands along the first axis, one after the other: `for (const row of x)`, `const [a, b] = x`. Each is a tensor of
   * one axis less, through which gradients flow. @throws ShapeError for a scalar, which has no axis
   */
  *[Symbol.iterator](): Generator<Tensor, void> {
    const [length, ...rest] = this.shape;
    if (length === undefined)
      throw new ShapeError('iteration', {
        received: 'a scalar',
        expected: 'at least one axis',
        hint: 'Read its number with await x.item().',
      });
    for (let i = 0; i < length; i++) yield this.slice([[i, i + 1]]).reshape(rest);
  }

  /**
   * The elements as array() gives them, for JSON.stringify(x), which writes NaN and infinities as null.
   * @throws DeviceError on devices that answer asynchronously: stringify `await x.array()` there
   */
  toJSON(): NestedArray {
    const { device } = this.storage;
    if (!device.synchronous)
      throw new DeviceError('JSON.stringify', {
        received: `a tensor on ${device.name}, which answers asynchronously`,
        expected: 'a tensor that can be read at once',
        hint: 'Stringify await x.array().',
      });
    return nest(this.dataSync(), this.shape);
  }
}

/** @throws UsageError when `value` is not a tensor; `name` is what the caller calls it */
export function checkTensor(op: string, name: string, value: unknown): asserts value is Tensor {
  if (!(value instanceof Tensor))
    throw new UsageError(op, {
      received: `${describeValue(value)} as ${name}`,
      expected: 'a tensor',
      hint: 'Wrap data with tensor(…).',
    });
}

/** The error for integers where a gradient is wanted. */
export function noGradientOfIntegers(op: string): DTypeError {
  return new DTypeError(op, {
    received: 'an int32 tensor to be differentiated',
    expected: 'float32 or float64',
    hint: 'Whole numbers have no gradient: cast() them, or let the function use them from outside.',
  });
}

/** The error for a tensor whose memory is gone. */
export function freedError(op: string, t: Tensor): GraphError {
  return new GraphError(op, {
    received: `a freed tensor of shape ${formatShape(t.shape)}`,
    expected: 'a live tensor',
    hint: 'It was disposed of, or made in a scoped() or checkpoint() that has ended: return it from there, or keep it outside.',
  });
}

/** Numbers in row-major order as nested lists, one level an axis. */
export function nest(data: ArrayLike<number>, shape: Shape, offset = 0): NestedArray {
  if (shape.length === 0) return data[offset]!;
  const [size, ...rest] = shape as [number, ...number[]];
  const step = sizeOf(rest);
  return Array.from({ length: size }, (_, i) => nest(data, rest, offset + i * step));
}
