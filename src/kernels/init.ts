/** Choosing the device: `init` once at the start, or not at all in Node. */
import { DeviceError } from '../tensor/errors.js';
import type { Device, MemoryInfo } from './device.js';
import { chooseDevice, defaultDevice, registerDevice } from './devices.js';

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
 * @throws DeviceError when the device is unknown or cannot run here, with the reason
 */
export async function init({ device: name = 'auto' }: InitOptions = {}): Promise<InitResult> {
  const wanted = name === 'auto' ? defaultDevice().name : name;
  if (wanted === 'gpujs-cpu') {
    const { GpuJsDevice } = await import('./gpu/device.js');
    registerDevice('gpujs-cpu', await GpuJsDevice.create('cpu'));
  } else if (wanted === 'webgpu' || wanted === 'webgl2') {
    throw new DeviceError('init', {
      received: wanted,
      expected: 'wasm, gpujs-cpu or reference',
      hint: 'This version has no GPU device yet.',
    });
  }
  const chosen = chooseDevice(wanted);
  return {
    device: chosen.name,
    description: chosen.description,
    reason: name === 'auto' ? `${chosen.name} is the fastest device here` : 'it was asked for',
  };
}

/** The default device: its name, description and dtypes. */
export function device(): Device {
  return defaultDevice();
}

/** Bytes and storages of a device (default: the default device). */
export function memory(of: Device = defaultDevice()): MemoryInfo {
  return of.memory();
}
