/** Evaluation of a model on the embedded data's held-out sets, beside chance, raw pixels and histograms of gradients. */

import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { keywordLine } from '../data/emoji.js';
import { type EmojiData, emojiSource } from '../data/emoji-source.js';
import type { Group } from '../distributed/group.js';
import { hogFeatures } from '../evaluate/hog.js';
import { retrievedEmbeddings } from '../evaluate/memory.js';
import { type RetrievalMetrics, rankMetrics, retrievalMetrics } from '../evaluate/metrics.js';
import { neighbourCaptionScores, neighbourScores, pixelFeatures, ranksBothWays } from '../evaluate/neighbours.js';
import { classify, zeroShotClassifier } from '../evaluate/zero-shot.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { embedSource, embedTextsOn } from './embed-source.js';
import type { EmbeddedSet } from './validate.js';

/** Retrieval on one set with one kind of caption. */
export interface SetResult {
  set: string;
  title: string;
  captions: 'names' | 'keywords';
  count: number;
  /** Pictures and captions compared by their embeddings … */
  trained: RetrievalMetrics;
  /** … and as the training pairs answer them ({@link retrievedEmbeddings}). */
  retrieved: RetrievalMetrics;
  /** The pictures alone, through the training pictures whose embeddings are nearest … */
  neighbours: RetrievalMetrics;
  /** … the same by raw pixels … */
  pixels: RetrievalMetrics;
  /** … and by histograms of oriented gradients. */
  hog: RetrievalMetrics;
}

export interface ZeroShotResult {
  set: string;
  title: string;
  classes: number;
  /** Top-k accuracy with the prompts below averaged. */
  accuracy: Record<number, number>;
}

export interface EmojiResults {
  retrieval: SetResult[];
  zeroShot: ZeroShotResult[];
}

/**
 * β of the memory of all training pairs, found on the validation split of the emoji. It stores fifty times as many pairs as a batch of the training,
 * which is asked with 8.
 */
export const memoryBeta = 16;

/** What a class is called in zero-shot classification. */
export const prompts = ['{}', 'a drawing of {}'];

/** The held-out sets of the data: their drawings and what they test. */
export function emojiSets({ split, titles }: EmojiData): { set: string; title: string; rows: number[] }[] {
  const sets = { A: split.testA, B: split.testB, C: split.testC, D: split.testD ?? [] };
  return Object.entries(sets).flatMap(([set, rows]) => (rows.length > 0 ? [{ set, title: titles[set]!, rows }] : []));
}

/** Steps that {@link evaluateEmoji} tells of. */
export const evaluationSteps = (data: EmojiData) => 1 + 4 * emojiSets(data).length;

interface Work {
  /** Called with what is done. */
  onProgress?: ((done: number) => void) | undefined;
  /** Those among whom pictures and texts are divided. */
  ranks?: Group | undefined;
}

/**
 * Evaluates on the held-out sets, with names and with keyword lines, and by zero-shot classification into the names.
 * @param onProgress called {@link evaluationSteps} times; @param ranks divide the embedding
 */
export async function evaluateEmoji(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  data: EmojiData,
  { onProgress = () => {}, ranks }: Work = {},
): Promise<EmojiResults> {
  const wasTraining = model.training;
  const results: EmojiResults = { retrieval: [], zeroShot: [] };
  let done = 0;
  const tick = () => onProgress(++done);
  const known = await allFeatures(model, data, data.split.train, ranks);
  const memory = { images: known.embedding, texts: namesOf(model, tokenizer, data, ranks), beta: memoryBeta };
  const answered = (embeddings: Tensor) => retrievedEmbeddings(embeddings, memory);
  tick();
  for (const { set, title, rows } of emojiSets(data)) {
    const concepts = rows.map((row) => data.concepts[data.drawings[row]!.concept]!);
    const own = await allFeatures(model, data, rows, ranks);
    const ownAnswers = answered(own.embedding);
    tick();
    const count = rows.length;
    for (const captions of ['names', 'keywords'] as const) {
      const texts = concepts.map((concept) => (captions === 'names' ? concept.name : keywordLine(concept)));
      const embedded = unitTexts(ranks, model, tokenizer, texts);
      const answers = answered(embedded);
      const trained = await retrievalMetrics(own.embedding, embedded);
      const retrieved = await retrievalMetrics(ownAnswers, answers);
      for (const used of [embedded, answers]) used.dispose();
      const by = (kind: keyof Features) =>
        neighbourMetrics(
          data,
          set,
          { features: known[kind], rows: data.split.train },
          { features: own[kind], rows },
          texts,
        );
      const [neighbours, pixels, hog] = [await by('embedding'), await by('pixels'), await by('hog')];
      results.retrieval.push({ set, title, captions, count, trained, retrieved, neighbours, pixels, hog });
      tick();
    }
    const classNames = concepts.map(({ name }) => name);
    const classifier = zeroShotClassifier(model, tokenizer, { classNames, templates: prompts });
    const { accuracy } = await classify(own.embedding, classifier, [...rows.keys()], { classNames });
    results.zeroShot.push({ set, title, classes: count, accuracy });
    for (const used of [classifier, ownAnswers, ...Object.values(own)]) used.dispose();
    tick();
  }
  for (const used of [memory.texts, ...Object.values(known)]) used.dispose();
  if (wasTraining) model.train();
  return results;
}

const unitTexts = (...of: Parameters<typeof embedTextsOn>) =>
  noGrad(() => scoped(() => embedTextsOn(...of).l2Normalize()));

/** Names of the training drawings, [drawings, dim], unit: each concept's is embedded once. */
function namesOf(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  { concepts, drawings, split }: EmojiData,
  ranks: Group | undefined,
): Tensor {
  const rows = split.train.map((row) => drawings[row]!.concept);
  const distinct = [...new Set(rows)];
  const at = new Map(distinct.map((concept, i) => [concept, i]));
  const names = unitTexts(
    ...[ranks, model, tokenizer],
    distinct.map((concept) => concepts[concept]!.name),
  );
  const index = tensor(
    Int32Array.from(rows, (concept) => at.get(concept)!),
    { dtype: 'int32', device: names.device },
  );
  return noGrad(() => scoped(() => names.gather(index)));
}

/** The held-out sets with their names as captions, embedded one after the other. @param onProgress told pictures that are done */
export async function* embedEmojiSets(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  data: EmojiData,
  { onProgress = () => {}, ranks }: Work = {},
): AsyncGenerator<EmbeddedSet> {
  let before = 0;
  for (const { set, rows } of emojiSets(data)) {
    const source = emojiSource(data, rows, 'names');
    const { features, captions } = await embedSource(model, source, {
      batchSize: 128,
      ...(ranks && { ranks }),
      onProgress: (done) => onProgress(before + done),
    });
    before += rows.length;
    const classifier = zeroShotClassifier(model, tokenizer, { classNames: captions, templates: prompts });
    const { accuracy } = await classify(features, classifier, [...rows.keys()], { classNames: captions });
    classifier.dispose();
    const pairs = captions.map((_, i) => [i, i] as const);
    const classified = { pictures: rows.length, classes: rows.length };
    yield {
      set,
      images: features,
      texts: embedTextsOn(ranks, model, tokenizer, captions),
      pairs,
      zeroShot: accuracy,
      classified,
    };
  }
}

/** What pictures are compared by: unit vectors, a row each. */
type Features = {
  /** Of the image encoder. */
  embedding: Tensor;
  /** Centred pixels, [rows, 3 · size²]. */
  pixels: Tensor;
  /** Histograms of oriented gradients. */
  hog: Tensor;
};

async function allFeatures(
  model: CloobModel,
  data: EmojiData,
  rows: readonly number[],
  ranks: Group | undefined,
): Promise<Features> {
  const source = emojiSource(data, rows, 'names');
  const { features } = await embedSource(model, source, { batchSize: 128, ...(ranks && { ranks }) });
  const embedding = noGrad(() => features.l2Normalize());
  features.dispose();
  const pixels = drawingBytes(data, rows);
  return {
    embedding,
    pixels: pixelFeatures(pixels, rows.length),
    hog: hogFeatures(pixels, rows.length, data.images.size),
  };
}

/** Pixels of some drawings, [rows, size, size, 3]. */
export function drawingBytes({ images }: Pick<EmojiData, 'images'>, rows: readonly number[]): Uint8Array {
  const length = 3 * images.size ** 2;
  const pixels = new Uint8Array(rows.length * length);
  rows.forEach((row, i) => {
    pixels.set(images.data.subarray(row * length, (row + 1) * length), i * length);
  });
  return pixels;
}

interface Rows {
  features: Tensor;
  rows: readonly number[];
}

/** Without a text encoder: the nearest training picture where its concept was trained on, else its neighbours' words. */
export async function neighbourMetrics(
  { drawings, concepts }: EmojiData,
  set: string,
  known: Rows,
  queries: Rows,
  texts: readonly string[],
): Promise<RetrievalMetrics> {
  const conceptOf = (row: number) => drawings[row]!.concept;
  const allWords = (row: number) => {
    const { name, keywords } = concepts[conceptOf(row)]!;
    return `${name} ${keywords.join(' ')}`;
  };
  const withConcepts = ({ features, rows }: Rows) => ({ features, about: rows.map(conceptOf) });
  const scores =
    set === 'A'
      ? await neighbourScores(withConcepts(known), withConcepts(queries))
      : await neighbourCaptionScores(
          { features: known.features, about: known.rows.map(allWords) },
          { features: queries.features, about: texts },
        );
  const { forward, backward } = ranksBothWays(scores);
  return { imageToText: rankMetrics(forward), textToImage: rankMetrics(backward) };
}
