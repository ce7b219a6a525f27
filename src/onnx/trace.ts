/** A function of tensors, written down as the ops that it runs, and what of it goes with the size of the batch. */
import type { Operand, Tensor } from '../autograd/tensor.js';
import { within } from '../kernels/context.js';
import type { Storage } from '../kernels/device.js';
import type { DType } from '../tensor/dtype.js';
import { UsageError } from '../tensor/errors.js';
import { formatShape, sameShape } from '../tensor/shape.js';

/** A size: a number, or this many times the batch. */
export type Size = number | { perRow: number };

/** A value of the graph: what an input, an op or a constant gives. */
export interface Value {
  readonly dtype: DType;
  readonly sizes: readonly Size[];
  /** What gives it. */
  readonly from: 'input' | 'op' | 'constant';
  /** The tensor of a constant. */
  readonly tensor: Tensor | null;
}

/** One op: its inputs, its parameters (every number in them a {@link Size}), its output. */
export interface Step {
  op: string;
  inputs: readonly (Value | number)[];
  // biome-ignore lint/suspicious/noExplicitAny: of every op its own
  params: any;
  output: Value;
}

export interface Trace {
  inputs: Value[];
  steps: Step[];
  outputs: Value[];
}

interface Event {
  op: string;
  inputs: readonly Operand[];
  params: unknown;
  output: Tensor;
}

/** Two numbers of rows with no common factor: a size that goes with the batch cannot be taken for another. */
const rows = [7, 11] as const;

/**
 * Runs a function on two batches of different size, and compares: a size s₇, s₁₁ is a constant if both are equal, k per row
 * if s₇/7 = s₁₁/11 = k; anything else depends on the batch in a way that a graph cannot say.
 *
 * @param f takes the inputs, gives one tensor
 * @param inputs makes an input of so many rows, for each input
 * @throws UsageError when the two runs are not the same ops, or sizes go otherwise
 */
export async function trace(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly ((rows: number) => Tensor)[],
): Promise<Trace> {
  const runs = rows.map((count) => {
    const events: Event[] = [];
    const arguments_ = inputs.map((make) => make(count));
    const output = within('toOnnx', { recording: false, observer: (...e) => events.push(asEvent(e)) }, () =>
      f(...arguments_),
    );
    return { arguments_, events, output };
  });
  const [small, large] = runs as [(typeof runs)[0], (typeof runs)[0]];
  if (small.events.map(({ op }) => op).join() !== large.events.map(({ op }) => op).join())
    throw new UsageError('toOnnx', {
      received: 'a function that runs other ops for 7 rows than for 11',
      expected: 'the same ops for every batch',
    });

  const known = new Values();
  const given = small.arguments_.map((x, i) => known.add(x, sizesOf(x, large.arguments_[i]!), 'input'));
  const steps: Step[] = [];
  for (const [i, event] of small.events.entries()) {
    const other = large.events[i]!;
    if (known.of(event.output)) continue; // the same numbers again: an op of a user around the ops that it ran, a clone
    const operands: (Value | number)[] = [];
    for (const [j, operand] of event.inputs.entries())
      operands.push(
        typeof operand === 'number'
          ? operand
          : (known.of(operand) ?? (await known.constant(operand, other.inputs[j] as Tensor))),
      );
    // What constants make is one itself: computed here, once.
    const fixed = operands.every((value) => typeof value === 'number' || value.from === 'constant');
    if (
      fixed &&
      sameShape(event.output.shape, other.output.shape) &&
      (await known.constant(event.output, other.output))
    )
      continue;
    const output = known.add(event.output, sizesOf(event.output, other.output), 'op');
    steps.push({ op: event.op, inputs: operands, params: compared(event.op, event.params, other.params), output });
  }
  const result = known.of(small.output) ?? (await known.constant(small.output, large.output));
  return { inputs: given, steps, outputs: [result] };
}

const asEvent = ([op, inputs, params, output]: readonly unknown[]): Event => ({
  op: op as string,
  inputs: inputs as Operand[],
  params,
  output: output as Tensor,
});

function size(what: string, a: number, b: number): Size {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return a;
  const perRow = a / rows[0];
  if (Number.isInteger(perRow) && b === perRow * rows[1]) return { perRow };
  throw new UsageError('toOnnx', {
    received: `${what}: ${a} for ${rows[0]} rows and ${b} for ${rows[1]}`,
    expected: 'sizes that are constant, or so many per row of the batch',
    hint: 'Write the function so that the batch is an axis of its own.',
  });
}

const sizesOf = (a: Tensor, b: Tensor): Size[] =>
  a.shape.map((n, axis) => size(`axis ${axis} of a tensor ${formatShape(a.shape)}`, n, b.shape[axis]!));

/** Parameters with every number compared. */
function compared(op: string, a: unknown, b: unknown): unknown {
  if (typeof a === 'number' && typeof b === 'number') return size(`a parameter of ${op}`, a, b);
  if (Array.isArray(a) && Array.isArray(b)) return a.map((x, i) => compared(op, x, b[i]));
  if (a !== null && typeof a === 'object')
    return Object.fromEntries(
      Object.entries(a).map(([name, x]) => [name, compared(op, x, (b as Record<string, unknown>)[name])]),
    );
  return a;
}

/** The values by their storages and shapes: results that are the same storage in the same shape are the same value. */
class Values {
  readonly #known = new Map<Storage, Value[]>();
  readonly #shapes = new Map<Value, readonly number[]>();

  of({ storage, shape }: Tensor): Value | undefined {
    return this.#known.get(storage)?.find((value) => sameShape(this.#shapes.get(value)!, shape));
  }

  add(x: Tensor, sizes: readonly Size[], from: Value['from']): Value {
    const value: Value = { dtype: x.dtype, sizes, from, tensor: from === 'constant' ? x : null };
    this.#known.set(x.storage, [...(this.#known.get(x.storage) ?? []), value]);
    this.#shapes.set(value, x.shape);
    return value;
  }

  /** A tensor that no op and no input gave. @throws UsageError when it is not the same in both runs */
  async constant(a: Tensor, b: Tensor): Promise<Value> {
    if (a.storage !== b.storage) {
      const [first, second] = sameShape(a.shape, b.shape) ? [await a.data(), await b.data()] : [[0], []];
      if (first.length !== second.length || first.some((x, i) => !Object.is(x, second[i])))
        throw new UsageError('toOnnx', {
          received: `a tensor ${formatShape(a.shape)} that the function makes itself, and otherwise for another batch`,
          expected: 'constants, and results of ops on the inputs',
          hint: 'Random numbers, and layers in training mode, have no place in the graph: call eval() on the model.',
        });
    }
    return this.add(a, a.shape, 'constant');
  }
}
