/**
 * The program of a helping thread: instantiates the kernels over the shared memory and works until the process ends. It
 * is a text, since bundlers leave no file for a thread to start from, and since a page may not start one from the address
 * of another server.
 */
export const workerText = `
const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
function start({ module, memory, id }) {
  new WebAssembly.Instance(module, { env: { memory } }).exports.work(id); // never returns
}
if (node) start(node.workerData);
else globalThis.onmessage = ({ data }) => start(data);
`;
