/**
 * Typed errors. Every message says which operation failed, what came, what was expected and what to do;
 * every class carries those parts as fields so that programs (and tests) need not parse text.
 */

export interface ErrorParts {
  /** What came: shapes, names, values. */
  received: string;
  /** What would have been right. */
  expected?: string;
  /** What the caller can do about it. */
  hint?: string;
}

/** Any value in a few words, for the `received` of an error. */
export function describeValue(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'string') return JSON.stringify(value);
  if (value === null || typeof value !== 'object') return String(value);
  if ('shape' in value && Array.isArray(value.shape)) return `a tensor of shape [${value.shape.join(', ')}]`;
  if (Array.isArray(value)) return `[${value.map(describeValue).join(', ')}]`;
  return `an object with ${Object.keys(value).join(', ') || 'no keys'}`;
}

/** Base of every error that hopgrad throws on purpose. */
export class HopgradError extends Error {
  override name = 'HopgradError'; // written out here and below: a minifier renames classes
  readonly op: string;
  readonly received: string;
  readonly expected: string | undefined;
  readonly hint: string | undefined;

  constructor(op: string, { received, expected, hint }: ErrorParts) {
    super(`${op}: ${received}${expected ? `; expected ${expected}` : ''}.${hint ? ` ${hint}` : ''}`);
    this.op = op;
    this.received = received;
    this.expected = expected;
    this.hint = hint;
  }
}

/** Shapes that do not fit the operation or each other; names all shapes involved. */
export class ShapeError extends HopgradError {
  override name = 'ShapeError';
}
/** Two shapes that NumPy's broadcasting rules cannot align. */
export class BroadcastError extends ShapeError {
  override name = 'BroadcastError';
}
/** An axis outside [-rank, rank). */
export class AxisError extends HopgradError {
  override name = 'AxisError';
}
/** A dtype that the operation or the device does not have. */
export class DTypeError extends HopgradError {
  override name = 'DTypeError';
}
/** A device that is unknown, unavailable or lost, or two devices in one operation. */
export class DeviceError extends HopgradError {
  override name = 'DeviceError';
}
/** A value outside the mathematical domain: temperature ≤ 0, probability > 1, a batch of one for InfoLOOB. */
export class DomainError extends HopgradError {
  override name = 'DomainError';
}
/** A derivative was asked for where none exists; says why. */
export class NotDifferentiableError extends HopgradError {
  override name = 'NotDifferentiableError';
}
/** The autograd graph was used wrongly: backward twice, no graph, a freed or modified tensor. */
export class GraphError extends HopgradError {
  override name = 'GraphError';
}
/** Device memory is exhausted; names the request and what is live. */
export class MemoryLimitError extends HopgradError {
  override name = 'MemoryLimitError';
}
/** A kernel could not be built or run. */
export class KernelError extends HopgradError {
  override name = 'KernelError';
}
/** Input files or data sets that cannot be read or do not hold what they should. */
export class DataError extends HopgradError {
  override name = 'DataError';
}
/** A checkpoint whose names or shapes do not match the model. */
export class CheckpointError extends DataError {
  override name = 'CheckpointError';
}
/** A command-line or configuration option that is unknown or out of range. */
export class UsageError extends HopgradError {
  override name = 'UsageError';
}
/** A gradient check failed; see hopgrad/testing. */
export class GradientError extends HopgradError {
  override name = 'GradientError';
}
