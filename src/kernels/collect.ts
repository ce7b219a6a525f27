/** Making the JavaScript engine look for dead tensors: to it they are small objects, whatever they hold on the device. */
type Builtin = (name: string) => unknown;
const { process, Bun } = globalThis as {
  process?: { getBuiltinModule?: Builtin };
  Bun?: { gc(wait: boolean): void };
};
const builtin = process?.getBuiltinModule;
let collect: (() => void) | null = null;

/**
 * In Node and Deno through V8's own switch, in Bun by its own call; in a browser by allocating (never touching) memory that
 * the engine does count.
 */
export function collectGarbage(): void {
  if (Bun) {
    Bun.gc(true);
    return;
  }
  if (!builtin) {
    for (let i = 0; i < 4; i++) new ArrayBuffer(2 ** 26);
    return;
  }
  if (!collect) {
    const { setFlagsFromString } = builtin('node:v8') as typeof import('node:v8');
    const { runInNewContext } = builtin('node:vm') as typeof import('node:vm');
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void; // a new context sees it once the flag is set
  }
  collect();
}
