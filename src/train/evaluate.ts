/** Evaluation of a model on the embedded data's held-out sets, beside chance and raw pixels. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import {
  type Features,
  neighbourCaptionScores,
  neighbourScores,
  pixelFeatures,
  ranksBothWays,
} from '../data/baselines.js';
import { keywordLine } from '../data/emoji.js';
import { type EmojiData, pixelsOf } from '../data/emoji-pairs.js';
import { type RetrievalMetrics, rankMetrics, retrievalMetrics } from '../evaluate/metrics.js';
import { classify, embedTexts, zeroShotClassifier } from '../evaluate/zero-shot.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';

/** Retrieval on one set with one kind of caption. */
export interface SetResult {
  set: string;
  title: string;
  captions: 'names' | 'keywords';
  count: number;
  /** Pictures and captions compared by their embeddings. */
  trained: RetrievalMetrics;
  /** The pictures alone, through the training pictures whose embeddings are nearest … */
  neighbours: RetrievalMetrics;
  /** … and the same by raw pixels. */
  pixels: RetrievalMetrics;
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

const prompts = ['{}', 'a drawing of {}'];

/**
 * Embeddings of normalised pixels as the image encoder gives them, [count, dim]. Evaluation mode is the caller's.
 * @param pixels [count, 3, size, size], row-major
 */
export function embedPixels(model: CloobModel, pixels: Float32Array, { batchSize = 128 } = {}): Tensor {
  const { image_resolution: size } = model.config;
  const { device } = model.logit_inv_tau;
  const length = 3 * size * size;
  const count = pixels.length / length;
  return noGrad(() =>
    scoped(() => {
      const parts: Tensor[] = [];
      for (let start = 0; start < count; start += batchSize) {
        const end = Math.min(count, start + batchSize);
        const data = pixels.slice(start * length, end * length);
        parts.push(scoped(() => model.encodeImage(tensor(data, { shape: [end - start, 3, size, size], device }))));
      }
      return concat(parts);
    }),
  );
}

/** The held-out sets of the data: their drawings and what they test. */
export function emojiSets({ split }: EmojiData): { set: string; title: string; rows: number[] }[] {
  return [
    { set: 'A', title: 'concepts trained on, in a style never seen', rows: split.testA },
    { set: 'B', title: 'concepts never trained on, in a style trained on', rows: split.testB },
    { set: 'C', title: 'concepts never trained on, in a style never seen', rows: split.testC },
  ];
}

/** Evaluates on A, B and C, with names and with keyword lines, and by zero-shot classification into the names. */
export async function evaluateEmoji(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  data: EmojiData,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<EmojiResults> {
  const wasTraining = model.training;
  model.eval();
  const results: EmojiResults = { retrieval: [], zeroShot: [] };
  const sets = emojiSets(data);
  const embeddings = embeddingFeatures(model, data);
  let done = 0;
  const tick = () => onProgress(++done, sets.length * 3);
  for (const { set, title, rows } of sets) {
    const concepts = rows.map((row) => data.concepts[data.drawings[row]!.concept]!);
    const images = embedPixels(model, pixelsOf(data, rows));
    const count = rows.length;
    for (const captions of ['names', 'keywords'] as const) {
      const texts = concepts.map((concept) => (captions === 'names' ? concept.name : keywordLine(concept)));
      const embedded = embedTexts(model, tokenizer, texts);
      const trained = await retrievalMetrics(images, embedded);
      embedded.dispose();
      const neighbours = await neighbourMetrics(embeddings.features, data, set, rows, texts);
      const pixels = await neighbourMetrics(pixelFeatures(data.images), data, set, rows, texts);
      results.retrieval.push({ set, title, captions, count, trained, neighbours, pixels });
      tick();
    }
    const classNames = concepts.map(({ name }) => name);
    const classifier = zeroShotClassifier(model, tokenizer, { classNames, templates: prompts });
    const { accuracy } = await classify(images, classifier, Int32Array.from(rows.keys()));
    results.zeroShot.push({ set, title, classes: count, accuracy });
    classifier.dispose();
    images.dispose();
    tick();
  }
  embeddings.dispose();
  if (wasTraining) model.train();
  return results;
}

/** Embeddings of all training and test pictures, computed once. */
function embeddingFeatures(model: CloobModel, data: EmojiData): { features: Features; dispose(): void } {
  const { train, testA, testB, testC } = data.split;
  const rows = [...new Set([...train, ...testA, ...testB, ...testC])];
  const place = new Map(rows.map((row, i) => [row, i]));
  const all = noGrad(() => scoped(() => embedPixels(model, pixelsOf(data, rows)).l2Normalize()));
  const { device } = all;
  return {
    features: (wanted) =>
      all.gather(
        tensor(
          Int32Array.from(wanted, (row) => place.get(row)!),
          { device },
        ),
      ),
    dispose: () => all.dispose(),
  };
}

/** Without a text encoder: the nearest training picture where its concept was trained on, else its neighbours' words. */
async function neighbourMetrics(
  features: Features,
  data: EmojiData,
  set: string,
  rows: readonly number[],
  texts: readonly string[],
): Promise<RetrievalMetrics> {
  const { split, drawings, concepts } = data;
  const conceptOf = (row: number) => drawings[row]!.concept;
  const allWords = (row: number) => {
    const { name, keywords } = concepts[conceptOf(row)]!;
    return `${name} ${keywords.join(' ')}`;
  };
  const scores = await (set === 'A'
    ? neighbourScores(features, split.train, rows, conceptOf)
    : neighbourCaptionScores(features, split.train, rows, allWords, texts));
  const { forward, backward } = ranksBothWays(scores);
  return { imageToText: rankMetrics(forward), textToImage: rankMetrics(backward) };
}
