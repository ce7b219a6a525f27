/** The learning rate that options describe. */
import { cosineHardRestarts, cosineWarmup, type Schedule } from '../nn/optim/schedules.js';
import { UsageError } from '../tensor/errors.js';
import type { TrainOptions } from './options.js';

/** Steps of warm-up when nothing is said. */
export const defaultWarmup = (total: number) => Math.round(total / 20);

/** @throws UsageError when the warm-up is longer than the training */
export function learningRate(
  { lrScheduler, lr, warmup: wanted, restartCycles }: TrainOptions,
  total: number,
): Schedule {
  const warmup = wanted ?? defaultWarmup(total);
  if (warmup > total)
    throw new UsageError('train', {
      received: `--warmup ${warmup} for a training of ${total} steps`,
      expected: 'a warm-up no longer than the training',
    });
  if (lrScheduler === 'cosine') return cosineWarmup({ lr, warmup, total });
  if (lrScheduler === 'cosine-restarts') return cosineHardRestarts({ lr, warmup, total, cycles: restartCycles });
  return (step) => (step < warmup ? (lr * (step + 1)) / warmup : lr);
}
