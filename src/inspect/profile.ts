/** Where the time of a function goes: the kernels that it runs, each with count, time, bytes and arithmetic. */
import type { AttentionSpec, Conv2dSpec, CoreKernels, Device, MatmulSpec, ScalarKernel } from '../kernels/device.js';
import { Storage } from '../kernels/device.js';
import { defaultDevice, deviceByName, isReady } from '../kernels/devices.js';
import { fused } from '../kernels/fused.js';
import { identityOf } from '../kernels/source/identity.js';
import { bytesPerElement } from '../tensor/dtype.js';
import { DeviceError, describeValue, UsageError } from '../tensor/errors.js';
import { formatTable } from '../tensor/print.js';

/** All calls of one kernel. */
export interface ProfileRow {
  /** Of elementwise kernels and reductions the function's own name: 'mul', 'sum'; else that in the kernel vocabulary. */
  kernel: string;
  calls: number;
  /** Time inside the kernel, its allocation included. */
  milliseconds: number;
  /** Size of all operands and results: what the kernel reads and writes at least once. */
  bytes: number;
  /** Multiplications and additions of products, convolutions and attention; 0 for all others. */
  flops: number;
}

/** What profile() gives: print it for a table. */
export class Profile<T> {
  constructor(
    /** The kernels, those that took longest first. */
    readonly rows: readonly ProfileRow[],
    /** Of the whole function. */
    readonly milliseconds: number,
    /** What the function gave. */
    readonly result: T,
  ) {}

  /** The rows as a table, with what it adds up to. */
  toString(): string {
    const { rows, milliseconds: total } = this;
    const inside = rows.reduce((sum, row) => sum + row.milliseconds, 0);
    const share = (ms: number) => `${((100 * ms) / (total || 1)).toFixed(1)} %`;
    /** Units of 10⁹ a second. */
    const rate = (amount: number, ms: number) => (amount > 0 && ms > 0 ? (amount / ms / 1e6).toFixed(1) : '');
    const head = ['kernel', 'calls', 'ms', 'share', 'MB', 'GB/s', 'GFLOP/s'];
    const body = rows.map(({ kernel, calls, milliseconds: ms, bytes, flops }) => [
      kernel,
      String(calls),
      ms.toFixed(2),
      share(ms),
      (bytes / 1e6).toFixed(2),
      rate(bytes, ms),
      rate(flops, ms),
    ]);
    const rest = ['outside kernels', '', (total - inside).toFixed(2), share(total - inside), '', '', ''];
    return formatTable([head, ...body, rest], 1);
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** The core, whole: TypeScript sees to it that no kernel is left out. */
const core: Record<keyof CoreKernels, true> = {
  fill: true,
  cast: true,
  map: true,
  zip: true,
  where: true,
  expand: true,
  reduce: true,
  argReduce: true,
  argSort: true,
  matmul: true,
  conv2d: true,
  conv2dInputGrad: true,
  conv2dWeightGrad: true,
  avgPool2d: true,
  avgPool2dGrad: true,
  permute: true,
  slice: true,
  pad: true,
  concat: true,
  gather: true,
  scatterAdd: true,
};

const convolution = (s: Conv2dSpec) =>
  2 * s.batch * s.outChannels * s.outHeight * s.outWidth * s.inChannels * s.kernelHeight * s.kernelWidth;
const product = (s: AttentionSpec) => 2 * s.batch * s.heads * s.queries * s.keys * s.headDim;

/** Multiplications and additions, from the sizes that are a kernel's last argument. */
// biome-ignore lint/suspicious/noExplicitAny: each takes its own
const arithmetic: Record<string, ((spec: any) => number) | undefined> = {
  matmul: (s: MatmulSpec) => 2 * s.batch * s.m * s.n * s.k,
  conv2d: convolution,
  conv2dInputGrad: convolution,
  conv2dWeightGrad: convolution,
  attention: (s: AttentionSpec) => 2 * product(s),
  attentionGrad: (s: AttentionSpec) => 4 * product(s),
};

let running = false;

/**
 * Runs `body`, waits for it, and gives a table of the kernels that ran: how often, how long, over how many bytes, at how
 * many GFLOP/s. Forward and backward are both in it, and optimisers. Run the function once before: compiling and first
 * allocations are not what it costs later. What else runs in this thread meanwhile is counted as well.
 *
 * @example
 * console.log(await profile(() => loss().backward()));
 * @throws DeviceError on a graphics device, whose kernels run when they like: its own tools see them;
 *   UsageError inside another profile()
 */
export async function profile<T>(body: () => T | Promise<T>): Promise<Profile<T>> {
  if (typeof body !== 'function')
    throw new UsageError('profile', { received: describeValue(body), expected: 'a function: profile(() => …)' });
  if (running)
    throw new UsageError('profile', {
      received: 'a function while another is being profiled',
      expected: 'one at a time',
      hint: 'Await the first.',
    });
  const chosen = defaultDevice();
  const devices = ['wasm', 'reference'].filter(isReady).map(deviceByName);
  if (!devices.includes(chosen))
    throw new DeviceError('profile', {
      received: `the device ${chosen.name}, whose kernels run after their call has returned`,
      expected: 'wasm or reference',
      hint: "Look at the same computation after await init({ device: 'wasm' }), or into the profiler of the browser.",
    });
  const clock = new Clock();
  const undo = devices.flatMap((device) => [
    ...watch(device, [...Object.keys(core), 'upload', 'copyInto', 'readSync'], clock),
    ...watch(device.fused, Object.keys(device.fused), clock),
    ...watch(fused(device), Object.keys(fused(device)), clock),
  ]);
  running = true;
  const start = performance.now();
  try {
    const result = await body();
    return new Profile(clock.rows(), performance.now() - start, result);
  } finally {
    for (const back of undo) back();
    running = false;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: kernels of all kinds
type Kernel = (...args: any[]) => unknown;

/** Puts a clock around functions of an object; gives what takes it away again. */
function watch(holder: Device | object, names: readonly string[], clock: Clock): (() => void)[] {
  return names.map((name) => {
    const kernel = Reflect.get(holder, name) as Kernel;
    const own = Object.getOwnPropertyDescriptor(holder, name);
    const value: Kernel = (...args) => clock.time(name, args, () => kernel.apply(holder, args));
    Object.defineProperty(holder, name, { value, configurable: true, enumerable: true, writable: true });
    return () => void (own ? Object.defineProperty(holder, name, own) : Reflect.deleteProperty(holder, name));
  });
}

/** Adds up what kernels take. A kernel that runs others counts as one. */
class Clock {
  readonly #rows = new Map<string, ProfileRow>();
  #inside = false;

  time(name: string, args: readonly unknown[], run: () => unknown): unknown {
    if (this.#inside) return run();
    this.#inside = true;
    const start = performance.now();
    let result: unknown;
    try {
      result = run();
    } finally {
      this.#inside = false;
    }
    const milliseconds = performance.now() - start;
    const kernel = title(name, args);
    const row = this.#rows.get(kernel) ?? { kernel, calls: 0, milliseconds: 0, bytes: 0, flops: 0 };
    this.#rows.set(kernel, row);
    row.calls++;
    row.milliseconds += milliseconds;
    row.bytes += bytesOf([...args, result]);
    row.flops += arithmetic[name]?.(args.at(-1)) ?? 0;
    return result;
  }

  rows(): ProfileRow[] {
    return [...this.#rows.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  }
}

function title(name: string, [first]: readonly unknown[]): string {
  if (name === 'map' || name === 'zip') return identityOf(first as ScalarKernel).name;
  if (name === 'reduce') return String(first);
  return name === 'argReduce' ? `arg${first}` : name;
}

/** Bytes of the storages and arrays among a kernel's arguments and results, wherever they stand in them. */
function bytesOf(value: unknown): number {
  if (value instanceof Storage) return value.size * bytesPerElement[value.dtype];
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (value === null || typeof value !== 'object') return 0;
  return Object.values(value).reduce((sum: number, part) => sum + bytesOf(part), 0);
}
