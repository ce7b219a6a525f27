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
  /** The error behind this one. */
  cause?: unknown;
}

/** What a terminal or a reader would take for a command: control characters, and those that turn the direction. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const commands = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** Text from outside, such as a file's name, fit to be shown: commands as escapes, and not at length. */
export function printable(text: string, most = 200): string {
  const shown = text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text;
  return shown.replace(commands, (char) => {
    const code = char.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
  });
}

/** Any value in a few words, for the `received` of an error. */
export function describeValue(value: unknown, depth = 3): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'string') return JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
  if (typeof value === 'bigint') return 'a bigint';
  if (value === null || typeof value !== 'object') return String(value);
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${value.byteLength} bytes`;
  if ('shape' in value && Array.isArray(value.shape))
    return `a tensor of shape [${value.shape.slice(0, 64).join(', ')}]`;
  const some = <T>(items: T[], show: (item: T) => string) =>
    `${items.slice(0, 8).map(show).join(', ')}${items.length > 8 ? ` … (${items.length})` : ''}`;
  if (Array.isArray(value))
    return depth > 0 ? `[${some(value, (item) => describeValue(item, depth - 1))}]` : `a list of ${value.length}`;
  return `an object with ${some(Object.keys(value), (key) => printable(key, 40)) || 'no keys'}`;
}

/** Most characters of a message that came from outside: lists of parameters fit, data do not. */
const mostReceived = 20_000;

/** Base of every error that hopgrad throws on purpose. */
export class HopgradError extends Error {
  override name = 'HopgradError'; // written out here and below: a minifier renames classes
  readonly op: string;
  readonly received: string;
  readonly expected: string | undefined;
  readonly hint: string | undefined;

  constructor(op: string, { received: raw, expected, hint, cause }: ErrorParts) {
    const received = printable(raw, mostReceived);
    super(
      `${op}: ${received}${expected ? `; expected ${expected}` : ''}.${hint ? ` ${hint}` : ''}`,
      cause === undefined ? {} : { cause },
    );
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
