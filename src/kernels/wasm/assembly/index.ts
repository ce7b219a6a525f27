/** The module: plain functions over addresses in one linear memory. Nothing here allocates. */
export * from './elementwise';
export * from './gemm';
export * from './rows';
export function heapBase(): usize {
  return __heap_base;
}
