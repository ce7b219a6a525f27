/** Evaluation of a model on the embedded data's held-out sets, beside chance and raw pixels. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/slicing.js';
import type { Tensor } from '../autograd/tensor.js';
import { pixelCaptionScores, pixelNeighbourScores, ranksBothWays } from '../data/baselines.js';
import { keywordLine } from '../data/emoji.js';
import { type EmojiData, pixelsOf } from '../data/emoji-pairs.js';
import { type RetrievalMetrics, rankMetrics, retrievalMetrics } from '../models/cloob/metrics.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { classify, embedTexts, zeroShotClassifier } from '../models/cloob/zero-shot.js';

/** Retrieval on one set with one kind of caption. */
export interface SetResult {
  set: string;
  title: string;
  captions: 'names' | 'keywords';
  count: number;
  trained: RetrievalMetrics;
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
      results.retrieval.push({ set, title, captions, count, trained, pixels: pixelMetrics(data, set, rows, texts) });
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
  if (wasTraining) model.train();
  return results;
}

/** The same by raw pixels: nearest training picture where its concept was trained on, else its neighbours' words. */
function pixelMetrics(
  data: EmojiData,
  set: string,
  rows: readonly number[],
  texts: readonly string[],
): RetrievalMetrics {
  const { images, split, drawings, concepts } = data;
  const conceptOf = (row: number) => drawings[row]!.concept;
  const allWords = (row: number) => {
    const { name, keywords } = concepts[conceptOf(row)]!;
    return `${name} ${keywords.join(' ')}`;
  };
  const scores =
    set === 'A'
      ? pixelNeighbourScores(images, split.train, rows, conceptOf)
      : pixelCaptionScores(images, split.train, rows, allWords, texts);
  const { forward, backward } = ranksBothWays(scores);
  return { imageToText: rankMetrics(forward), textToImage: rankMetrics(backward) };
}
