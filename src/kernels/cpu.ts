/**
 * The devices of the processor, and what fused kernels are on devices without their own. In Node they come with every import (`#cpu` in package.json), so that tensors can be made
 * without an await; a page loads them in `init`, and its first chunk is without them.
 */
import { decomposed } from './decomposed.js';
import { ReferenceDevice } from './reference/device.js';
import { canLoadNow, createWasmDevice, loadWasmDevice } from './wasm/load.js';

export const cpu = {
  createReference: () => new ReferenceDevice(),
  /** Null where the kernels have to be fetched first. */
  createWasm: canLoadNow() ? createWasmDevice : null,
  loadWasm: loadWasmDevice,
  decomposed,
};
