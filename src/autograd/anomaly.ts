/** Anomaly mode: stop at the first op that produces NaN or infinity. */
import { context, within } from '../kernels/context.js';
import { DeviceError, DomainError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import type { Operand, Tensor } from './tensor.js';

/** Runs the derivative of an op so that an anomaly in it is reported with the op's name. */
export function withinGradientOf<T>(op: string, body: () => T): T {
  return within(op, { gradientOf: op }, body);
}

/**
 * Runs `body`; the first op, forward or backward, whose result holds a NaN or an infinity throws a DomainError
 * that names it and the ranges of its inputs. Reads every result, so use it to search, not to train. Synchronous.
 * What comes in with the inputs is not blamed on the op that passes it on: an infinity (a −∞ mask, a padding of −∞), or
 * a NaN.
 * @throws DeviceError for tensors on a device that answers asynchronously; UsageError when `body` returns a promise
 */
export function detectAnomaly<T>(body: () => T): T {
  return within('detectAnomaly', { detectingAnomalies: true }, body);
}

/** Called after every op. @throws DomainError in anomaly mode when `output` has a NaN or an infinity that is new */
export function checkAnomaly(op: string, inputs: readonly Operand[], params: unknown, output: Tensor): void {
  if (!context.detectingAnomalies) return;
  const result = summary(output);
  if (result.nans + result.infinities === 0) return;
  const given = inputs.map(summary);
  const known = [...given, ...numbersIn(params).map(summary)];
  const newNaN = result.nans > 0 && known.every(({ nans }) => nans === 0);
  const newInfinity = result.infinities > 0 && known.every(({ nans, infinities }) => nans + infinities === 0);
  if (!newNaN && !newInfinity) return;
  throw new DomainError(context.gradientOf === null ? op : `${op} in the gradient of ${context.gradientOf}`, {
    received: `a result with ${result.text} from inputs ${given.map(({ text }) => text).join(' and ')}`,
    expected: 'finite values (anomaly mode)',
    hint: 'Look at the ranges of the inputs, and at the equation of this op for its domain.',
  });
}

/** The plain numbers among an op's parameters: what pad fills with, the bounds of clamp … */
function numbersIn(params: unknown): number[] {
  const values = params !== null && typeof params === 'object' ? Object.values(params) : [params];
  return values.filter((value) => typeof value === 'number');
}

interface Summary {
  nans: number;
  infinities: number;
  text: string;
}

function summary(x: Operand): Summary {
  if (typeof x === 'number')
    return { nans: Number(Number.isNaN(x)), infinities: Number(Math.abs(x) === Infinity), text: String(x) };
  const { min, max, nans, infinities } = rangeOf('detectAnomaly', x);
  const range = min <= max ? `range [${min}, ${max}]` : 'no finite value';
  const faults = [nans && `${nans} NaN`, infinities && `${infinities} infinite`].filter(Boolean).join(', ');
  return { nans, infinities, text: `${formatShape(x.shape)} ${range}${faults ? `, ${faults}` : ''}` };
}

/** The least and the largest of what is finite in a tensor (min > max where nothing is), and how much is not. */
export interface Range {
  min: number;
  max: number;
  nans: number;
  infinities: number;
}

/** Reads a tensor and gives its range. @throws DeviceError, in the name of `op`, where reading is asynchronous */
export function rangeOf(op: string, x: Tensor): Range {
  const range: Range = { min: Infinity, max: -Infinity, nans: 0, infinities: 0 };
  const { device } = x.storage;
  if (!device.synchronous)
    throw new DeviceError(op, {
      received: `a tensor on ${device.name}, which answers asynchronously`,
      expected: 'tensors that can be read at once',
      hint: "Search on the wasm or the reference device: the same computation within withDevice('wasm', …), and await init({ device: 'wasm' }) before the model is made.",
    });
  for (const value of device.readSync(x.storage)) {
    if (Number.isNaN(value)) range.nans++;
    else if (!Number.isFinite(value)) range.infinities++;
    else {
      range.min = Math.min(range.min, value);
      range.max = Math.max(range.max, value);
    }
  }
  return range;
}
