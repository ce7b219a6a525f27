/** What goes wrong with contrastive training without an error: recognised in the log, and told once in words for a learner. */
import type { StepReport } from './trainer.js';

/** A sign that something goes wrong, and what to say when it lasts. */
interface Sign {
  seen(report: StepReport): boolean;
  text(report: StepReport): string;
}

const vital = ({ vitals }: StepReport, name: keyof NonNullable<StepReport['vitals']>) => vitals?.[name] ?? null;
const above = (value: number | null, limit: number) => value !== null && value > limit;
const below = (value: number | null, limit: number) => value !== null && value < limit;
const sides = [
  ['image', 'pictures', 'pictures'],
  ['text', 'captions', 'texts'],
] as const;

const collapse: Sign[] = sides.map(([side, plural]) => ({
  seen: (report) => above(vital(report, `${side}Similarity`), 0.99),
  text: (report) =>
    `All ${plural} have almost the same embedding (mean cosine of two ${plural} ${vital(report, `${side}Similarity`)!.toFixed(4)}): ` +
    'the model tells nothing apart. Usual reasons: too high a learning rate (--lr, --warmup), or Hopfield memories that ' +
    'average everything from the start (--hopfield-from later, --center batch).',
}));

const memories: Sign[] = sides.flatMap(([side, , memory]) => [
  {
    seen: (report: StepReport) => above(vital(report, `${side}Patterns`), 0.98 * report.samples),
    text: (report: StepReport) =>
      `The Hopfield memory of ${memory} answers every query with the mean of nearly all ${report.samples} patterns, so its answers ` +
      'are all alike and teach little. The embeddings are too close to each other, or β is too small: ' +
      'let memories join in later (--hopfield-from), centre the embeddings (--center batch), or raise --scale-hopfield.',
  },
  {
    seen: (report: StepReport) => below(vital(report, `${side}Patterns`), 1.05),
    text: () =>
      `The Hopfield memory of ${memory} answers every query with a single pattern, for the batch’s own embeddings the query itself: ` +
      'retrieval changes nothing. β is too large: lower --scale-hopfield, or train without memories (--no-hopfield).',
  },
]);

/** @param learnt whether τ⁻¹ is */
const temperature = (learnt: boolean): Sign[] =>
  learnt
    ? [
        {
          seen: ({ invTau }) => invTau >= 99.99,
          text: () =>
            'The learnt inverse temperature τ⁻¹ is at its upper bound, 100: the loss wants to be sharper than that, as it does ' +
            'when nearly all pairs are told apart or the same pairs are seen too often. A constant one (without ' +
            '--learnable-inv-tau; 30 in the paper) is steadier.',
        },
        {
          seen: ({ invTau }) => invTau <= 1.0001,
          text: () =>
            'The learnt inverse temperature τ⁻¹ is at its lower bound, 1: the loss hardly tells pairs apart. The pairs may not ' +
            'belong together, or the learning rate is too high.',
        },
      ]
    : [];

/** Steps in a row for which a sign must be seen, of those that are measured. */
const lasting = 200; // healthy trainings without centring have begun with 60 such steps

/** Watches the steps of a training. Each warning is given once; the first steps of a fresh model are passed over. */
export class Warnings {
  readonly #signs: { sign: Sign; run: number; told: boolean }[];

  constructor({ learnableInvTau }: { learnableInvTau: boolean }) {
    const signs = [...collapse, ...memories, ...temperature(learnableInvTau)];
    this.#signs = signs.map((sign) => ({ sign, run: 0, told: false }));
  }

  /** What is to be said after a step. */
  after(report: StepReport): string[] {
    if (report.vitals === null) return [];
    const due = this.#signs.filter((own) => {
      own.run = own.sign.seen(report) ? own.run + 1 : 0;
      if (own.told || own.run < lasting) return false;
      own.told = true;
      return true;
    });
    return due.map(({ sign }) => `Warning, for ${lasting} steps now: ${sign.text(report)}`);
  }
}
