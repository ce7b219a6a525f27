/** Making the wasm device: in Node at once, without an await; in a browser after fetching the kernels. */
import { DeviceError, KernelError, UsageError } from '../../tensor/errors.js';
import { collectGarbage } from '../collect.js';
import { unpack } from '../unpack.js';
import { WasmDevice } from './device.js';
import { embedded } from './embedded.js';
import { Engine, type Host } from './engine.js';
import { workerText } from './worker.js';

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

/** hopgrad for threads, -single without; -relaxed with fused multiply-add. */
function buildName(shared: boolean, relaxed: boolean): string {
  return `hopgrad${shared ? '' : '-single'}${relaxed ? '-relaxed' : ''}`;
}

/** A variable, for Node only: bundlers for pages need not look for files beside this one. */
const here = import.meta.url;

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
      module: new WebAssembly.Module(readFileSync(new URL(`${buildName(shared, relaxed)}.wasm`, here))),
      shared,
      mayBlock: true,
      startThread(module, memory, id) {
        const worker = new Worker(workerText, {
          eval: true,
          workerData: { module, memory, id },
          execArgv: [],
        });
        worker.unref();
      },
      collect: collectGarbage,
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

/**
 * For browsers. Without cross-origin isolation it runs on one thread, and so it does where the page's policy forbids
 * threads (`worker-src` without `blob:`).
 * @throws DeviceError when the kernels cannot be loaded
 */
export async function loadWasmDevice(options: WasmOptions = {}): Promise<WasmDevice> {
  if (canLoadNow()) return createWasmDevice(options);
  const { threads, maxBytes, relaxed: wanted = true } = options;
  const isolated = globalThis.crossOriginIsolated === true;
  const shared = isolated && options.shared !== false;
  const relaxed = wanted && WebAssembly.validate(relaxedProbe);
  const module = await loadEmbedded(buildName(shared, relaxed));
  const workerUrl = URL.createObjectURL(new Blob([workerText], { type: 'text/javascript' }));
  const host: Host = {
    module,
    shared,
    mayBlock: typeof window === 'undefined',
    startThread(module, memory, id, failed) {
      const worker = new Worker(workerUrl);
      worker.onerror = failed;
      worker.postMessage({ module, memory, id });
    },
    collect: () => false, // browsers have no such call; finalizers run when the engine pleases
  };
  const label = `${relaxed ? 'relaxed SIMD' : 'SIMD'}${isolated ? '' : ', one thread since the page is not cross-origin isolated'}`;
  return new WasmDevice(new Engine(host, threads ?? navigator.hardwareConcurrency ?? 1, maxBytes), label);
}

async function loadEmbedded(name: string): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(await unpack((await embedded[name]!()).packed));
  } catch (error) {
    throw new DeviceError('wasm', {
      received: `${name}: ${(error as Error).message}`,
      expected: "kernels that this page may load and compile (script-src 'wasm-unsafe-eval' where it has a policy)",
    });
  }
}
