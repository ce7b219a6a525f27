/** A training from beginning to end: tokenizer, model, loop, checkpoints, log, evaluation. */
import type { Loader } from '../data/loader.js';
import { type DataSpec, sameData } from '../data/open.js';
import { captionsOf, type Source } from '../data/source.js';
import { saveCheckpoint } from '../models/cloob/checkpoint.js';
import { type CloobConfig, resolveConfig } from '../models/cloob/config.js';
import { createModel } from '../models/cloob/model.js';
import { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { CheckpointError } from '../tensor/errors.js';
import type { Corpus, CorpusSpec, Evaluation } from './corpus.js';
import type { TrainOptions } from './options.js';
import { type Output, type Progress, Speedometer, trainingNote, withProgress } from './progress.js';
import type { RunFolder } from './run-folder.js';
import { readTrainingFacts, restoreTraining, saveTraining } from './state.js';
import { Trainer } from './trainer.js';

export interface RunOptions {
  options: TrainOptions;
  corpus: Corpus;
  folder: RunFolder;
  /** Name of the method, for people. */
  label: string;
  /** Training checkpoint to go on from; null: a fresh start. */
  resume: string | null;
  /** Epochs between checkpoints; 0: only at the end. */
  saveFrequency: number;
  /** Further facts for manifest.json: device, versions. */
  environment: Record<string, unknown>;
  output: Output;
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
}

/** Tokens of CLIP's published vocabulary. */
const officialVocabulary = 49408;

/**
 * The tokenizer and sizes of a fresh model: the published vocabulary where the model has its size, else one trained on
 * the training captions.
 */
async function startTokenizer(
  { model, center, vocabSize }: TrainOptions,
  source: Source,
): Promise<[ClipTokenizer, CloobConfig]> {
  const config = { ...resolveConfig(model), center };
  const size = vocabSize ?? config.vocab_size;
  if (size === officialVocabulary) return [await ClipTokenizer.official(), config];
  const captions: string[] = [];
  for await (const caption of captionsOf(source)) captions.push(caption);
  return [ClipTokenizer.train(captions, { vocabSize: size }), { ...config, vocab_size: size }];
}

/**
 * Trains, or goes on training, and evaluates when complete. When stopped by the signal, a checkpoint is written and
 * nothing is evaluated.
 * @throws CheckpointError when the checkpoint to resume belongs to other data; what data and training throw
 */
export async function runTraining(run: RunOptions): Promise<RunResult> {
  const { options, corpus, folder, resume } = run;
  const loader = corpus.loader(options);
  try {
    const trainer = resume === null ? await freshTrainer(run, loader) : resumedTrainer(run, loader, resume);
    writeManifest(run, trainer);
    folder.rewindLog(trainer.position.step);
    const start = performance.now();
    const complete = await loop(run, trainer);
    const seconds = (performance.now() - start) / 1000;
    await save(run, trainer);
    if (complete) run.onTrained?.();
    const evaluation = complete ? await corpus.evaluate(trainer.model, trainer.tokenizer, run.label) : null;
    const { step } = trainer.position;
    if (evaluation)
      folder.writeJson('results.json', { method: run.label, steps: step, ...(evaluation.results as object) });
    return { complete, steps: step, seconds, evaluation };
  } finally {
    await loader.close();
  }
}

async function freshTrainer({ options, corpus, output }: RunOptions, loader: Loader): Promise<Trainer> {
  const [tokenizer, config] = await startTokenizer(options, corpus.source);
  const model = createModel(config, { seed: options.seed, initInvTau: options.initInvTau });
  output.write(
    `Model ${options.model}: ${(model.parameterCount() / 1e6).toFixed(2)} M parameters, ${tokenizer.vocabSize} tokens\n`,
  );
  return new Trainer({ model, tokenizer, loader, options });
}

function resumedTrainer({ options, corpus, output }: RunOptions, loader: Loader, path: string): Trainer {
  const { facts, tokenizer } = readTrainingFacts(path);
  const saved = facts.data as CorpusSpec;
  if (!sameData(saved.train, corpus.spec.train))
    throw new CheckpointError('resume', {
      received: `a run on ${describeData(saved.train)}, and now ${describeData(corpus.spec.train)}`,
      expected: 'the same data',
      hint: 'Give the data flags that the run began with.',
    });
  const model = createModel(facts.config, { seed: options.seed, initInvTau: options.initInvTau });
  const trainer = new Trainer({ model, tokenizer, loader, options });
  restoreTraining(path, trainer);
  output.write(`Continuing at step ${trainer.position.step} of ${trainer.total}\n`);
  return trainer;
}

const describeData = ({ path, rows, digest }: DataSpec) =>
  `${path} (${rows ?? 'some'} rows, digest ${digest.slice(0, 12)})`;

function writeManifest({ options, corpus, folder, environment, label, resume }: RunOptions, trainer: Trainer): void {
  const { config } = trainer.model;
  const manifest = { method: label, options, steps: trainer.total, data: corpus.spec, config, environment };
  folder.writeJson(resume === null ? 'manifest.json' : 'manifest-resumed.json', manifest);
}

async function loop(run: RunOptions, trainer: Trainer): Promise<boolean> {
  const { folder, output, saveFrequency, signal } = run;
  const speed = new Speedometer();
  const train = ({ update }: Progress) =>
    trainer.run({
      ...(signal && { signal }),
      onStep: (report) => {
        speed.add(report);
        const { total, ...entry } = report;
        folder.log(entry);
        update(report.step, trainingNote(report, speed));
      },
      onEpoch: async (done) => {
        if (saveFrequency > 0 && done % saveFrequency === 0) await save(run, trainer);
      },
    });
  return withProgress('Training', trainer.total, train, { output, done: trainer.position.step });
}

/** Weights for everyone, and the whole state for --resume. */
async function save({ folder, label, corpus }: RunOptions, trainer: Trainer): Promise<void> {
  const { model, tokenizer, position } = trainer;
  await saveTraining(folder.training, trainer, corpus.spec);
  await saveCheckpoint(folder.model, { model, tokenizer, metadata: { method: label, step: String(position.step) } });
}
