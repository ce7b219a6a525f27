/** Making the wasm device in Node: at once, without an await. */
import { KernelError } from '../../tensor/errors.js';
import { WasmDevice } from './device.js';
import { setCollector } from './heap.js';

/** Node's built-in modules, where there is Node: found without an import, which browsers and bundlers would trip over. */
const builtin = (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process?.getBuiltinModule;

/** Whether the device can be made without waiting. */
export function canLoadNow(): boolean {
  return builtin !== undefined;
}

/** @throws KernelError when the module cannot be read or compiled */
export function createWasmDevice(): WasmDevice {
  const { readFileSync } = builtin!('node:fs') as typeof import('node:fs');
  const { setFlagsFromString } = builtin!('node:v8') as typeof import('node:v8');
  const { runInNewContext } = builtin!('node:vm') as typeof import('node:vm');
  let collect: (() => void) | null = null;
  setCollector(() => {
    // V8 hands out its collector only behind a flag; a new context sees it once the flag is set.
    if (!collect) {
      setFlagsFromString('--expose-gc');
      collect = runInNewContext('gc') as () => void;
    }
    collect();
  });
  const url = new URL('./hopgrad.wasm', import.meta.url);
  try {
    return new WasmDevice(
      new WebAssembly.Module(readFileSync(url)),
      () => new Promise((resolve) => setImmediate(resolve)),
    );
  } catch (error) {
    throw new KernelError('wasm', {
      received: (error as Error).message,
      expected: 'a readable hopgrad.wasm beside the code',
      hint: 'Run npm run build.',
    });
  }
}
