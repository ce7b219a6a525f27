/** WebGPU for Node: the optional package `webgpu` (Dawn), put where gpu.js looks for it. Browsers have their own. */
import { DeviceError } from '../../tensor/errors.js';

/** Whether an adapter, by its names, is a program that plays a graphics card: far slower than WebAssembly. */
export function isSoftware(names: string): boolean {
  return /swiftshader|llvmpipe|lavapipe|softpipe|software|basic render/i.test(names);
}

/** Why there is no WebGPU here, in words for who sits before the machine: gpu.js's own are for who programs it. */
export function whyNoWebGpu(): string {
  const { isSecureContext, navigator } = globalThis as { isSecureContext?: boolean; navigator?: { gpu?: unknown } };
  if (isSecureContext === false) return 'browsers have WebGPU only on pages that come by https or from localhost';
  if (typeof document !== 'undefined' && !navigator?.gpu) return 'this browser has no WebGPU, as recent ones do';
  return 'WebGPU finds no graphics card that it can use here';
}

/** @throws DeviceError when there is none and the package is missing or cannot be loaded */
export async function provideWebGpu(): Promise<void> {
  const scope = globalThis as { navigator?: { gpu?: unknown }; process?: { versions?: { node?: string } } };
  if (scope.navigator?.gpu || !scope.process?.versions?.node) return;
  // A name of package.json's: where there is no Node, bundlers leave Dawn out.
  let dawn: { create(flags: string[]): unknown; globals: object };
  try {
    dawn = (await import('#webgpu')) as unknown as typeof dawn;
  } catch (error) {
    throw new DeviceError('init', {
      received: `webgpu, but the package "webgpu" cannot be loaded here (${(error as Error).message.split('\n')[0]})`,
      expected: 'it, which brings WebGPU (Dawn) to Node',
      hint: "Install it: npm install webgpu. Or use init({ device: 'auto' }) to take what there is.",
    });
  }
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]);
  if (scope.navigator) Object.defineProperty(scope.navigator, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true, writable: true });
}
