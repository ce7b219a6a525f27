/**
 * The texts of hopgrad's own kernels by name. In dist/ the build puts them here, so that devices that compile kernels
 * from text have them as they were written, whatever a bundler makes of the functions. Empty before that.
 */
export const texts: Readonly<Record<string, string>> = {};
