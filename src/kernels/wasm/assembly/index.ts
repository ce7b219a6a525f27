/** The module: kernels over addresses in one linear memory, and the threads that run them. Nothing here allocates. */
export { heapBase, limitThreads, parallel, work } from './pool';
// Kernels are called by number, through `parallel`; scripts/wasm-calls.mjs says why they are exported.
export * from './generated';
