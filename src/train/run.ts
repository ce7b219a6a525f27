/** A training from beginning to end: tokenizer, model, loop, checkpoints, log, evaluation. */
import type { Loader } from '../data/loader.js';
import { Group } from '../distributed/group.js';
import { deviceByName } from '../kernels/devices.js';
import { loadCheckpoint } from '../models/cloob/checkpoint.js';
import { loadHeads } from '../models/cloob/heads.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { CheckpointError, DomainError, HopgradError } from '../tensor/errors.js';
import { checkAgreement } from './agreement.js';
import { type ResumePoint, writeCheckpoint } from './checkpoints.js';
import type { Corpus, Evaluation } from './corpus.js';
import { checkSizes } from './embedding-corpus.js';
import { type Fault, writeFault } from './fault.js';
import { Forecast, type Work } from './forecast.js';
import { writeHeldOut } from './held-out.js';
import { HeadsLearner, type Learner, PictureLearner } from './learner.js';
import { type Output, type Progress, processorOf, say, trainingNote, withProgress } from './progress.js';
import type { RunRecord } from './record.js';
import { type RunFolder, resultsFile } from './run-folder.js';
import { cutNote, startHeads, startModel } from './start.js';
import { restoreTraining, weightsOf } from './state.js';
import { Teacher } from './teacher.js';
import { EventFile, scalarsOf } from './tensorboard.js';
import { lockedTables } from './tower-cache.js';
import { Trainer } from './trainer.js';
import { scoresText, validationScalars } from './validate.js';
import { Validator } from './validator.js';
import { Warnings } from './warnings.js';

export interface RunOptions {
  record: RunRecord;
  corpus: Corpus;
  folder: RunFolder;
  /** Where to go on; null: at the beginning. */
  checkpoint: ResumePoint['checkpoint'];
  /** Replace the run that is in the folder. */
  overwrite?: boolean | undefined;
  output: Output;
  /** Those who train together; all call this, and one folder is written to. Default: this process alone. */
  group?: Group;
  /** Whether held-out pairs are looked at closely when the training is complete, for the report. */
  figures?: boolean;
  signal?: AbortSignal;
  /** Called when the training is complete and saved: only the evaluation is left. */
  onTrained?(): void;
}

export interface RunResult {
  /** False when the signal stopped it. */
  complete: boolean;
  steps: number;
  /** Seconds of training in this process, evaluation left out. */
  seconds: number;
  evaluation: Evaluation | null;
  /** The best validation, when there was one. */
  best: Validator['bestFacts'];
  /** Whether validation ended it before its time. */
  stoppedEarly: boolean;
}

/**
 * Trains, or goes on training, and evaluates when complete. When stopped by the signal, a checkpoint is written and
 * nothing is evaluated.
 * @throws CheckpointError when the checkpoint to resume belongs to another training; what data and training throw
 */
export async function runTraining(asked: RunOptions): Promise<RunResult> {
  const { corpus, folder, group = new Group() } = asked;
  const trainer = await trainerOf(asked);
  if (!trainer) {
    const steps = asked.checkpoint?.facts.position.step ?? 0;
    return { complete: false, steps, seconds: 0, evaluation: null, best: null, stoppedEarly: false };
  }
  const record = { ...asked.record, ...(trainer.teacher && { teacher: trainer.teacher.digest }) };
  const run = { ...asked, record };
  try {
    if (run.overwrite) folder.clear(); // not before all has been found that it needs
    folder.writeJson('manifest.json', record); // a run that is killed before its first checkpoint can be begun again by it
    folder.rewindLog(trainer.position.step);
    const data = record.settings.valFrequency > 0 ? corpus.validation : null;
    const validator = data && new Validator({ data, folder, record, group });
    const events =
      record.settings.reportTo === 'tensorboard' && folder.writes
        ? new EventFile((name, bytes) => folder.append(name, bytes), trainer.position.step)
        : null;
    checkAgreement(trainer);
    const start = performance.now();
    const { complete, stoppedEarly } = await loop(run, trainer, { validator, events });
    const seconds = (performance.now() - start) / 1000;
    await save(run, trainer);
    if (complete) run.onTrained?.();
    const evaluation = complete ? await evaluate(run, trainer, { validator, events }) : null;
    if (complete && run.figures) await writeFigures(run, trainer);
    const best = validator?.bestFacts ?? null;
    return { complete, steps: trainer.position.step, seconds, evaluation, best, stoppedEarly };
  } finally {
    await trainer.loader.close();
  }
}

/** A trainer at the beginning, or where the checkpoint of the run stands; null when the signal came before. Close its loader. */
export async function trainerOf(run: Start): Promise<RunTrainer | null> {
  const { corpus, checkpoint, record, output, signal, group = new Group() } = run;
  const { options, settings } = record;
  if (corpus.embeddings) {
    const model = checkpoint ? loadHeads(weightsOf(checkpoint.path)).model : startHeads(options, corpus.embeddings);
    const { image_features: image, text_features: text, embed_dim } = model.config;
    checkSizes(corpus.embeddings, { image, text });
    const count = model.parameterCount().toLocaleString('en');
    if (!checkpoint) output.write(`Heads: ${image} and ${text} → ${embed_dim} numbers, ${count} parameters\n`);
    const learner = new HeadsLearner(model, corpus.embeddings);
    return goingOn(run, new Trainer({ learner, loader: corpus.loader(options), options, group }));
  }
  const parts = checkpoint ? await checkpointParts(checkpoint.path) : await freshParts(run);
  const teacher = options.distillFrom === null ? null : await Teacher.load(options.distillFrom, parts);
  if (teacher && record.teacher !== undefined && teacher.digest !== record.teacher)
    throw new CheckpointError('resume', {
      received: `--distill-from ${options.distillFrom}, whose weights have changed since the run began`,
      expected: 'the same teacher',
      hint: 'Bring its weights back, or begin a new run.',
    });
  const { workers, maxBadShare, cache } = settings;
  const { path: _, ...data } = corpus.spec.train; // wherever it lies
  const reading = { maxBadShare, ...(workers !== null && { workers }) };
  const log = (text: string) => say(text, output);
  const tables = options.cacheEmbeddings
    ? await group.firstThenOthers(() =>
        lockedTables(parts, corpus.source, options, { cache, data, signal, output, log, ...reading }),
      )
    : {};
  if (!tables) return null;
  const learner = new PictureLearner({ ...parts, tables });
  return goingOn(run, new Trainer({ learner, loader: corpus.loader(options, tables.image), options, teacher, group }));
}

/** A trainer on the batches of a corpus. */
export type RunTrainer = Trainer<Learner, Loader>;

type Start = Pick<RunOptions, 'record' | 'corpus' | 'output' | 'checkpoint' | 'signal' | 'group'>;

/** A trainer, put where the checkpoint stands if there is one. */
function goingOn({ checkpoint, output }: Start, trainer: RunTrainer): RunTrainer {
  if (!checkpoint) return trainer;
  restoreTraining(checkpoint.path, trainer, checkpoint.facts);
  output.write(`Continuing at step ${trainer.position.step} of ${trainer.total}\n`);
  return trainer;
}

interface PictureParts {
  model: CloobModel;
  tokenizer: ClipTokenizer;
}

async function freshParts({ record: { options }, corpus, output }: Start): Promise<PictureParts> {
  const { model, tokenizer } = await startModel(options, corpus.source, (text) => output.write(`${text}\n`));
  output.write(
    `Model ${options.model}: ${(model.parameterCount() / 1e6).toFixed(2)} M parameters, ${tokenizer.vocabSize} tokens\n`,
  );
  const note = await cutNote({ model, tokenizer }, corpus.source, options.seed);
  if (note) output.write(`${note}\n`);
  return { model, tokenizer };
}

async function checkpointParts(path: string): Promise<PictureParts> {
  const { model, tokenizer } = await loadCheckpoint(weightsOf(path));
  if (tokenizer) return { model, tokenizer };
  throw new CheckpointError('resume', {
    received: `${weightsOf(path)} without a tokenizer`,
    expected: 'one of a run',
  });
}

/** What watches a training. */
interface Watch {
  validator: Validator | null;
  events: EventFile | null;
}

/** Validates the last weights, unless that has been done, and evaluates. */
async function evaluate(
  { record: { method }, corpus, folder, output }: RunOptions,
  trainer: Trainer<Learner>,
  { validator, events }: Watch,
): Promise<Evaluation | null> {
  const { step } = trainer.position;
  if (validator?.isDue(trainer)) {
    const { data } = validator;
    const body = ({ update }: Progress) =>
      withFiniteWeights(trainer, () => validator.run(trainer, (done) => update(done)));
    const row = await withProgress('Evaluating', data.size || undefined, body, { output });
    events?.add(step, validationScalars(row));
    say(`Validation at the end, step ${step}: ${scoresText(row)}`, output);
  }
  const evaluation = await trainer.withWeights(() =>
    corpus.evaluate(trainer.learner, method, validator?.at(step) ?? null),
  );
  const best = validator?.bestFacts;
  if (evaluation)
    folder.writeJson(resultsFile, {
      method,
      steps: step,
      ...(best && { best }),
      ...(evaluation.results as object),
    });
  return evaluation;
}

/** Measures held-out pairs into held-out.json. All else is saved by then: what cannot be measured fails no training. */
async function writeFigures({ record, corpus, folder, output }: RunOptions, trainer: Trainer<Learner>): Promise<void> {
  const { workers, maxBadShare } = record.settings;
  const { learner } = trainer;
  if (corpus.heldOut.length === 0 || !(learner instanceof PictureLearner)) return;
  try {
    await trainer.withWeights(() =>
      writeHeldOut(folder, learner, corpus.heldOut, {
        beta: record.options.scaleHopfield,
        step: trainer.position.step,
        data: (corpus.spec.val ?? corpus.spec.train).path,
        ...(workers !== null && { workers }),
        ...{ maxBadShare, output, ranks: trainer.group },
      }),
    );
  } catch (error) {
    if (!(error instanceof HopgradError)) throw error;
    say(`No figures of held-out pairs: ${error.message}`, output);
  }
}

/** What a run still has to do. */
export function workLeft(
  { corpus }: Pick<RunOptions, 'corpus'>,
  trainer: Trainer<Learner>,
  validator: Validator | null,
): Work {
  const validations = validator ? validator.remaining(trainer) * validator.data.cost : 0;
  return {
    steps: trainer.total - trainer.position.step,
    pictures: validations + corpus.evaluationSize(validator !== null),
  };
}

/** @returns whether the training is complete, and whether because nothing got better */
async function loop(
  run: RunOptions,
  trainer: Trainer<Learner>,
  { validator, events }: Watch,
): Promise<{ complete: boolean; stoppedEarly: boolean }> {
  const { folder, output, signal } = run;
  const { saveFrequency, saveSteps, saveMinutes, logEveryNSteps: measureEvery, checkRanks } = run.record.settings;
  const { group } = trainer;
  const isAborted = () => group.any(signal?.aborted ?? false);
  const warnings = new Warnings(run.record.options);
  const speed = new Forecast();
  const processor = processorOf(deviceByName(trainer.model.logit_inv_tau.device));
  const early = new AbortController();
  let saved = performance.now();
  let skipped = 0; // in a row
  const saveNow = async () => {
    await save(run, trainer);
    saved = performance.now();
  };
  const train = async ({ update }: Progress) => {
    const validate = async () => {
      if (!isAborted() && validator?.isDue(trainer) && trainer.position.step < trainer.total) {
        trainer.averageStatistics();
        const note = (done: number) =>
          update(trainer.position.step, `validating: ${done}/${validator.data.size || '?'}`);
        const row = await withFiniteWeights(trainer, () => validator.run(trainer, note));
        speed.addValidation({ seconds: row.seconds, pictures: validator.data.cost });
        events?.add(row.step, validationScalars(row));
        say(`Validation after epoch ${row.epoch}, step ${row.step}: ${scoresText(row)}`, output);
      }
      if (validator?.outOfPatience) early.abort();
    };
    let latest = '';
    await validate(); // where a run was stopped between an epoch and its validation
    return trainer.run({
      signal: AbortSignal.any([early.signal, ...(signal ? [signal] : [])]),
      onStep: async (report) => {
        speed.add(report);
        const { total, vitals, ...entry } = report;
        const line = { ...entry, ...vitals };
        folder.log(line);
        const { step, ...numbers } = line;
        events?.add(step, scalarsOf('train', numbers));
        skipped = 0;
        for (const warning of warnings.after(report)) say(warning, output);
        latest = trainingNote(report, { speed, processor, left: speed.seconds(workLeft(run, trainer, validator)) });
        update(report.step, latest);
        if (checkRanks > 0 && report.step % checkRanks === 0) {
          trainer.averageStatistics();
          checkAgreement(trainer);
        }
        if (report.step === total) return; // saved anyway
        const late = saveMinutes > 0 && performance.now() - saved >= 60_000 * saveMinutes;
        if ((saveSteps > 0 && report.step % saveSteps === 0) || group.any(late)) await saveNow();
      },
      onPiece: (done, pieces) => update(trainer.position.step, `piece ${done}/${pieces}  ${latest}`.trimEnd()),
      measureEvery,
      onFault: async (fault) => {
        const skip = await keepFault(run, trainer, fault, skipped);
        skipped++;
        return skip;
      },
      onEpoch: async (done) => {
        await validate();
        if (saveFrequency > 0 && done % saveFrequency === 0) await saveNow();
      },
    });
  };
  const finished = await withProgress('Training', trainer.total, train, { output, done: trainer.position.step });
  const stoppedEarly = !finished && early.signal.aborted && !isAborted();
  return { complete: finished || stoppedEarly, stoppedEarly };
}

/** Steps in a row that are passed over before a training is given up. */
const mostSkipped = 10;

/**
 * Keeps the batch and the weights of a step that came to numbers that are not finite, to do it again.
 * @param skipped how many steps in a row were passed over before it
 * @returns whether to pass over it
 * @throws DomainError that says where they are
 */
async function keepFault(run: RunOptions, trainer: Trainer<Learner>, fault: Fault, skipped: number): Promise<boolean> {
  const { folder, record, output } = run;
  const { step, epoch, error } = fault;
  await writeFault(folder, trainer, fault);
  const kept = `Batch and weights are in ${folder.notFinite}.`;
  const goOn = skipped < mostSkipped - 1;
  if (record.settings.onNan === 'skip' && goOn) {
    folder.log({ step, epoch, skipped: error.received });
    say(`Skipped step ${step}: ${error.received}. ${kept}`, output);
    return true;
  }
  const { expected } = error;
  throw new DomainError('train', {
    received: goOn ? error.received : `${mostSkipped} steps in a row to skip, the last with ${error.received}`,
    ...(expected && { expected }),
    hint: `${kept} ${error.hint}${goOn ? ' --resume with --on-nan skip passes over such steps.' : ''}`,
    cause: error,
  });
}

function save({ folder, record }: RunOptions, trainer: Trainer<Learner>): Promise<void> {
  trainer.averageStatistics();
  checkAgreement(trainer);
  return withFiniteWeights(trainer, () =>
    writeCheckpoint(folder, trainer, { record, keep: record.settings.keepCheckpoints }),
  );
}

/** @throws DomainError when there are weights that are not finite: the checkpoints before stay as they are */
async function withFiniteWeights<T>(trainer: Trainer<Learner>, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const { step } = trainer.position;
    throw new DomainError('train', {
      received: `weights or moments that are not finite after step ${step}: ${error.received}`,
      expected: 'finite numbers to save',
      hint: 'Nothing was saved, earlier checkpoints stay. Lower --lr, lengthen --warmup, or limit gradients with --max-grad-norm 1.',
    });
  }
}
