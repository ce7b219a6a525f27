/** The module: kernels over addresses in one linear memory, and the threads that run them. Nothing here allocates. */
export { heapBase, limitThreads, parallel, work } from './pool';
