/** What an op is, from the registry: for a person at a prompt, and for docs/ops.md. */
import type { Op } from '../autograd/op.js';
import { Tensor } from '../autograd/tensor.js';
import { describeValue, UsageError } from '../tensor/errors.js';
import { registeredOps } from './registered-ops.js';

// biome-ignore lint/suspicious/noExplicitAny: ops of every parameter type
type AnyOp = Op<any>;

/** The shape rule of an op: its own words, or what follows from its kind. */
export function shapesOf(op: AnyOp): string {
  if (op.shapes) return op.shapes;
  if (!op.shape) return 'as x';
  return op.numbers ? 'broadcast' : 'a rule of its own';
}

/** What becomes of whole numbers. */
export function int32Of({ int32 = 'exact' }: AnyOp): string {
  return { exact: 'exact', float32: 'computed in float32', refused: 'refused' }[int32];
}

/** What an op keeps for its derivative. */
function keeps({ saves, vjp, compose }: AnyOp): string {
  if (compose) return 'what the ops that it is composed of keep';
  if (typeof vjp === 'string') return `nothing: ${vjp}`;
  if (!saves) return 'its inputs and its output';
  const parts = [
    ...(saves.inputs?.length ? [`input ${saves.inputs.map((i) => i + 1).join(', ')}`] : []),
    ...(saves.output ? ['its output'] : []),
  ];
  return parts.join(' and ') || 'nothing';
}

/**
 * What an op is, as text: its equation, its derivative (ȳ being the gradient of the result y), its shape rule, what
 * becomes of int32, what it keeps for the derivative, and its source where there is one to name.
 *
 * @param name of an op of hopgrad or of your own: describe('softmax'). `registeredOps()` has all of them
 * @throws UsageError when there is no op of that name
 */
export function describe(name: string): string {
  const op = registeredOps().get(name);
  if (!op) throw unknown(name);
  const lines = [
    ['equation', op.equation],
    ['derivative', op.derivative],
    ['shapes', shapesOf(op)],
    ['int32', int32Of(op)],
    ['keeps', keeps(op)],
    ['source', op.source ?? ''],
  ].filter(([, text]) => text);
  const title = `${op.name}${op.builtIn ? '' : ' (your own)'}${op.compose ? ', composed of other ops' : ''}`;
  return [title, ...lines.map(([key, text]) => `  ${key!.padEnd(12)}${text}`)].join('\n');
}

function unknown(name: unknown): UsageError {
  const known = [...registeredOps().keys()];
  const text = String(name).toLowerCase();
  const near = known.filter((other) => {
    const lower = other.toLowerCase();
    return text.length > 2 && (lower.includes(text) || text.includes(lower));
  });
  const method = typeof name === 'string' && typeof Reflect.get(Tensor.prototype, name) === 'function';
  return new UsageError('describe', {
    received: method ? `${name}, a function composed of ops, with no entry of its own` : describeValue(name),
    expected: 'the name of an op',
    hint: near.length > 0 ? `There is ${near.join(', ')}.` : '[...registeredOps().keys()] lists all of them.',
  });
}
