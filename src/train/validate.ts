/**
 * Validation: what a model in training does on data that it is not trained on, as a few numbers that can be compared from
 * epoch to epoch. It draws nothing from the training's random numbers and leaves the model as it was: a training with
 * validation comes to the same bits as one without.
 */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { chanceOfPairs, type RetrievalMetrics, retrievalMetrics } from '../evaluate/metrics.js';
import { Random } from '../tensor/random.js';
import { scalarsOf } from './tensorboard.js';

/** What is known of a set of pairs once it is embedded. */
export interface EmbeddedSet {
  set: string;
  /** [pictures, dim] and [texts, dim], as the encoders give them. */
  images: Tensor;
  texts: Tensor;
  /** Which picture and which text belong together. */
  pairs: readonly (readonly [image: number, text: number])[];
  /** Top-k accuracy of zero-shot classification, where there are classes. */
  zeroShot?: Record<number, number>;
  /** How many pictures were classified, into how many classes. */
  classified?: { pictures: number; classes: number };
}

/** How one set of pairs was answered. */
export interface SetScores extends RetrievalMetrics {
  set: string;
  pairs: number;
  /** Recall of a random order, by k. */
  chance: Record<'imageToText' | 'textToImage', Record<number, number>>;
  /** Mean loss; null where there are too few pairs for one. */
  loss: number | null;
  /** Top-k accuracy; null without classes. */
  zeroShot: Record<number, number> | null;
  classified: { pictures: number; classes: number } | null;
}

/** A validation in a few numbers, each the mean over the sets; null where it is not to be had. */
export interface Scores {
  loss: number | null;
  /** Mean of recall at 1, 5 and 10, both ways, in [0, 1]. */
  meanRecall: number;
  /** Mean of recall at 1 both ways, in [0, 1]. */
  recallAt1: number;
  /** Top-1 accuracy of zero-shot classification. */
  zeroShot: number | null;
}

export interface Validation extends Scores {
  sets: SetScores[];
}

/** The names by which `--best-metric` asks for a number. */
export const metricNames = ['mean-recall', 'recall@1', 'loss', 'zero-shot'] as const;
export type MetricName = (typeof metricNames)[number];
export const metricKeys: Record<MetricName, keyof Scores> = {
  'mean-recall': 'meanRecall',
  'recall@1': 'recallAt1',
  loss: 'loss',
  'zero-shot': 'zeroShot',
};

export interface LossOptions {
  /** The loss of a batch of unit embeddings, [batch, dim] twice. */
  loss(images: Tensor, texts: Tensor): Tensor;
  /** Pairs that are compared with each other: a contrastive loss depends on it. */
  batchSize: number;
}

/** Scores of embedded sets. Their tensors are disposed of. */
export async function scoreSets(sets: AsyncIterable<EmbeddedSet>, options: LossOptions): Promise<Validation> {
  const scores: SetScores[] = [];
  for await (const { set, images, texts, pairs, zeroShot = null, classified = null } of sets) {
    const metrics = await retrievalMetrics(images, texts, { pairs });
    const loss = await meanLoss(images, texts, { ...options, pairs });
    for (const used of [images, texts]) used.dispose();
    scores.push({ set, pairs: pairs.length, ...metrics, chance: chanceOfPairs(pairs), loss, zeroShot, classified });
  }
  const recalls = (ks: readonly number[]) =>
    mean(scores.flatMap((own) => ks.flatMap((k) => [own.imageToText.recall[k]!, own.textToImage.recall[k]!])));
  const known = <T>(values: readonly (T | null)[]) => values.filter((value) => value !== null);
  const losses = known(scores.map(({ loss }) => loss));
  const accuracies = known(scores.map(({ zeroShot }) => zeroShot?.[1] ?? null));
  return {
    loss: losses.length > 0 ? mean(losses) : null,
    meanRecall: recalls([1, 5, 10])!,
    recallAt1: recalls([1])!,
    zeroShot: accuracies.length > 0 ? mean(accuracies) : null,
    sets: scores,
  };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * The mean loss of batches as large as in training (all pairs, where they are fewer), in one random order that is always the
 * same. Every picture and every caption takes part once, so that no negative is a positive in disguise; what is left over at
 * the end is left out.
 * @returns null for fewer than two such pairs
 */
async function meanLoss(
  images: Tensor,
  texts: Tensor,
  { pairs, loss, batchSize }: LossOptions & Pick<EmbeddedSet, 'pairs'>,
): Promise<number | null> {
  const seen: [Set<number>, Set<number>] = [new Set(), new Set()];
  const apart = pairs.filter(([image, text]) => {
    if (seen[0].has(image) || seen[1].has(text)) return false;
    seen[0].add(image);
    seen[1].add(text);
    return true;
  });
  const order = new Random(0).fork('order of validation').shuffle(apart);
  const size = Math.min(batchSize, order.length);
  if (size < 2) return null;
  const { device } = images;
  let [sum, batches] = [0, 0];
  for (let start = 0; start + size <= order.length; start += size, batches++) {
    const rows = order.slice(start, start + size);
    const side = (x: Tensor, which: 0 | 1) =>
      x
        .gather(
          tensor(
            Int32Array.from(rows, (pair) => pair[which]),
            { device },
          ),
        )
        .l2Normalize();
    const value = noGrad(() => scoped(() => loss(side(images, 0), side(texts, 1))));
    sum += await value.item();
    value.dispose();
  }
  return sum / batches;
}

/** A validation as evaluations.jsonl keeps it. */
export interface EvaluationRow extends Validation {
  /** Steps that were done. */
  step: number;
  /** Epochs that were done. */
  epoch: number;
  /** Whether Hopfield memories took part in the loss. */
  retrieval: boolean;
  seconds: number;
}

const better = (metric: MetricName, value: number, than: number) => (metric === 'loss' ? value < than : value > than);

/**
 * The best of some validations by one number; of equal ones the first. Losses with and without retrieval do not compare:
 * only those of the newest kind count.
 */
export function bestOfRows(rows: readonly EvaluationRow[], metric: MetricName): EvaluationRow | null {
  const value = (row: EvaluationRow) => row[metricKeys[metric]] as number | null;
  let best: EvaluationRow | null = null;
  for (const row of rows) {
    if (metric === 'loss' && best && row.retrieval !== best.retrieval) best = null;
    const own = value(row);
    if (own === null || !Number.isFinite(own)) continue;
    if (!best || better(metric, own, value(best)!)) best = row;
  }
  return best;
}

/** "loss 1.234, recall@1 12.3 %, mean recall 34.5 %, zero-shot 56.7 %" */
export function scoresText({ loss, recallAt1, meanRecall, zeroShot }: Scores): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return [
    loss !== null && `loss ${loss.toFixed(3)}`,
    `recall@1 ${percent(recallAt1)}`,
    `mean recall ${percent(meanRecall)}`,
    zeroShot !== null && `zero-shot ${percent(zeroShot)}`,
  ]
    .filter(Boolean)
    .join(', ');
}

/** A validation as numbers by tag: val/meanRecall …, val/imageToText/recall/1 …, or of each of several sets val/A/imageToText/…. */
export function validationScalars({ step, epoch, sets, ...scores }: EvaluationRow): Record<string, number> {
  const ofSets = sets.map(({ set, pairs, chance, classified, ...own }) =>
    scalarsOf(sets.length > 1 ? `val/${set}` : 'val', own),
  );
  return Object.assign({}, ...ofSets, scalarsOf('val', scores));
}
