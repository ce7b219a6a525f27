/**
 * What a kernel sees of the world, in gpu.js's kernel language: its own output position and integer constants.
 *
 * Rules that keep one text exact on every device: plain `function`, no closures; one output element per call;
 * data addressed in up to three dimensions (`x[z][y][x]`), because on a GPU local variables are float32 and a
 * flat index computed through one would be wrong above 2^24, while each single coordinate stays below it.
 */
export interface KernelThis {
  thread: { x: number; y: number; z: number };
  constants: Record<string, number>;
}

export type Vector = ArrayLike<number>;
export type Matrix = ArrayLike<Vector>;
export type Volume = ArrayLike<Matrix>;

// biome-ignore lint/suspicious/noExplicitAny: the arguments of a kernel are views of one to three dimensions
export type SourceKernel = (this: KernelThis, ...inputs: any[]) => number;
