/** The data of a run: what it trains on, and an evaluation that ends in text and numbers. */
import { tensor } from '../autograd/create.js';
import { noGrad } from '../autograd/graph.js';
import { Loader, type LoaderOptions } from '../data/loader.js';
import { type DataRequest, type DataSpec, type OpenedData, openData } from '../data/open.js';
import { checkCaptions, requireCaptions, type Source } from '../data/source.js';
import { chanceOfPairs, retrievalMetrics } from '../evaluate/metrics.js';
import { distinct } from '../evaluate/ranks.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import type { Preprocessing } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { type EmbedOptions, embedSource } from './embed-source.js';
import { evaluateEmoji, evaluationSteps } from './evaluate.js';
import { type Output, withProgress } from './progress.js';
import { emojiTables, pairTable } from './report.js';

export interface Evaluation {
  /** For results.json. */
  results: unknown;
  /** For people. */
  text: string;
}

/** The data that a run asks for. `val`: pairs to evaluate on; the emoji have test sets of their own. */
export interface CorpusRequest {
  train: DataRequest & Partial<DataSpec>;
  val: (DataRequest & Partial<DataSpec>) | null;
}

/** The data that a run had: what {@link openCorpus} opens again, checking that it is the same. */
export interface CorpusSpec {
  train: DataSpec;
  val: DataSpec | null;
}

export interface Corpus {
  /** One line about the data. */
  description: string;
  spec: CorpusSpec;
  /** What is trained on. */
  source: Source;
  /** Batches to train on. */
  loader(options: { batchSize: number; seed: number }): Loader;
  /** Evaluates; null when there is nothing to evaluate on. */
  evaluate(model: CloobModel, tokenizer: ClipTokenizer, label: string): Promise<Evaluation | null>;
}

export interface CorpusOptions extends Pick<LoaderOptions, 'workers' | 'maxBadShare' | 'log'> {
  /** Of the model that is trained. */
  preprocessing: Preprocessing;
  /** Where drawn emoji are kept. */
  cacheFolder?: string;
  output?: Output;
}

/**
 * Opens the data of a run, for the first time or again.
 * @throws DataError when it cannot be read, lacks captions, or is no longer what its spec says
 */
export async function openCorpus({ train, val }: CorpusRequest, options: CorpusOptions): Promise<Corpus> {
  const { preprocessing, output = process.stderr } = options;
  const { size } = preprocessing;
  const open = (request: CorpusRequest['train']) => openShown(request, { ...options, size, output });
  const [opened, evaluated] = [await open(train), val && (await open(val))];
  const { source } = opened;
  await requireCaptions(source);
  if (evaluated) await requireCaptions(evaluated.source);
  const loading = {
    ...(options.workers !== undefined && { workers: options.workers }),
    ...(options.maxBadShare !== undefined && { maxBadShare: options.maxBadShare }),
    ...(options.log && { log: options.log }),
  };
  const transform = { ...preprocessing, ...(source.view && { view: source.view }) };
  return {
    description: opened.description,
    spec: { train: opened.spec, val: evaluated?.spec ?? null },
    source,
    loader: (wanted) => new Loader(source, { ...wanted, ...loading, transform, train: true }),
    async evaluate(model, tokenizer, label) {
      if (evaluated) return evaluatePairs(model, tokenizer, evaluated.source, { label, output, ...loading });
      return opened.emoji ? evaluateOpened(model, tokenizer, opened, { label, output }) : null;
    },
  };
}

/** {@link openData}, with a bar while emoji are drawn. */
export async function openShown(
  request: DataRequest & Partial<DataSpec>,
  { size, cacheFolder, output = process.stderr }: { size: number; cacheFolder?: string; output?: Output },
): Promise<OpenedData & { description: string }> {
  const opened = await withProgress(
    'Drawing emoji',
    undefined, // nothing is drawn, and no bar shown, where the cache has them
    ({ update }) =>
      openData(request, {
        size,
        ...(cacheFolder !== undefined && { cacheFolder }),
        onProgress: (done, total) => update(done, '', total),
      }),
    { output },
  );
  return { ...opened, description: describe(opened, size) };
}

function describe({ source, emoji, spec }: OpenedData, size: number): string {
  if (!emoji) return `${source.name}, ${source.size ?? 'an unknown number of'} pairs at ${size}×${size}`;
  const { train, testA, testB, testC } = emoji.split;
  return (
    `embedded emoji, ${size}×${size}: ${train.length} drawings to train on; held out: ` +
    `A ${testA.length}, B ${testB.length}, C ${testC.length}${spec.validation ? ' (validation split)' : ''}`
  );
}

export interface EvaluationOptions extends EmbedOptions {
  /** Name of the method, for people. */
  label: string;
  /** Where the bar goes. */
  output?: Output;
}

/** Evaluates on what was opened: the test sets of the emoji, or the pairs themselves. */
export async function evaluateOpened(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  { source, emoji }: OpenedData,
  options: EvaluationOptions,
): Promise<Evaluation> {
  if (!emoji) return evaluatePairs(model, tokenizer, source, options);
  const { label, output = process.stderr } = options;
  const results = await withProgress(
    'Evaluating',
    evaluationSteps,
    ({ update }) => evaluateEmoji(model, tokenizer, emoji, (done) => update(done)),
    { output },
  );
  return { results, text: emojiTables(results, label) };
}

/**
 * Retrieval both ways among the pairs of a source. A picture that stands there several times, under one name or several, is
 * one picture, and any of its captions is right; likewise captions of the same words.
 * @throws DataError for pictures without captions
 */
export async function evaluatePairs(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  source: Source,
  { label, output = process.stderr, ...options }: EvaluationOptions,
): Promise<Evaluation> {
  const embedded = await withProgress(
    'Evaluating',
    source.size,
    ({ update }) => embedSource(model, source, { ...options, onProgress: (done) => update(done) }),
    { output },
  );
  const { features, captions, names, digests } = embedded;
  checkCaptions(captions, names);
  const [pictures, texts] = [distinct(digests), distinct(captions)];
  const images = noGrad(() => features.gather(tensor(Int32Array.from(pictures.firsts), { device: features.device })));
  const words = embedTexts(
    model,
    tokenizer,
    texts.firsts.map((row) => captions[row]!),
  );
  const pairs = names.map((_, row) => [pictures.of[row]!, texts.of[row]!] as const);
  const metrics = await retrievalMetrics(images, words, { pairs });
  for (const used of [features, images, words]) used.dispose();
  const results = { data: source.name, pairs: names.length, ...metrics, chance: chanceOfPairs(pairs) };
  return { results, text: pairTable(results, label) };
}
