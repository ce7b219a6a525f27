/** Choosing the device: `init` once at the start, or not at all in Node. */
import { HopgradError, UsageError } from '../tensor/errors.js';
import type { Device, MemoryInfo } from './device.js';
import { chooseDevice, defaultDevice, deviceByName, isReady, loadCpu, registerDevice } from './devices.js';
import { selfTest } from './gpu/self-test.js';

/** What {@link init} makes the default. */
export interface InitOptions {
  /** Which device becomes the default. `auto` takes the fastest that works here. */
  device?: 'auto' | 'wasm' | 'webgpu' | 'webgl2' | 'gpujs-cpu' | 'reference';
  /** Threads of the wasm device. Default: all cores, or the environment variable HOPGRAD_THREADS. */
  threads?: number;
}

export interface InitResult {
  /** Name of the device that is now the default. */
  device: string;
  /** One line for a person. */
  description: string;
  /** Why this one: what was tried before it and what it answered. */
  reason: string;
}

/**
 * Prepares a device and makes it the default for new tensors.
 * @throws DeviceError when the device is unknown or cannot run here, with the reason; UsageError for a bad `threads`
 */
export async function init({ device: name = 'auto', threads }: InitOptions = {}): Promise<InitResult> {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1))
    throw new UsageError('init', { received: `threads ${threads}`, expected: 'a whole number ≥ 1' });
  const answer = name === 'auto' ? await prepareBest() : { name, reason: 'it was asked for' };
  if (name !== 'auto') await prepare(name);
  const chosen = chooseDevice(answer.name);
  if (threads !== undefined && chosen.threads !== undefined) chosen.threads = threads;
  return { device: chosen.name, description: chosen.description, reason: answer.reason };
}

/** Makes a device unless it is there already; a GPU is made again when it was lost, and tested before it is trusted. */
async function prepare(name: string): Promise<Device> {
  const { loadWasm } = await loadCpu(); // for a GPU, too: float64 tensors and gradient checks go to the reference device
  const existing = isReady(name) ? deviceByName(name) : null;
  if (name === 'wasm' && !existing) registerDevice(name, await loadWasm());
  if (name !== 'webgpu' && name !== 'webgl2' && name !== 'gpujs-cpu') return existing ?? deviceByName(name);
  if (existing && !existing.lost) return existing;
  const device = await createGpu(name);
  await selfTest(device);
  registerDevice(name, device);
  return device;
}

async function createGpu(name: 'webgpu' | 'webgl2' | 'gpujs-cpu'): Promise<Device> {
  if (name === 'webgpu') return (await import('./gpu/webgpu.js')).WebGpuDevice.create();
  if (name === 'webgl2') return (await import('./gpu/webgl2.js')).WebGl2Device.create();
  return (await import('./gpu/cpu.js')).GpuJsDevice.create();
}

/** False where Linux shows no graphics device: looking for an adapter would cost a second and fill the terminal. */
function hasGraphicsHardware(): boolean {
  const { process } = globalThis as { process?: { platform: string; getBuiltinModule(name: string): unknown } };
  if (process?.platform !== 'linux') return true;
  const { readdirSync } = process.getBuiltinModule('node:fs') as typeof import('node:fs');
  return readdirSync('/dev').some((name) => name === 'dri' || name === 'dxg' || /^nvidia\d/.test(name));
}

/**
 * The first that works: webgpu, webgl2, wasm in a browser; webgpu, wasm in Node. A graphics card in software is passed
 * over: WebAssembly is faster.
 */
async function prepareBest(): Promise<{ name: string; reason: string }> {
  const inBrowser = typeof document !== 'undefined';
  const tried: string[] = [];
  for (const name of inBrowser ? ['webgpu', 'webgl2', 'wasm'] : ['webgpu', 'wasm']) {
    if (name === 'webgpu' && !inBrowser && !hasGraphicsHardware()) {
      tried.push('webgpu has no graphics hardware here');
      continue;
    }
    try {
      const device = await prepare(name);
      if (!device.software) return { name, reason: [...tried, `${name} works`].join('; ') };
      tried.push(`${name} is only there in software, slower than WebAssembly (${device.description})`);
    } catch (error) {
      if (!(error instanceof HopgradError)) throw error;
      tried.push(`${name} is not available: ${error.received}`);
    }
  }
  return { name: 'reference', reason: tried.join('; ') };
}

/** The default device: its name, description and dtypes. */
export function device(): Device {
  return defaultDevice();
}

/**
 * Bytes and storages of a device, or of that with a name. Default: the default device.
 * @throws DeviceError as {@link withDevice}
 */
export function memory(of: Device | string = defaultDevice()): MemoryInfo {
  return (typeof of === 'object' && 'memory' in (of ?? {}) ? of : deviceByName(of as string)).memory();
}
