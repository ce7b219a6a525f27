/** The data of a run: what it trains on, and an evaluation that ends in text and numbers. */
import { tensor } from '../autograd/create.js';
import { noGrad } from '../autograd/graph.js';
import type { EmbeddingPairs, EmbeddingTable } from '../data/embeddings.js';
import { type EmojiData, emojiSource } from '../data/emoji-source.js';
import { Loader, type LoaderOptions } from '../data/loader.js';
import { type DataRequest, type DataSpec, type OpenedData, openData } from '../data/open.js';
import { checkCaptions, requireCaptions, type Source } from '../data/source.js';
import type { Group } from '../distributed/group.js';
import { chanceOfPairs, retrievalMetrics } from '../evaluate/metrics.js';
import { distinct } from '../evaluate/ranks.js';
import { classify, zeroShotClassifier } from '../evaluate/zero-shot.js';
import type { Preprocessing } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { DataError, UsageError } from '../tensor/errors.js';
import { type EmbedOptions, embedSource, embedTextsOn } from './embed-source.js';
import { embedEmojiSets, emojiSets, evaluateEmoji, evaluationSteps, prompts } from './evaluate.js';
import type { HeldOutSource } from './held-out.js';
import { type Learner, PictureLearner } from './learner.js';
import { type Output, withProgress } from './progress.js';
import { emojiTables, type PairResults, pairTable } from './report.js';
import { embeddedRows } from './tower-cache.js';
import { type EmbeddedSet, type LossOptions, scoreSets, type Validation } from './validate.js';

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
  /** Pictures with classes, for zero-shot classification in every validation. */
  zeroShot?: (DataRequest & Partial<DataSpec>) | null;
}

/** The data that a run had: what {@link openCorpus} opens again, checking that it is the same. */
export interface CorpusSpec {
  train: DataSpec;
  val: DataSpec | null;
  zeroShot?: DataSpec | null;
}

export interface Corpus {
  /** One line about the data. */
  description: string;
  spec: CorpusSpec;
  /** What is trained on. */
  source: Source;
  /** Its embeddings, where these were given instead of pictures and words. */
  embeddings?: EmbeddingPairs;
  /** Batches to train on. @param images vectors of its pictures, which are not read then: rows without one are bad */
  loader(options: { batchSize: number; seed: number }, images?: EmbeddingTable): Loader;
  /**
   * Evaluates; null when there is nothing to evaluate on.
   * @param validation of the same weights: pairs that were embedded for it are not embedded again
   */
  evaluate(learner: Learner, label: string, validation: Validation | null): Promise<Evaluation | null>;
  /** Pictures that an evaluation embeds, as far as is known; @param validated when there is a validation of the same weights */
  evaluationSize(validated: boolean): number;
  /** Data to choose by during training; null where there are none: test sets are not for choosing. */
  validation: ValidationData | null;
  /** Pairs that are not trained on, to look at more closely; none where there are none. */
  heldOut: HeldOutSource[];
}

/** Pairs that a training is watched by. */
export interface ValidationData {
  /** Pictures, as far as is known. */
  size: number;
  /** What a validation takes, in pictures that are embedded with their caption. */
  cost: number;
  /** Whether its pictures have classes. */
  hasClasses: boolean;
  /** Scores a model, which is left in evaluation mode. @param onProgress pictures that are done */
  validate(learner: Learner, options: LossOptions & { onProgress?: (done: number) => void }): Promise<Validation>;
}

export interface CorpusOptions extends Pick<LoaderOptions, 'workers' | 'maxBadShare' | 'log'> {
  /** Of the model that is trained. */
  preprocessing: Preprocessing;
  /** Where drawn emoji are kept. */
  cacheFolder?: string;
  output?: Output;
  /** Those among whom batches and embedding are divided. Default: this process does all. */
  ranks?: Group;
}

/**
 * Opens the data of a run, for the first time or again.
 * @throws DataError when it cannot be read, lacks captions, or is no longer what its spec says
 */
export async function openCorpus({ train, val, zeroShot }: CorpusRequest, options: CorpusOptions): Promise<Corpus> {
  const { preprocessing, output = process.stderr } = options;
  const { size, background } = preprocessing;
  const open = (request: CorpusRequest['train']) => openShown(request, { ...options, size, background, output });
  const [opened, evaluated] = [await open(train), val && (await open(val))];
  const { source } = opened;
  await requireCaptions(source);
  const classes = zeroShot ? await open({ ...zeroShot, classes: true, split: 't10k' }) : null;
  if (classes && !classes.source.classNames)
    throw new DataError('train', {
      received: `${classes.source.name} without names of classes`,
      expected: 'a folder with a subfolder a class, or a labelled set such as mnist, for zero-shot classification',
    });
  if (evaluated) await requireCaptions(evaluated.source);
  const loading = {
    ...(options.workers !== undefined && { workers: options.workers }),
    ...(options.maxBadShare !== undefined && { maxBadShare: options.maxBadShare }),
    ...(options.log && { log: options.log }),
    ...(options.ranks && { ranks: options.ranks }),
  };
  const transform = { ...preprocessing, ...(source.view && { view: source.view }) };
  const judged = evaluated ?? (opened.emoji ? opened : null);
  const drawn = judged?.emoji ?? null; // with sets of its own
  const pairs = drawn ? null : judged;
  return {
    description: opened.description,
    spec: { train: opened.spec, val: evaluated?.spec ?? null, ...(classes && { zeroShot: classes.spec }) },
    source,
    loader: ({ batchSize, seed }, images) =>
      new Loader(images ? embeddedRows(source, images) : source, {
        ...{ batchSize, seed, ...loading, transform, train: true },
        ...(images && { pictures: false }),
      }),
    async evaluate(learner, label, validation) {
      const { model, tokenizer } = picturesOf(learner);
      if (pairs && validation) return pairEvaluation(validation.sets[0]!, label);
      return judged ? evaluateOpened(model, tokenizer, judged, { label, output, ...loading }) : null;
    },
    evaluationSize(validated) {
      if (pairs) return validated ? 0 : (pairs.source.size ?? 0);
      return drawn?.drawings.length ?? 0;
    },
    validation: pairs
      ? pairValidation(pairs.source, classes?.source, loading)
      : drawn && (evaluated || opened.spec.validation)
        ? emojiValidation(drawn, options.ranks)
        : null, // the test sets have no part in training, unless they were given for it
    heldOut: judged ? heldOutOf(judged) : [],
  };
}

/** What looks at pictures is opened for a model that does. @throws UsageError for heads */
function picturesOf(learner: Learner): PictureLearner {
  if (learner instanceof PictureLearner) return learner;
  throw new UsageError('train', { received: 'pictures for heads on embeddings', expected: 'embeddings' });
}

/** What of data to evaluate on is held out: the test sets of the emoji by their names, or the pairs themselves. */
export function heldOutOf({ source, emoji }: OpenedData): HeldOutSource[] {
  if (!emoji) return [{ set: source.name, source }];
  return emojiSets(emoji).map(({ rows, ...own }) => ({
    ...own,
    source: emojiSource(emoji, rows, 'names'),
  }));
}

/** Pairs, and pictures with classes if there are any. */
function pairValidation(source: Source, classes: Source | undefined, loading: EmbedOptions): ValidationData {
  const size = (source.size ?? 0) + (classes?.size ?? 0);
  return {
    size,
    cost: size,
    hasClasses: classes !== undefined,
    validate(learner, { onProgress = () => {}, ...options }) {
      const { model, tokenizer } = picturesOf(learner);
      const embed = async function* (): AsyncGenerator<EmbeddedSet> {
        const embedded = await embedPairs(model, tokenizer, source, { ...loading, onProgress });
        const classified = { ...loading, onProgress: (done: number) => onProgress((source.size ?? 0) + done) };
        const zeroShot = classes && (await accuracyOn(model, tokenizer, classes, classified));
        yield { set: source.name, ...embedded, ...zeroShot };
      };
      return scoreSets(embed(), options);
    },
  };
}

/** Zero-shot classification of pictures whose classes have names. */
async function accuracyOn(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  source: Source,
  options: EmbedOptions,
): Promise<Required<Pick<EmbeddedSet, 'zeroShot' | 'classified'>>> {
  const { features, labels } = await embedSource(model, source, options);
  const classNames = source.classNames!;
  const classifier = zeroShotClassifier(model, tokenizer, { classNames, templates: prompts });
  const { accuracy } = await classify(features, classifier, labels, { classNames });
  for (const used of [features, classifier]) used.dispose();
  return { zeroShot: accuracy, classified: { pictures: labels.length, classes: classNames.length } };
}

/** The held-out sets of drawn data: of the validation split, or the test sets. */
function emojiValidation(emoji: EmojiData, ranks: Group | undefined): ValidationData {
  const size = emojiSets(emoji).reduce((sum, { rows }) => sum + rows.length, 0);
  return {
    size,
    cost: 2 * size, // each picture is a class with prompts of its own
    hasClasses: true,
    validate(learner, { onProgress, ...options }) {
      const { model, tokenizer } = picturesOf(learner);
      return scoreSets(embedEmojiSets(model, tokenizer, emoji, { onProgress, ranks }), options);
    },
  };
}

/** {@link openData}, with a bar while emoji are drawn. */
export async function openShown(
  request: DataRequest & Partial<DataSpec>,
  {
    size,
    background,
    cacheFolder,
    output = process.stderr,
  }: Pick<Preprocessing, 'size'> & Partial<Preprocessing> & { cacheFolder?: string; output?: Output },
): Promise<OpenedData & { description: string }> {
  const opened = await withProgress(
    'Drawing',
    undefined, // nothing is drawn, and no bar shown, where the cache has them
    ({ update }) =>
      openData(request, {
        size,
        background,
        ...(cacheFolder !== undefined && { cacheFolder }),
        onProgress: (done, total) => update(done, '', total),
      }),
    { output },
  );
  return { ...opened, description: describe(opened, size) };
}

function describe({ source, emoji, spec }: OpenedData, size: number): string {
  if (!emoji) return `${source.name}, ${source.size ?? 'an unknown number of'} pairs at ${size}×${size}`;
  const sets = emojiSets(emoji).map(({ set, rows }) => `${set} ${rows.length}`);
  const { train } = emoji.split;
  return (
    `${emoji.name}, ${size}×${size}: ${train.length} drawings to train on; held out: ` +
    `${sets.join(', ')}${spec.validation ? ' (validation split)' : ''}`
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
  const { label, output = process.stderr, ranks } = options;
  const results = await withProgress(
    'Evaluating',
    evaluationSteps(emoji),
    ({ update }) => evaluateEmoji(model, tokenizer, emoji, { onProgress: (done) => update(done), ranks }),
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
  const { images, texts, pairs } = await withProgress(
    'Evaluating',
    source.size,
    ({ update }) => embedPairs(model, tokenizer, source, { ...options, onProgress: (done) => update(done) }),
    { output },
  );
  const metrics = await retrievalMetrics(images, texts, { pairs });
  for (const used of [images, texts]) used.dispose();
  return pairEvaluation({ set: source.name, pairs: pairs.length, ...metrics, chance: chanceOfPairs(pairs) }, label);
}

/** Retrieval among pairs, as a run keeps it and as people read it. */
export function pairEvaluation(
  { set, pairs, imageToText, textToImage, chance }: PairResults & { set: string },
  label: string,
): Evaluation {
  const results = { data: set, pairs, imageToText, textToImage, chance };
  return { results, text: pairTable(results, label) };
}

/** Embeds every picture and every caption of a source once. @throws DataError for pictures without captions */
async function embedPairs(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  source: Source,
  options: EmbedOptions,
): Promise<Omit<EmbeddedSet, 'set'>> {
  const { features, captions, names, digests } = await embedSource(model, source, options);
  checkCaptions(captions, names);
  const [pictures, texts] = [distinct(digests), distinct(captions)];
  const images = noGrad(() => features.gather(tensor(Int32Array.from(pictures.firsts), { device: features.device })));
  features.dispose();
  return {
    images,
    texts: embedTextsOn(
      options.ranks,
      model,
      tokenizer,
      texts.firsts.map((row) => captions[row]!),
    ),
    pairs: names.map((_, row) => [pictures.of[row]!, texts.of[row]!] as const),
  };
}
