/** Anomaly mode: stop at the first op that produces NaN or infinity. */
import { DomainError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { checkSynchronous, type Operand, type Tensor } from './tensor.js';

let active = false;
let gradientOf: string | null = null;

/** Whether results are being checked. */
export function isDetectingAnomalies(): boolean {
  return active;
}

/** Runs the derivative of an op so that an anomaly in it is reported with the op's name. */
export function withinGradientOf<T>(op: string, body: () => T): T {
  const before = gradientOf;
  gradientOf = op;
  try {
    return body();
  } finally {
    gradientOf = before;
  }
}

/**
 * Runs `body`; the first op, forward or backward, whose result holds a NaN or an infinity throws a DomainError
 * that names it and the ranges of its inputs. Reads every result, so use it to search, not to train. Synchronous.
 * What comes in with the inputs is not blamed on the op that passes it on: an infinity (a −∞ mask), or a NaN.
 */
export function detectAnomaly<T>(body: () => T): T {
  const before = active;
  active = true;
  try {
    return checkSynchronous('detectAnomaly', body());
  } finally {
    active = before;
  }
}

/** Called after every op. @throws DomainError in anomaly mode when `output` has a NaN or an infinity that is new */
export function checkAnomaly(op: string, inputs: readonly Operand[], output: Tensor): void {
  if (!active) return;
  const result = summary(output);
  const given = inputs.map(summary);
  const newNaN = result.nans > 0 && given.every(({ nans }) => nans === 0);
  const newInfinity = result.infinities > 0 && given.every(({ nans, infinities }) => nans + infinities === 0);
  if (!newNaN && !newInfinity) return;
  throw new DomainError(gradientOf === null ? op : `${op} in the gradient of ${gradientOf}`, {
    received: `a result with ${result.text} from inputs ${given.map(({ text }) => text).join(' and ')}`,
    expected: 'finite values (anomaly mode)',
    hint: 'Look at the ranges of the inputs, and at the equation of this op for its domain.',
  });
}

interface Summary {
  nans: number;
  infinities: number;
  text: string;
}

function summary(x: Operand): Summary {
  if (typeof x === 'number')
    return { nans: Number(Number.isNaN(x)), infinities: Number(Math.abs(x) === Infinity), text: String(x) };
  let min = Infinity;
  let max = -Infinity;
  let nans = 0;
  let infinities = 0;
  for (const value of x.storage.device.readSync(x.storage)) {
    if (Number.isNaN(value)) nans++;
    else if (!Number.isFinite(value)) infinities++;
    else {
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  const range = min <= max ? `range [${min}, ${max}]` : 'no finite value';
  const faults = [nans && `${nans} NaN`, infinities && `${infinities} infinite`].filter(Boolean).join(', ');
  return { nans, infinities, text: `${formatShape(x.shape)} ${range}${faults ? `, ${faults}` : ''}` };
}
