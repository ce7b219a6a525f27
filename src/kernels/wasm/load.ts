/** Making the wasm device: in Node at once, without an await; in a browser after fetching the kernels. */
import { DeviceError, KernelError, UsageError } from '../../tensor/errors.js';
import { collectGarbage } from '../collect.js';
import { turn } from '../turn.js';
import { WasmDevice } from './device.js';
import { Engine, type Host } from './engine.js';

/** Node's built-in modules, where there is Node: found without an import, which browsers and bundlers would trip over. */
const builtin = (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process?.getBuiltinModule;

/** Whether the device can be made without waiting. */
export function canLoadNow(): boolean {
  return builtin !== undefined;
}

/** A module with one fused multiply-add (f32x4.relaxed_madd): valid where relaxed SIMD is. */
const relaxedProbe = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 8, 1, 96, 3, 123, 123, 123, 1, 123, 3, 2, 1, 0],
  ...[10, 13, 1, 11, 0, 32, 0, 32, 1, 32, 2, 253, 133, 2, 11],
);

/** Whether relaxed SIMD is there; Node 20 has it behind a switch, which must be set before the first use. */
function hasRelaxed(setFlag: (flag: string) => void): boolean {
  if (WebAssembly.validate(relaxedProbe)) return true;
  setFlag('--experimental-wasm-relaxed-simd');
  return WebAssembly.validate(relaxedProbe);
}

/** hopgrad.wasm for threads, -single without; -relaxed with fused multiply-add. */
function moduleUrl(shared: boolean, relaxed: boolean): URL {
  return new URL(`./hopgrad${shared ? '' : '-single'}${relaxed ? '-relaxed' : ''}.wasm`, import.meta.url);
}

/** @throws UsageError when HOPGRAD_THREADS is set to what is no number of threads */
function defaultThreads(cores: number, setting: string | undefined): number {
  if (setting === undefined || setting === '') return cores;
  if (/^[1-9]\d*$/.test(setting)) return Number(setting);
  throw new UsageError('wasm', {
    received: `HOPGRAD_THREADS=${setting}`,
    expected: 'a whole number ≥ 1',
    hint: 'Leave it unset to use all cores.',
  });
}

export interface WasmOptions {
  /** Default: the environment variable HOPGRAD_THREADS, else all cores. */
  threads?: number;
  /** Bytes of memory at most, default 4 GiB. */
  maxBytes?: number;
  /** Use fused multiply-add where the engine has it. Default true, unless HOPGRAD_RELAXED=0. */
  relaxed?: boolean;
  /** Share memory between threads. Default true where that is allowed; without it there is one thread. */
  shared?: boolean;
}

/** For Node. @throws KernelError when the kernels cannot be read or compiled */
export function createWasmDevice(options: WasmOptions = {}): WasmDevice {
  const { threads, maxBytes, relaxed: wanted, shared = true } = options;
  const { readFileSync } = builtin!('node:fs') as typeof import('node:fs');
  const { setFlagsFromString } = builtin!('node:v8') as typeof import('node:v8');
  const { Worker } = builtin!('node:worker_threads') as typeof import('node:worker_threads');
  const { availableParallelism } = builtin!('node:os') as typeof import('node:os');
  const relaxed = (wanted ?? process.env.HOPGRAD_RELAXED !== '0') && hasRelaxed(setFlagsFromString);
  try {
    const host: Host = {
      module: new WebAssembly.Module(readFileSync(moduleUrl(shared, relaxed))),
      shared,
      mayBlock: true,
      startThread(module, memory, id) {
        const worker = new Worker(new URL('./worker.js', import.meta.url), {
          workerData: { module, memory, id },
          execArgv: [],
        });
        worker.unref();
      },
      collect: collectGarbage,
      turn,
    };
    const count = threads ?? defaultThreads(availableParallelism(), process.env.HOPGRAD_THREADS);
    return new WasmDevice(new Engine(host, count, maxBytes), relaxed ? 'relaxed SIMD' : 'SIMD');
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new KernelError('wasm', {
      received: (error as Error).message,
      expected: 'readable kernels (hopgrad*.wasm) beside the code',
      hint: 'Run npm run build.',
    });
  }
}

/** For browsers. Without cross-origin isolation it runs on one thread. @throws DeviceError when the kernels cannot be fetched */
export async function loadWasmDevice(options: WasmOptions = {}): Promise<WasmDevice> {
  if (canLoadNow()) return createWasmDevice(options);
  const { threads, maxBytes, relaxed: wanted = true } = options;
  const isolated = globalThis.crossOriginIsolated === true;
  const shared = isolated && options.shared !== false;
  const relaxed = wanted && WebAssembly.validate(relaxedProbe);
  const url = moduleUrl(shared, relaxed);
  const response = await fetch(url);
  if (!response.ok)
    throw new DeviceError('wasm', {
      received: `status ${response.status} for ${url.pathname}`,
      expected: 'the kernels (hopgrad*.wasm) beside the code',
      hint: 'Serve the whole folder dist/kernels/wasm.',
    });
  const host: Host = {
    module: await WebAssembly.compile(await response.arrayBuffer()),
    shared,
    mayBlock: typeof window === 'undefined',
    startThread(module, memory, id) {
      new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }).postMessage({ module, memory, id });
    },
    collect() {}, // browsers have no such call; finalizers run when the engine pleases
    turn,
  };
  const label = `${relaxed ? 'relaxed SIMD' : 'SIMD'}${isolated ? '' : ', one thread since the page is not cross-origin isolated'}`;
  return new WasmDevice(new Engine(host, threads ?? navigator.hardwareConcurrency ?? 1, maxBytes), label);
}
