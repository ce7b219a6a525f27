/** Learning-rate schedules: pure functions from the step (0, 1, 2 …) to a rate. */
import { DomainError } from '../../tensor/errors.js';

export interface WarmupOptions {
  /** The highest rate. */
  lr: number;
  /** Steps of linear growth at the beginning. Default 0. */
  warmup?: number;
  /** Steps in all. */
  total: number;
}

export type Schedule = (step: number) => number;

function check(op: string, { lr, warmup = 0, total }: WarmupOptions): Required<WarmupOptions> {
  if (!(lr >= 0) || !(warmup >= 0) || !(total > 0) || warmup > total)
    throw new DomainError(op, {
      received: `lr ${lr}, warmup ${warmup}, total ${total}`,
      expected: 'lr ≥ 0 and 0 ≤ warmup ≤ total, total > 0',
    });
  return { lr, warmup, total };
}

/**
 * Linear warm-up, then half a cosine down to 0:
 * lr · (step + 1)/warmup before warmup, lr · ½(1 + cos(π (step − warmup)/(total − warmup))) after.
 * @source the official CLOOB and open_clip `cosine_lr`
 */
export function cosineWarmup(options: WarmupOptions): Schedule {
  const { lr, warmup, total } = check('cosineWarmup', options);
  return (step) => {
    if (step < warmup) return (lr * (step + 1)) / warmup;
    const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
    return lr * 0.5 * (1 + Math.cos(Math.PI * progress));
  };
}

/**
 * Linear warm-up, then `cycles` half cosines, each starting again from the full rate:
 * lr · step/warmup before warmup, lr · ½(1 + cos(π · frac(cycles · progress))) after, 0 at the end.
 * @source Loshchilov & Hutter 2017, arXiv 1608.03983; the variant of the official CLOOB code
 */
export function cosineHardRestarts(options: WarmupOptions & { cycles?: number }): Schedule {
  const { lr, warmup, total } = check('cosineHardRestarts', options);
  const { cycles = 1 } = options;
  if (!(cycles > 0))
    throw new DomainError('cosineHardRestarts', { received: `cycles ${cycles}`, expected: 'a number > 0' });
  return (step) => {
    if (step < warmup) return (lr * step) / Math.max(1, warmup);
    const progress = (step - warmup) / Math.max(1, total - warmup);
    return progress >= 1 ? 0 : lr * 0.5 * (1 + Math.cos(Math.PI * ((cycles * progress) % 1)));
  };
}
