/** A helping thread: instantiates the kernels over the shared memory and works until the process ends. */
interface Start {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  id: number;
}

function start({ module, memory, id }: Start): void {
  const { work } = new WebAssembly.Instance(module, { env: { memory } }).exports as { work(id: number): void };
  work(id); // never returns
}

const node = (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process?.getBuiltinModule?.(
  'node:worker_threads',
) as { workerData: Start } | undefined;

if (node) start(node.workerData);
else globalThis.onmessage = ({ data }: MessageEvent<Start>) => start(data);
