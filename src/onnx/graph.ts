/** A graph of ONNX in the making: nodes in order, constants once each. */
import type { Tensor } from '../autograd/tensor.js';
import { bytesOf } from '../tensor/bytes.js';
import type { DType } from '../tensor/dtype.js';
import { UsageError } from '../tensor/errors.js';
import { type Attribute, type ElementType, elementTypes, type NodeProto, type TensorProto } from './proto.js';
import type { Size } from './trace.js';

/** Nodes and constants, with names that begin with / and so are nobody else's. */
export class GraphBuilder {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #constants = new Map<string, string>();
  #count = 0;
  #batch: string | null = null;

  /** @param first the input whose first axis is the batch, null where nothing has one */
  constructor(readonly first: string | null) {}

  node(type: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    const output = `/v${this.#count++}`;
    this.nodes.push({ type, inputs, outputs: [output], attributes });
    return output;
  }

  cast(x: string, to: ElementType): string {
    return this.node('Cast', [x], { to: elementTypes[to] });
  }

  /** Gives a value the name by which others ask for it. */
  output(from: string, name: string): void {
    this.nodes.push({ type: 'Identity', inputs: [from], outputs: [name], attributes: {} });
  }

  /** A constant of one number, or of several. */
  number(value: number, dtype: DType): string {
    return this.numbers([value], [], dtype);
  }

  numbers(values: readonly number[], dims: readonly number[], dtype: DType): string {
    const of = { float32: Float32Array, float64: Float64Array, int32: Int32Array } as Record<
      string,
      new (
        v: readonly number[],
      ) => ArrayBufferView
    >;
    return this.#constant(dtype, dims, bytesOf(new of[dtype]!(values)));
  }

  /** int64, as shapes and axes are. */
  integers(values: readonly number[]): string {
    return this.#constant('int64', [values.length], bytesOf(BigInt64Array.from(values, BigInt)));
  }

  /** The data of a tensor, under a name of its own. */
  async tensor(x: Tensor, name: string): Promise<string> {
    const data = await x.data();
    this.initializers.push({ name, type: x.dtype, dims: x.shape, bytes: bytesOf(data) });
    return name;
  }

  /** A shape as int64 numbers; what goes with the batch is computed from the input's. */
  shape(sizes: readonly Size[]): string {
    if (sizes.every((size) => typeof size === 'number')) return this.integers(sizes as number[]);
    const parts = sizes.map((size) => {
      if (typeof size === 'number') return this.integers([size]);
      return size.perRow === 1
        ? this.#batchSize()
        : this.node('Mul', [this.#batchSize(), this.integers([size.perRow])]);
    });
    return this.node('Concat', parts, { axis: 0 });
  }

  #batchSize(): string {
    if (this.first === null)
      throw new UsageError('toOnnx', {
        received: 'a size that goes with the batch',
        expected: 'an input that has one',
      });
    this.#batch ??= this.node('Shape', [this.first], { start: 0, end: 1 });
    return this.#batch;
  }

  #constant(type: ElementType, dims: readonly number[], bytes: Uint8Array): string {
    const key = `${type} ${dims.join('×')} ${bytes.length > 256 ? this.#count++ : bytes.join()}`;
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = `/c${this.#constants.size}`;
      this.#constants.set(key, name);
      this.initializers.push({ name, type, dims, bytes });
    }
    return name;
  }
}
