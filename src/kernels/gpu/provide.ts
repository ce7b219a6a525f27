/** WebGPU for Node: the optional package `webgpu` (Dawn), put where gpu.js looks for it. Browsers have their own. */
import { DeviceError } from '../../tensor/errors.js';

/** @throws DeviceError when there is none and the package is missing or cannot be loaded */
export async function provideWebGpu(): Promise<void> {
  const scope = globalThis as { navigator?: { gpu?: unknown }; process?: { versions?: { node?: string } } };
  if (scope.navigator?.gpu || !scope.process?.versions?.node) return;
  let dawn: { create(flags: string[]): unknown; globals: object };
  try {
    dawn = (await import('webgpu')) as unknown as typeof dawn;
  } catch (error) {
    throw new DeviceError('init', {
      received: `webgpu, but the package "webgpu" cannot be loaded here (${(error as Error).message.split('\n')[0]})`,
      expected: 'the optional dependency webgpu with a binary for this platform',
      hint: "Install it with npm install webgpu, or use init({ device: 'auto' }) to take what there is.",
    });
  }
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]);
  if (scope.navigator) Object.defineProperty(scope.navigator, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true, writable: true });
}
