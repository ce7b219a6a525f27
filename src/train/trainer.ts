/** The training loop: batches in, steps out, and a state from which it continues bit for bit. */

import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Batch, Loader, Place } from '../data/loader.js';
import { Group } from '../distributed/group.js';
import type { Device } from '../kernels/device.js';
import { CloobModel } from '../models/cloob/model.js';
import { lookAcross } from '../nn/across.js';
import { ExponentialMovingAverage } from '../nn/average.js';
import type { Module, Parameter } from '../nn/module.js';
import { AdamW } from '../nn/optim/adamw.js';
import { DataError, DomainError, UsageError } from '../tensor/errors.js';
import { averageStatistics } from './agreement.js';
import { type Fault, faultError, Statistics } from './fault.js';
import type { Embedded, Inputs, Learner, PictureLearner } from './learner.js';
import { Objective } from './objective.js';
import { firstHopfieldStep, type TrainOptions } from './options.js';
import type { PatternQueue } from './pattern-queue.js';
import { learningRate } from './schedule.js';
import type { Teacher } from './teacher.js';
import { lockTowers, scaledGroups } from './towers.js';
import { measureEmbeddings, readVitals, type Vitals } from './vitals.js';

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
  /** And in the phases of the step; null on devices that answer later, where only the whole can be told. */
  forwardSeconds: number | null;
  backwardSeconds: number | null;
  updateSeconds: number | null;
  /** Global gradient norm, before clipping. */
  gradNorm: number | null;
  /** Bytes that the device has taken from the system. */
  memoryBytes: number;
  /** What the embeddings look like; null in steps where it is not measured. */
  vitals: Vitals | null;
}

/** How a step is watched. */
interface StepOptions {
  /** Whether the embeddings are measured. */
  measure: boolean;
  onPiece(done: number, pieces: number): void;
}

/** A training in memory: what learns, objective, optimiser, and the place in the data. */
export class Trainer<L extends Learner = PictureLearner, B extends Batches = Batches> {
  readonly learner: L;
  readonly loader: B;
  readonly options: TrainOptions;
  /** Those who train together: every batch is spread over them. */
  readonly group: Group;
  readonly objective: Objective;
  readonly optimizer: AdamW;
  /** The average of the weights, where the options want one. */
  readonly ema: ExponentialMovingAverage | null;
  /** Steps in all. */
  readonly total: number;
  position: Position = { step: 0, epoch: 0, row: 0, bad: 0 };
  readonly teacher: Teacher | null;
  /** Those that are trained. */
  readonly #parameters: Parameter[];
  /** Modules of locked towers: they stay in evaluation mode. */
  readonly #locked: Module[];
  readonly #statistics: Statistics;
  readonly #rate: (step: number) => number;
  readonly #hopfieldFrom: number;

  /** @throws UsageError, DomainError for options that do not fit together */
  constructor(parts: {
    learner: L;
    loader: B;
    options: TrainOptions;
    teacher?: Teacher | null;
    /** Default: this process alone. Its loader gives this rank's part of every batch. */
    group?: Group;
  }) {
    const { learner, loader, options, group = new Group() } = parts;
    const { model } = learner;
    this.group = group;
    this.learner = learner;
    this.loader = loader;
    this.options = options;
    this.objective = new Objective(options, model);
    const mean = (x: Tensor) => group.allGather(x.reshape([1, ...x.shape])).mean({ axis: 0 });
    if (group.size > 1) lookAcross(model, { size: group.size, mean }, { batchNorm: options.syncBatchnorm });
    if (model instanceof CloobModel) model.setGradCheckpointing(options.gradCheckpointing);
    this.teacher = parts.teacher ?? null;
    this.#locked = lockTowers(model, options);
    this.#parameters = [...model.parameters(), ...this.objective.parameters()].filter(
      ({ requiresGrad }) => requiresGrad,
    );
    this.#statistics = new Statistics(model, this.objective);
    const groups = options.layerDecay < 1 && scaledGroups(model, this.#parameters, options.layerDecay);
    this.optimizer = new AdamW(groups || this.#parameters, {
      lr: options.lr,
      betas: [options.beta1, options.beta2],
      eps: options.eps,
      weightDecay: options.wd,
      maxGradNorm: options.maxGradNorm,
    });
    this.ema = options.ema === null ? null : new ExponentialMovingAverage(model, { decay: options.ema });
    this.total = totalSteps(options, loader);
    this.#rate = learningRate(options, this.total);
    this.#hopfieldFrom = firstHopfieldStep(options, this.total);
  }

  /**
   * Trains to the end, or until `signal` is aborted on any rank, which is heard between two steps.
   * @param onStep    after every step
   * @param onEpoch   after every epoch but the last
   * @param onFault   at a step that came to numbers that are not finite; says whether to pass over it. Default: to stop
   * @param onPiece   after each piece of a step that is encoded in several, of how many
   * @param measureEvery steps between measurements of embeddings
   * @returns whether training is complete
   * @throws DomainError when the loss or a gradient is no longer finite; DataError when an epoch has no batch
   */
  async run({
    onStep = () => {},
    onEpoch = async () => {},
    onFault = async () => false,
    onPiece = () => {},
    measureEvery = 1,
    signal,
  }: {
    onStep?: (report: StepReport) => void | Promise<void>;
    onEpoch?: (epochsDone: number) => Promise<void>;
    onFault?: (fault: Fault) => Promise<boolean>;
    onPiece?: (done: number, pieces: number) => void;
    measureEvery?: number;
    signal?: AbortSignal;
  } = {}): Promise<boolean> {
    while (this.position.step < this.total) {
      const { epoch } = this.position;
      this.train();
      let start = performance.now();
      for await (const batch of this.loader.batches(this.position)) {
        if (this.group.any(signal?.aborted ?? false)) return false;
        const measure = (this.position.step + 1) % measureEvery === 0;
        const outcome = await this.#step(batch, { start, measure, onPiece });
        const fault = 'batch' in outcome ? outcome : null;
        if (fault && !(await onFault(fault))) throw fault.error;
        if (!fault) this.ema?.update();
        this.position = { step: this.position.step + 1, ...batch.next };
        if (!('batch' in outcome)) await onStep(outcome);
        if (this.position.step === this.total) return true;
        start = performance.now();
      }
      if (this.position.row === 0) throw noBatch(this.options, this.loader);
      this.position = { step: this.position.step, epoch: epoch + 1, row: 0, bad: 0 };
      await onEpoch(this.position.epoch);
    }
    return true;
  }

  get model(): L['model'] {
    return this.learner.model;
  }

  /** The model in training mode, but for what is locked. */
  train(): void {
    this.model.train();
    for (const module of this.#locked) module.eval();
  }

  /** Runs `body` with the weights that count in the model: their average, where there is one. */
  async withWeights<T>(body: () => Promise<T>): Promise<T> {
    return this.ema ? this.ema.use(body) : body();
  }

  /** Gives all ranks the same running statistics of batch norm: their mean. Each sees its own rows only. */
  averageStatistics(): void {
    if (!this.options.syncBatchnorm) averageStatistics(this.group, this.model);
  }

  /** Whether Hopfield memories take part in the next step. */
  get retrieves(): boolean {
    return this.position.step >= this.#hopfieldFrom;
  }

  /**
   * On ranks, every decision is made by numbers that all of them have: the loss of the whole batch, gradients that are summed.
   * @param start when the wait for the batch began
   */
  async #step(batch: Batch, { start, ...how }: StepOptions & { start: number }): Promise<StepReport | Fault> {
    const dataSeconds = (performance.now() - start) / 1000;
    const { step, epoch } = this.position;
    const retrieve = this.retrieves;
    const { synchronous } = this.#device;
    const lr = this.#rate(step);
    this.optimizer.lr = lr;
    const before = this.#statistics.hold();
    const outcome = this.#compute(batch, { ...how, retrieve });
    if (this.options.learnableInvTau) this.model.clampInvTau();
    const [loss, invTau, beta, vitals] = await Promise.all([
      read(outcome.loss),
      read(outcome.invTau),
      read(outcome.beta),
      outcome.vitals && readVitals(outcome.vitals),
    ]);
    const report = {
      step: step + 1,
      total: this.total,
      epoch,
      loss,
      lr,
      invTau,
      beta: retrieve ? beta : null,
      samples: batch.of,
      vitals,
    };
    const refusal = await outcome.refused;
    if (refusal && !(refusal instanceof DomainError)) throw refusal;
    const faulty = !Number.isFinite(loss) || refusal !== null;
    let error: DomainError | null = null;
    if (faulty) {
      before.restore();
      const again = () => {
        const inputs = this.learner.inputs(batch);
        const { microBatch } = this.options;
        const embedded = this.learner.encode(inputs, { microBatch });
        this.#loss(inputs, embedded, embedded, retrieve).backward();
      };
      error = faultError({ loss, refusal, step: step + 1 }, synchronous && this.group.size === 1 ? again : null);
      for (const parameter of this.#parameters) parameter.grad = null;
      before.restore();
    }
    before.dispose();
    if (error && !refusal && !synchronous) throw error; // with gradients that were finite: the weights have moved
    if (error) return { step: step + 1, epoch, batch, error };
    return {
      ...report,
      seconds: (performance.now() - start) / 1000,
      dataSeconds,
      ...outcome.phases,
      gradNorm: this.optimizer.lastGradNorm,
      memoryBytes: this.#device.memory().reservedBytes,
    };
  }

  /** Loss, gradients and update. Where the loss can be read at once, nothing follows from one that is not finite. */
  #compute(batch: Batch, { retrieve, measure, onPiece }: StepOptions & { retrieve: boolean }) {
    const { synchronous } = this.#device;
    const outcome = scoped(() => {
      const phase = stopwatch(synchronous);
      const inputs = this.learner.inputs(batch);
      const { microBatch } = this.options;
      const pieces = this.learner.pieces(batch.count, microBatch);
      let done = 0;
      const embedded = this.learner.encode(inputs, { microBatch, onPiece: () => onPiece(++done, pieces) });
      const { images, texts } = embedded;
      const { group } = this;
      const all = { images: group.allGather(images), texts: group.allGather(texts) };
      const value = this.#loss(inputs, embedded, all, retrieve);
      const forwardSeconds = phase();
      const [invTau, beta] = [this.objective.invTau(), this.objective.beta()];
      const vitals =
        measure && group.rank === 0
          ? measureEmbeddings(all.images, all.texts, { invTau, beta: retrieve ? beta : null })
          : null;
      const loss = group.size === 1 ? value.detach() : group.sumOf(value.dataSync()[0]!);
      const told = { loss, invTau, beta, vitals };
      const phases = { forwardSeconds, backwardSeconds: null as number | null, updateSeconds: null as number | null };
      if (synchronous && !Number.isFinite(typeof loss === 'number' ? loss : value.dataSync()[0]))
        return { ...told, phases, refused: null };
      phase();
      value.backward();
      group.sumGradients(this.#parameters);
      phases.backwardSeconds = phase();
      // The update is made now, in this scope; what is wrong with it is told after the loss, which may be the reason.
      const refused = (async () => this.optimizer.step())().then(
        () => null,
        (error: Error) => error,
      );
      if (this.objective.queue) this.#remember(this.objective.queue, all, batch);
      phases.updateSeconds = phase();
      return { ...told, phases, refused };
    });
    for (const parameter of this.#parameters) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
    return outcome;
  }

  /** Ranks have every n-th pair: the queue, which forgets the oldest, takes them in the order of the batch. */
  #remember(queue: PatternQueue, { images, texts }: Embedded, { places }: Batch): void {
    const at = this.group.gatherJson(places).flat();
    const order = Int32Array.from([...at.keys()].sort((a, b) => at[a]! - at[b]!));
    const rows = tensor(order, { device: images.device });
    const ordered = (x: Tensor) => x.detach().gather(rows);
    queue.push(ordered(images), ordered(texts));
  }

  get #device(): Device {
    return this.model.logit_inv_tau.storage.device;
  }

  /** The objective's loss, and the teacher's where there is one; of ranks each has a share, and the shares add up to it. */
  #loss(inputs: Inputs, { images, texts }: Embedded, all: Embedded, retrieve: boolean): Tensor {
    const { group } = this;
    const loss = this.objective.forward(images, texts, { retrieve, among: { group, ...all } });
    const share = (value: Tensor) => (group.size === 1 ? value : value.div(group.size));
    if (!this.teacher) return share(loss);
    const student = { images, texts, invTau: this.objective.invTau(), all, group };
    return share(loss.add(this.teacher.loss(inputs, student, this.options.microBatch)));
  }
}

/** Steps of a whole training. @throws DataError when an epoch has no batch; UsageError when its length is unknown and no number of steps given */
export function totalSteps(
  options: TrainOptions,
  { source, batchesPerEpoch }: Pick<Batches, 'source' | 'batchesPerEpoch'>,
): number {
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

/** Seconds since the last call; null where a device works on after it has answered. */
function stopwatch(synchronous: boolean): () => number | null {
  let last = performance.now();
  return () => {
    const before = last;
    last = performance.now();
    return synchronous ? (last - before) / 1000 : null;
  };
}

async function read(value: number | Tensor): Promise<number> {
  if (typeof value === 'number') return value;
  const number = await value.item();
  value.dispose();
  return number;
}
