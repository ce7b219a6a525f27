/** Anomaly mode: stop at the first op that produces NaN or infinity. */
import { DomainError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import type { Operand, Tensor } from './tensor.js';

let active = false;

/**
 * Runs `body`; the first op, forward or backward, whose result holds a NaN or an infinity throws a DomainError
 * that names it and the ranges of its inputs. Reads every result, so use it to search, not to train.
 * Infinities that come in with the inputs (a −∞ mask) are not blamed on the op that passes them on.
 */
export function detectAnomaly<T>(body: () => T): T {
  const before = active;
  active = true;
  try {
    return body();
  } finally {
    active = before;
  }
}

/** Called after every op. @throws DomainError in anomaly mode when `output` is not finite although all inputs are */
export function checkAnomaly(op: string, inputs: readonly Operand[], output: Tensor): void {
  if (!active || allFinite(output)) return;
  const tensors = inputs.map((x) =>
    typeof x === 'number' ? { text: String(x), finite: Number.isFinite(x) } : describe(x),
  );
  if (!tensors.every(({ finite }) => finite)) return;
  throw new DomainError(op, {
    received: `a result of shape ${formatShape(output.shape)} with ${describe(output).text} from inputs ${tensors.map(({ text }) => text).join(' and ')}`,
    expected: 'finite values (anomaly mode)',
    hint: 'The inputs were finite: look at their ranges, and at the equation of this op for its domain.',
  });
}

function allFinite(t: Tensor): boolean {
  return t.storage.device.readSync(t.storage).every(Number.isFinite);
}

function describe(t: Tensor): { text: string; finite: boolean } {
  let min = Infinity;
  let max = -Infinity;
  let nans = 0;
  let infinities = 0;
  for (const value of t.storage.device.readSync(t.storage)) {
    if (Number.isNaN(value)) nans++;
    else if (!Number.isFinite(value)) infinities++;
    else {
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  const range = min <= max ? `range [${min}, ${max}]` : 'no finite value';
  const faults = [nans && `${nans} NaN`, infinities && `${infinities} infinite`].filter(Boolean).join(', ');
  return { text: `${formatShape(t.shape)} ${range}${faults ? `, ${faults}` : ''}`, finite: nans + infinities === 0 };
}
