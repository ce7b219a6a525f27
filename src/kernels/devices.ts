/** The devices of this process: made on first use, chosen by name, one of them the default. */
import { cpu as cpuNow } from '#cpu';
import { DeviceError, describeValue } from '../tensor/errors.js';
import { context, within } from './context.js';
import type { cpu } from './cpu.js';
import type { Device, DeviceName } from './device.js';

const names: readonly DeviceName[] = ['reference', 'wasm', 'webgpu', 'webgl2', 'gpujs-cpu'];
const factories = new Map<string, () => Device>();
const made = new Map<string, Device>();
let loaded: typeof cpu | null = null;
if (cpuNow) use(cpuNow);

function use(devices: typeof cpu): typeof cpu {
  loaded = devices;
  factories.set('reference', devices.createReference);
  if (devices.createWasm) factories.set('wasm', devices.createWasm);
  return devices;
}

/** Loads what makes the devices of the processor, where that did not come with the import; `reference` is ready then. */
export async function loadCpu(): Promise<typeof cpu> {
  return loaded ?? use((await import('./cpu.js')).cpu);
}

/** What {@link loadCpu} has loaded: there wherever there is a device. */
export function cpuDevices(): typeof cpu {
  return loaded!;
}

/** Makes a device available under its name: at once, or by a factory that runs on first use. */
export function registerDevice(name: DeviceName, device: Device | (() => Device)): void {
  if (typeof device === 'function') factories.set(name, device);
  else made.set(name, device);
}

/** Whether a device can be used at once, without `await init()`. */
export function isReady(name: string): boolean {
  return made.has(name) || factories.has(name);
}

/** @throws DeviceError for an unknown name, or a device that needs `await init()` first */
export function deviceByName(name: string): Device {
  const existing = made.get(name);
  if (existing) return existing;
  const factory = factories.get(name);
  if (factory) {
    const device = factory();
    made.set(name, device);
    return device;
  }
  if (names.includes(name as DeviceName))
    throw new DeviceError('device', {
      received: `${name} is not initialised`,
      expected: 'a device that is ready',
      hint: `Call await init({ device: '${name}' }) once before using it.`,
    });
  throw new DeviceError('device', {
    received: `unknown device ${describeValue(name)}`,
    expected: `one of ${names.join(', ')}`,
  });
}

/**
 * The device that new tensors go to: the one chosen last, else wasm where it runs without waiting, else reference.
 * @throws DeviceError in a page before the first `await init()`
 */
export function defaultDevice(): Device {
  if (!loaded && context.deviceName === null)
    throw new DeviceError('device', {
      received: 'a page where no device is ready',
      expected: 'one to compute on',
      hint: 'Call await init() once, before the first tensor.',
    });
  return deviceByName(context.deviceName ?? (isReady('wasm') ? 'wasm' : 'reference'));
}

/** Makes a device the default. @throws DeviceError as `deviceByName` */
export function chooseDevice(name: string): Device {
  const device = deviceByName(name);
  context.deviceName = name;
  return device;
}

/**
 * Runs `body` with another default device. Synchronous: the default is back when `body` returns.
 * @throws DeviceError as `deviceByName`; UsageError when `body` returns a promise
 */
export function withDevice<T>(name: string, body: () => T): T {
  deviceByName(name);
  return within('withDevice', { deviceName: name }, body);
}
