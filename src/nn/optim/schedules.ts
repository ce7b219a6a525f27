/** Learning-rate schedules: pure functions from the step (0, 1, 2 …) to a rate. */
import { DomainError } from '../../tensor/errors.js';

/** A schedule that begins with a linear warm-up. */
export interface WarmupOptions {
  /** The highest rate. */
  lr: number;
  /** Steps of linear growth at the beginning. Default 0. */
  warmup?: number;
  /** Steps in all. */
  total: number;
}

/** The learning rate of a step, counted from 0. */
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

function checkNumbers(op: string, numbers: Record<string, [value: number, ok: boolean, expected: string]>): void {
  for (const [name, [value, ok, expected]] of Object.entries(numbers))
    if (!ok) throw new DomainError(op, { received: `${name} ${value}`, expected });
}
const notNegative = (value: number): [number, boolean, string] => [
  value,
  value >= 0 && Number.isFinite(value),
  'a finite number ≥ 0',
];
const atLeastOne = (value: number): [number, boolean, string] => [value, value >= 1, 'a number of steps ≥ 1'];

/** The same rate always: lr. */
export function constantRate(lr: number): Schedule {
  checkNumbers('constantRate', { lr: notNegative(lr) });
  return () => lr;
}

/**
 * A straight line: from + (to − from) · step/steps, and `to` from there on.
 * @source PyTorch's LinearLR
 */
export function linearRate({ from, to, steps }: { from: number; to: number; steps: number }): Schedule {
  checkNumbers('linearRate', { from: notNegative(from), to: notNegative(to), steps: atLeastOne(steps) });
  return (step) => from + (to - from) * Math.min(1, step / steps);
}

/**
 * Stairs: lr · factor^⌊step/every⌋.
 * @param factor of each stair, default 0.1
 * @source PyTorch's StepLR
 */
export function stepDecay({ lr, every, factor = 0.1 }: { lr: number; every: number; factor?: number }): Schedule {
  checkNumbers('stepDecay', { lr: notNegative(lr), every: atLeastOne(every), factor: notNegative(factor) });
  return (step) => lr * factor ** Math.floor(step / every);
}

/**
 * Exponential decay: lr · factorˢᵗᵉᵖ.
 * @source PyTorch's ExponentialLR
 */
export function exponentialDecay({ lr, factor }: { lr: number; factor: number }): Schedule {
  checkNumbers('exponentialDecay', { lr: notNegative(lr), factor: notNegative(factor) });
  return (step) => lr * factor ** step;
}

/**
 * One cycle: half a cosine up from lr/start to lr in the first `rise` of the steps, half a cosine down to lr/(start·end)
 * in the rest.
 *
 * @param lr    the highest rate; @param total steps in all, ≥ 2
 * @param rise  share of the steps that goes up, in (0, 1), default 0.3
 * @param start lr over the first rate, default 25; @param end the first rate over the last, default 10⁴
 * @source Smith & Topin 2017, "Super-convergence", arXiv 1708.07120; PyTorch's OneCycleLR
 */
export function oneCycle({
  lr,
  total,
  rise = 0.3,
  start = 25,
  end = 1e4,
}: {
  lr: number;
  total: number;
  rise?: number;
  start?: number;
  end?: number;
}): Schedule {
  checkNumbers('oneCycle', {
    lr: notNegative(lr),
    total: [total, total >= 2, 'at least 2 steps'],
    rise: [rise, rise > 0 && rise < 1, 'a share in (0, 1)'],
    start: [start, start >= 1, 'a number ≥ 1'],
    end: [end, end >= 1, 'a number ≥ 1'],
  });
  const top = rise * total - 1;
  const cosine = (a: number, b: number, progress: number) => b + ((a - b) * (1 + Math.cos(Math.PI * progress))) / 2;
  return (step) => {
    if (step <= top) return cosine(lr / start, lr, step / top);
    return cosine(lr, lr / (start * end), Math.min(1, (step - top) / (total - 1 - top)));
  };
}

/**
 * One schedule after another: each counts its own steps from 0.
 * @param parts schedules with their lengths; the last needs none
 * @throws DomainError for no schedule, or a length that is no number of steps
 * @example chained([linearRate({ from: 0, to: 1e-3, steps: 100 }), 100], [cosineWarmup({ lr: 1e-3, total: 900 })])
 */
export function chained(...parts: (readonly [Schedule, number] | readonly [Schedule])[]): Schedule {
  if (parts.length === 0) throw new DomainError('chained', { received: 'no schedule', expected: 'at least one' });
  for (const [, length] of parts.slice(0, -1)) checkNumbers('chained', { length: atLeastOne(length ?? Number.NaN) });
  return (step) => {
    let local = step;
    for (const [schedule, length = Infinity] of parts.slice(0, -1)) {
      if (local < length) return schedule(local);
      local -= length;
    }
    return parts.at(-1)![0](local);
  };
}
