/** The validations of a run: when one is due, what it came to, which weights were the best, and how long nothing got better. */

import { Group } from '../distributed/group.js';
import { writeBest } from './checkpoints.js';
import type { ValidationData } from './corpus.js';
import type { Learner } from './learner.js';
import type { RunRecord } from './record.js';
import type { RunFolder } from './run-folder.js';
import type { Trainer } from './trainer.js';
import { bestOfRows, type EvaluationRow, metricKeys } from './validate.js';

interface Parts {
  data: ValidationData;
  folder: RunFolder;
  record: RunRecord;
  /** Those who validate together; what rank 0 has found counts. */
  group?: Group;
}

/**
 * All that it knows stands in evaluations.jsonl, so a run that goes on remembers; lines of steps that are taken again must be
 * dropped before.
 */
export class Validator {
  readonly data: ValidationData;
  readonly #folder: RunFolder;
  readonly #record: RunRecord;
  readonly #rows: EvaluationRow[];
  readonly #group: Group;

  constructor({ data, folder, record, group = new Group() }: Parts) {
    this.#group = group;
    this.data = data;
    this.#folder = folder;
    this.#record = record;
    this.#rows = group.fromFirst(() => folder.evaluations());
  }

  /** Whether the training stands where it should be validated, and was not yet. */
  isDue({ position: { step, epoch, row }, total }: Pick<Trainer<Learner>, 'position' | 'total'>): boolean {
    const { valFrequency } = this.#record.settings;
    if (valFrequency === 0 || step === 0 || this.#rows.at(-1)?.step === step) return false;
    return step === total || (row === 0 && epoch % valFrequency === 0);
  }

  /** How many validations a whole training has after `step`, the one at its end included. */
  remaining({ position: { step }, total, loader }: Pick<Trainer<Learner>, 'position' | 'total' | 'loader'>): number {
    const { valFrequency } = this.#record.settings;
    const every = valFrequency * (loader.batchesPerEpoch ?? 0);
    if (valFrequency === 0 || step >= total) return 0;
    return every === 0 ? 1 : Math.ceil(total / every) - Math.floor(step / every);
  }

  /** Validates, writes the line, and keeps the weights where they are the best so far. */
  run(trainer: Trainer<Learner>, onProgress: (done: number) => void): Promise<EvaluationRow> {
    return trainer.withWeights(() => this.#run(trainer, onProgress));
  }

  async #run(trainer: Trainer<Learner>, onProgress: (done: number) => void): Promise<EvaluationRow> {
    const { learner, objective, options, position, retrieves: retrieval } = trainer;
    const { training } = learner.model;
    const start = performance.now();
    const scores = await this.data.validate(learner, {
      batchSize: options.batchSize,
      loss: (images, texts) => objective.forward(images, texts, { retrieve: retrieval }),
      onProgress,
    });
    if (training) trainer.train();
    const seconds = (performance.now() - start) / 1000;
    const { step, row, epoch } = position;
    const own: EvaluationRow = { step, epoch: row === 0 ? epoch : epoch + 1, retrieval, ...scores, seconds };
    const line = this.#group.fromFirst(() => own);
    this.#rows.push(line);
    if (this.best === line) {
      const { method, settings } = this.#record;
      await writeBest(this.#folder, learner, { method, step: String(step), best: settings.bestMetric });
    }
    this.#folder.logEvaluation(line);
    return line;
  }

  get best(): EvaluationRow | null {
    return bestOfRows(this.#rows, this.#record.settings.bestMetric);
  }

  /** The best, for results.json. */
  get bestFacts(): { metric: string; value: number; step: number; epoch: number } | null {
    const { best } = this;
    const { bestMetric: metric } = this.#record.settings;
    return best && { metric, value: best[metricKeys[metric]]!, step: best.step, epoch: best.epoch };
  }

  /** The validation of the weights after `step`. */
  at(step: number): EvaluationRow | null {
    const last = this.#rows.at(-1);
    return last?.step === step ? last : null;
  }

  /** Whether the last `--patience` validations were no better than one before them. */
  get outOfPatience(): boolean {
    const { patience } = this.#record.settings;
    const { best } = this;
    return patience !== null && best !== null && this.#rows.length - 1 - this.#rows.indexOf(best) >= patience;
  }
}
