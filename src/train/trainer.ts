/** The training loop: batches in, steps out, and a state from which it continues bit for bit. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Batch, Loader, Place } from '../data/loader.js';
import { checkCaptions } from '../data/source.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import type { Parameter } from '../nn/module.js';
import { AdamW } from '../nn/optim/adamw.js';
import { DataError, DomainError, UsageError } from '../tensor/errors.js';
import { Objective } from './objective.js';
import { firstHopfieldStep, type TrainOptions } from './options.js';
import { learningRate } from './schedule.js';

/** Where training stands: steps done, and the place of the next batch. */
export interface Position extends Place {
  step: number;
}

/** What the training loop needs of a {@link Loader}. */
export type Batches = Pick<Loader, 'batches' | 'batchesPerEpoch'> & {
  source: { name: string; size?: number | undefined };
};

/** What a step came to. */
export interface StepReport {
  /** Number of the step, from 1. */
  step: number;
  total: number;
  epoch: number;
  loss: number;
  lr: number;
  invTau: number;
  /** β; null while embeddings are compared as they are. */
  beta: number | null;
  /** Pairs in the batch. */
  samples: number;
  /** From the end of the step before to the end of this one. */
  seconds: number;
  /** Of these, how many were spent waiting for the batch. */
  dataSeconds: number;
}

/** A training in memory: model, objective, optimiser, and the place in the data. */
export class Trainer {
  readonly model: CloobModel;
  readonly tokenizer: ClipTokenizer;
  readonly loader: Batches;
  readonly options: TrainOptions;
  readonly objective: Objective;
  readonly optimizer: AdamW;
  /** Steps in all. */
  readonly total: number;
  position: Position = { step: 0, epoch: 0, row: 0, bad: 0 };
  readonly #parameters: Parameter[];
  readonly #rate: (step: number) => number;
  readonly #hopfieldFrom: number;

  /** @throws UsageError, DomainError for options that do not fit together */
  constructor(parts: { model: CloobModel; tokenizer: ClipTokenizer; loader: Batches; options: TrainOptions }) {
    const { model, loader, options } = parts;
    this.model = model;
    this.tokenizer = parts.tokenizer;
    this.loader = loader;
    this.options = options;
    this.objective = new Objective(options, model);
    this.#parameters = [...model.parameters(), ...this.objective.parameters()];
    this.optimizer = new AdamW(this.#parameters, {
      lr: options.lr,
      betas: [options.beta1, options.beta2],
      eps: options.eps,
      weightDecay: options.wd,
      maxGradNorm: options.maxGradNorm,
    });
    this.total = totalSteps(options, loader);
    this.#rate = learningRate(options, this.total);
    this.#hopfieldFrom = firstHopfieldStep(options, this.total);
  }

  /**
   * Trains to the end, or until `signal` is aborted, which is heard between two steps.
   * @param onStep    after every step
   * @param onEpoch   after every epoch but the last
   * @returns whether training is complete
   * @throws DomainError when the loss or a gradient is no longer finite; DataError when an epoch has no batch
   */
  async run({
    onStep = () => {},
    onEpoch = async () => {},
    signal,
  }: {
    onStep?: (report: StepReport) => void | Promise<void>;
    onEpoch?: (epochsDone: number) => Promise<void>;
    signal?: AbortSignal;
  } = {}): Promise<boolean> {
    while (this.position.step < this.total) {
      const { epoch } = this.position;
      this.model.train();
      let start = performance.now();
      for await (const batch of this.loader.batches(this.position)) {
        if (signal?.aborted) return false;
        const report = await this.#step(batch, start);
        this.position = { step: this.position.step + 1, ...batch.next };
        await onStep(report);
        if (this.position.step === this.total) return true;
        start = performance.now();
      }
      if (this.position.row === 0) throw noBatch(this.options, this.loader);
      this.position = { step: this.position.step, epoch: epoch + 1, row: 0, bad: 0 };
      await onEpoch(this.position.epoch);
    }
    return true;
  }

  /** Whether Hopfield memories take part in the next step. */
  get retrieves(): boolean {
    return this.position.step >= this.#hopfieldFrom;
  }

  /** @param start when the wait for the batch began */
  async #step(batch: Batch, start: number): Promise<StepReport> {
    const dataSeconds = (performance.now() - start) / 1000;
    const { step, epoch } = this.position;
    const retrieve = this.retrieves;
    const lr = this.#rate(step);
    this.optimizer.lr = lr;
    const { loss, invTau, beta, refused } = scoped(() => {
      const [images, texts] = this.#embed(batch);
      const value = this.objective.forward(images, texts, { retrieve });
      value.backward();
      // The update is made now, in this scope; what is wrong with it is told after the loss, which may be the reason.
      const refused = (async () => this.optimizer.step())().then(
        () => null,
        (error: Error) => error,
      );
      return { loss: value.detach(), invTau: this.objective.invTau(), beta: this.objective.beta(), refused };
    });
    for (const parameter of this.#parameters) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
    if (this.options.learnableInvTau) this.model.clampInvTau();
    const report = {
      step: step + 1,
      total: this.total,
      epoch,
      loss: await read(loss),
      lr,
      invTau: await read(invTau),
      beta: retrieve ? await read(beta) : null,
      samples: batch.count,
      seconds: (performance.now() - start) / 1000,
      dataSeconds,
    };
    if (!Number.isFinite(report.loss))
      throw new DomainError('train', {
        received: `a loss of ${report.loss} at step ${step + 1}`,
        expected: 'a finite loss',
        hint: 'Lower --lr, lengthen --warmup, or limit gradients with --max-grad-norm 1.',
      });
    const error = await refused;
    if (error) throw error;
    return report;
  }

  /** Unit embeddings of a batch, [batch, embed_dim] twice. */
  #embed({ images, captions, count, names }: Batch): [Tensor, Tensor] {
    const { image_resolution: size, context_length: contextLength } = this.model.config;
    const { device } = this.model.logit_inv_tau;
    checkCaptions(captions, names);
    const pixels = tensor(images, { shape: [count, 3, size, size], device });
    const ids = this.tokenizer.tokenize(captions, { contextLength });
    const tokens = tensor(ids, { shape: [count, contextLength], device });
    return [this.model.encodeImage(pixels).l2Normalize(), this.model.encodeText(tokens).l2Normalize()];
  }
}

/** @throws DataError when an epoch has no batch; UsageError when its length is unknown and no number of steps given */
function totalSteps(options: TrainOptions, { source, batchesPerEpoch }: Batches): number {
  if (options.steps !== null) return options.steps;
  if (batchesPerEpoch === undefined)
    throw new UsageError('train', {
      received: `${source.name}, whose number of pairs is not known before reading`,
      expected: '--steps or --train-num-samples',
    });
  if (batchesPerEpoch === 0) throw noBatch(options, { source });
  return options.epochs * batchesPerEpoch;
}

function noBatch({ batchSize }: TrainOptions, { source: { name, size } }: Pick<Batches, 'source'>): DataError {
  return new DataError('train', {
    received: `${name}: ${size ?? 'some'} pairs and not one batch of ${batchSize}`,
    expected: 'at least one full batch an epoch',
    hint: 'Use a smaller --batch-size.',
  });
}

async function read(value: number | Tensor): Promise<number> {
  if (typeof value === 'number') return value;
  const number = await value.item();
  value.dispose();
  return number;
}
