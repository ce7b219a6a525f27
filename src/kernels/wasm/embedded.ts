/**
 * The WebAssembly builds by file name, compressed, each in a module of its own that a page loads when it needs it:
 * bundlers move modules, but not all of them move files. The build puts them here in dist/; empty before that.
 */
export const embedded: Readonly<Record<string, () => Promise<{ packed: string }>>> = {};
