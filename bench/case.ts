/** One thing to measure. */
export interface Case {
  name: string;
  run: () => void | Promise<void>;
  /** What one run does: float32 operations, bytes read and written (each operand once), or items such as images. */
  work?: { flops: number } | { bytes: number } | { items: number; unit: string };
  /** How many repetitions of the named thing one run holds; the time is divided by it. Default 1. */
  repeats?: number;
}
