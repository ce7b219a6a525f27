/** More epochs or steps for a run that has begun, or is finished. */
import { UsageError } from '../tensor/errors.js';
import { firstHopfieldStep, type TrainOptions } from './options.js';
import { defaultWarmup } from './schedule.js';
import { type Batches, totalSteps } from './trainer.js';

/**
 * The options of a run that goes on for longer. Its learning rate is from now on that of a schedule over all steps, the longer
 * number, so it may jump up; warm-up and the start of the memories stay at the steps where they were.
 *
 * @returns the options, and the numbers of steps before and after
 * @throws UsageError when it would become shorter
 */
export function prolong(
  options: TrainOptions,
  asked: { epochs?: number | undefined; steps?: number | null | undefined },
  loader: Pick<Batches, 'source' | 'batchesPerEpoch'>,
): { options: TrainOptions; before: number; after: number } {
  const before = totalSteps(options, loader);
  const longer: TrainOptions = { ...options };
  if (asked.epochs !== undefined) Object.assign(longer, { epochs: asked.epochs, steps: null });
  if (asked.steps != null) longer.steps = asked.steps;
  const after = totalSteps(longer, loader);
  if (after < before)
    throw new UsageError('train', {
      received: `${after} steps for a run of ${before}`,
      expected: 'at least as many: a run can be prolonged by --epochs or --steps, not shortened',
    });
  if (after === before) return { options, before, after };
  longer.warmup = options.warmup ?? defaultWarmup(before);
  const from = firstHopfieldStep(options, before);
  if (from < before) longer.hopfieldFrom = from; // from the end on, or never: stays so
  return { options: longer, before, after };
}
