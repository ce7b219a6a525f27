/** All fused kernels of a device: its own, and for the others what they are in core kernels. */
import type { Device, FusedGradients, FusedKernels } from './device.js';
import { cpuDevices } from './devices.js';

/** All fused kernels of `device`: its own where it has them, decompositions elsewhere; of gradients only its own. */
export function fused(device: Device): FusedKernels & Partial<FusedGradients> {
  let kernels = cache.get(device);
  if (!kernels) {
    kernels = { ...cpuDevices().decomposed(device), ...device.fused };
    cache.set(device, kernels);
  }
  return kernels;
}
const cache = new WeakMap<Device, FusedKernels & Partial<FusedGradients>>();
