/**
 * Memories from the first step: why centring alone does not let them begin on pictures, and what does.
 *
 * Unit embeddings that say nothing about each other have similarities s_ij of mean 0 and, in D dimensions, of variance 1/D. With ln E eˢ = σ²/2 for
 * a small normal s, InfoLOOB both ways is τ Σ (E[−τ⁻¹s_ii] + ln Σ_{j≠i} exp τ⁻¹s_ij), twice, so
 *
 *   L ≈ 2τ ln(N−1) + τ⁻¹/D.
 *
 * The first term is the loss of embeddings that are all equal. The second is what not being equal costs as long as partners do not match: a slope
 * down to where all are alike. Memories make it steep. They answer ξ with about C ξ, C the covariance, so of a spectrum λ the answers have λ³, and
 * the few largest directions are left: D falls.
 */
import { noGrad, type Tensor } from 'hopgrad';
import type { ClipTokenizer } from 'hopgrad/models/cloob';
import { hopfieldRetrieve, infoLoobLoss, type RetrievedPairs, retrievePairs } from 'hopgrad/nn';
import { type EmojiData, prepareEmoji } from '#src/data/emoji-source.js';
import { embedEmojiSets } from '#src/train/evaluate.js';
import { scoreSets } from '#src/train/validate.js';
import { cacheFolder, infoLoob, mean, unitVectors, values, withDeviation } from './chapter.js';
import { curves } from './figure.js';
import type { Chapter, Findings } from './record.js';
import { type Method, training, vocabulary } from './transfer-models.js';
import { side } from './transfer-sets.js';
import { begin } from './trials.js';

interface Budget {
  /** Of each training. */
  steps: number;
  seeds: readonly number[];
  /** Of each validation set, at most. */
  pictures?: number;
}

/** Six epochs. */
const full: Budget = { steps: 222, seeds: [1, 2, 3] };
const [beta, invTau, batchSize] = [8, 30, 128];

/** The loss of embeddings that are all equal. */
const lossOfEqual = (n: number, scale = invTau) => (2 / scale) * Math.log(n - 1);

/** What the memories of pictures and of captions answer: CLOOB compares these. */
export const answers = (x: Tensor, y: Tensor) => retrievePairs(x, y, { beta });
/** The same, with the mean over the batch taken off each kind of answer before it is divided by its norm, as of the embeddings. */
export function centredAnswers(x: Tensor, y: Tensor): RetrievedPairs {
  const answer = (state: Tensor, stored: Tensor) => {
    const raw = hopfieldRetrieve(state, stored, { beta });
    return raw.sub(raw.mean({ axis: 0, keepDims: true })).l2Normalize();
  };
  const [imageFromImage, imageFromText] = [answer(x, x), answer(y, x)];
  return { imageFromImage, imageFromText, textFromImage: answer(x, y), textFromText: answer(y, y) };
}

type Answer = typeof answers;
/** CLOOB's loss on answers: L(U_x, U_y) + L(V_y, V_x). */
export function onAnswers(answer: Answer, x: Tensor, y: Tensor): Tensor {
  const { imageFromImage, imageFromText, textFromText, textFromImage } = answer(x, y);
  const oneWay = (a: Tensor, b: Tensor) => infoLoobLoss(a, b, { invTau });
  return oneWay(imageFromImage, imageFromText).add(oneWay(textFromText, textFromImage)).div(invTau);
}

interface Way {
  /** Share of the loss that compares answers; the rest compares embeddings. */
  share: number;
  answer: Answer;
}

const ways: Record<string, Way> = {
  'no memories': { share: 0, answer: answers },
  'memories: CLOOB': { share: 1, answer: answers },
  'half of the loss with memories': { share: 0.5, answer: answers },
  'memories, answers centred': { share: 1, answer: centredAnswers },
  'half, answers centred': { share: 0.5, answer: centredAnswers },
};
function wayLoss({ share, answer }: Way, x: Tensor, y: Tensor): Tensor {
  if (share === 0) return infoLoob(x, y, invTau);
  if (share === 1) return onAnswers(answer, x, y);
  return infoLoob(x, y, invTau)
    .mul(1 - share)
    .add(onAnswers(answer, x, y).mul(share));
}
const centred: Method = { name: 'centred', options: { center: 'batch' } };

/** L − 2τ ln(N−1) for unrelated vectors, over τ⁻¹/D. */
function unrelated(dim: number): number {
  const [n, scale, trials] = [256, 4, 60];
  const excess = Array.from({ length: trials }, (_, seed) => {
    const [x, y] = [unitVectors(n, dim, seed), unitVectors(n, dim, 1000 + seed)];
    return values(infoLoob(x, y, scale))[0]! - lossOfEqual(n, scale);
  });
  return mean(excess) / (scale / dim);
}

/** D = 1 / mean s_ij², i ≠ j: in how many dimensions unrelated vectors would be as similar. */
function dimensions(x: Tensor, y: Tensor): number {
  const s = values(x.matmul(y, { transposeB: true }));
  const n = x.shape[0]!;
  return 1 / mean(s.filter((_, at) => at % (n + 1) !== 0).map((v) => v ** 2));
}

/** What fresh encoders make of a batch. */
async function fresh(found: Findings, given: Given): Promise<void> {
  const { model, loader, trainer } = training(centred, { ...given, seed: 1, steps: 1 });
  const { learner } = trainer;
  model.train();
  for await (const batch of loader.batches({ epoch: 0, row: 0, bad: 0 })) {
    const { images, texts } = noGrad(() => learner.encode(learner.inputs(batch), { microBatch: null }));
    const row = (name: string, pairs: RetrievedPairs, loss: Tensor) => [
      ...[name, dimensions(pairs.imageFromImage, pairs.imageFromText)],
      ...[dimensions(pairs.textFromText, pairs.textFromImage), values(loss)[0]!],
    ];
    const plain = { imageFromImage: images, imageFromText: texts, textFromText: texts, textFromImage: images };
    found.table(
      'fresh',
      `Fresh encoders, centred, a batch of ${batchSize} emoji and captions: D = 1 / mean s² of what is compared on the side of pictures and of captions, and the loss; that of equal embeddings is ${lossOfEqual(batchSize).toFixed(3)}.`,
      ['what is compared', 'D, pictures', 'D, captions', 'loss'],
      [
        row('embeddings', plain, infoLoob(images, texts, invTau)),
        row('answers', answers(images, texts), onAnswers(answers, images, texts)),
        row('answers, centred', centredAnswers(images, texts), onAnswers(centredAnswers, images, texts)),
      ],
    );
    break;
  }
  await loader.close();
}

interface Given {
  data: EmojiData;
  tokenizer: ClipTokenizer;
}
interface Looked {
  step: number;
  images: number;
}

/** One training: mean recall on the validation split, the last losses, and what was seen on the way. */
async function train(way: Way, { steps, seed, data, tokenizer }: Given & { steps: number; seed: number }) {
  const { model, loader, trainer } = training(centred, { data, tokenizer, seed, steps });
  trainer.objective.forward = (images, texts) => wayLoss(way, images, texts);
  const looks: Looked[] = [];
  const losses: number[] = [];
  const every = Math.max(1, Math.floor(steps / 37));
  await trainer.run({
    measureEvery: every,
    onStep({ step, loss, vitals }) {
      losses.push(loss);
      if (vitals) looks.push({ step, images: vitals.imageSimilarity! });
    },
  });
  await loader.close();
  model.eval();
  const { meanRecall } = await scoreSets(embedEmojiSets(model, tokenizer, data), {
    loss: (x, y) => infoLoob(x, y, invTau),
    batchSize,
  });
  return { meanRecall, looks, loss: mean(losses.slice(-10)) };
}

async function run(found: Findings, { steps, seeds, pictures }: Budget = full): Promise<void> {
  found.claim('unrelated', 'L − 2τ ln(N−1) is τ⁻¹/D for unrelated unit vectors', Math.abs(unrelated(64) - 1), 0.1);
  await begin();
  const data = await prepareEmoji({ size: side, cacheFolder, validation: true });
  for (const set of ['testA', 'testB', 'testC'] as const) data.split[set] = data.split[set].slice(0, pictures);
  const given: Given = { data, tokenizer: vocabulary(data) };
  await fresh(found, given);
  for (const [id, value] of Object.entries({ steps, seeds: seeds.length })) found.number(id, value);
  found.number('equal', lossOfEqual(batchSize).toFixed(3));
  const rows: string[][] = [];
  const courses: { label: string; points: [number, number][] }[] = [];
  for (const [i, [name, way]] of Object.entries(ways).entries()) {
    const runs: Awaited<ReturnType<typeof train>>[] = [];
    for (const seed of seeds) runs.push(await train(way, { ...given, steps, seed }));
    const recall = withDeviation(runs.map(({ meanRecall }) => meanRecall));
    const loss = withDeviation(
      runs.map((one) => one.loss),
      { scale: 1, digits: 3 },
    );
    const cosine = withDeviation(
      runs.map(({ looks }) => looks.at(-1)!.images),
      { scale: 1, digits: 2 },
    );
    rows.push([name, recall, loss, cosine]);
    found.number(`recall-${i}`, recall);
    courses.push({
      label: name,
      points: runs[0]!.looks.map(({ step }, at) => [step, mean(runs.map(({ looks }) => looks[at]!.images))]),
    });
  }
  found.table(
    'trainings',
    `Embedded emoji, ${steps} steps of ${batchSize} pairs, ${seeds.length} seeds, ± standard deviation: mean recall in % (at 1, 5 and 10, both ways, over the sets of the validation split), the mean loss of the last ten steps, and the mean cosine of two pictures in the last batch.`,
    ['from the first step', 'mean recall', 'loss', 'pictures’ cosine'],
    rows,
  );
  found.figure(
    'collapse',
    'Mean cosine of two pictures of a batch during training, with memories from the first step in several ways and without.',
    curves(courses, { x: { label: 'step' }, y: { label: 'mean cosine of two pictures' } }, { dots: false }),
  );
}

export const early: Chapter = {
  name: 'early',
  title: 'Memories from the first step: why centring is not enough',
  run,
};
