/** `--debug-run`: a run of a few batches that goes through everything a whole one goes through. */
import type { RunSettings, TrainOptions } from './options.js';

/** Batches an epoch, of which there are two, with a validation and a checkpoint after each. */
const batches = 2;
export const debugSteps = 2 * batches;

/** Pictures of each set that take part. */
export const debugRows = ({ batchSize }: TrainOptions) => batches * batchSize;

/** The options of a short run: the rate grows, and memories join in, while it lasts. */
export function debugOptions(options: TrainOptions): TrainOptions {
  const { hopfieldFrom: from, warmup } = options;
  return {
    ...options,
    steps: debugSteps,
    warmup: warmup === null ? null : Math.min(warmup, 1),
    hopfieldFrom: typeof from === 'number' && from >= 1 ? Math.min(from, batches) : from,
  };
}

export const debugSettings = (settings: RunSettings): RunSettings => ({
  ...settings,
  saveFrequency: 1,
  valFrequency: Math.min(settings.valFrequency, 1),
});
