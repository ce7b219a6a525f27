/**
 * Who answers the questions of the chapters on transfer, and what their answers come to: zero-shot classification, linear probe and
 * retrieval, by trained models and by what needs no training of encoders, raw pixels and histograms of oriented gradients.
 */
import * as Plot from '@observablehq/plot';
import { noGrad, Random, type Tensor } from 'hopgrad';
import { listSource } from 'hopgrad/data';
import { embedTexts, type LinearClassifier, linearProbe, zeroShotClassifier } from 'hopgrad/models/cloob';
import type { EmojiData } from '#src/data/emoji-source.js';
import { hogFeatures } from '#src/evaluate/hog.js';
import { captionScores, neighbourScores, pixelFeatures } from '#src/evaluate/neighbours.js';
import { bestOf, rankOf } from '#src/evaluate/ranks.js';
import { wilsonInterval } from '#src/evaluate/wilson.js';
import { embedSource } from '#src/train/embed-source.js';
import { drawingBytes } from '#src/train/evaluate.js';
import { mean } from './chapter.js';
import { colours } from './figure.js';
import type { Findings } from './record.js';
import type { Trained } from './transfer-models.js';
import { type JudgedSet, type Pictures, pick, side } from './transfer-sets.js';

/** What is asked. */
export const questions = { zeroShot: 'zero-shot', probe: 'linear probe', retrieval: 'retrieval' } as const;
export type Question = keyof typeof questions;
export const questionNames = Object.keys(questions) as Question[];
/** For every trial of a question whether it succeeded. */
export type Hits = Record<Question, boolean[]>;

/** Scores of n queries for m candidates, row-major. */
interface Scores {
  n: number;
  m: number;
  data: ArrayLike<number>;
}

const row = ({ m, data }: Scores, i: number) => Float64Array.from({ length: m }, (_, j) => data[i * m + j]!);
const turned = ({ n, m, data }: Scores): Scores => ({
  ...{ n: m, m: n },
  data: Float64Array.from({ length: n * m }, (_, at) => data[(at % n) * m + Math.floor(at / n)]!),
});
const products = async (x: Tensor, y: Tensor): Promise<Scores> => ({
  ...{ n: x.shape[0]!, m: y.shape[0]! },
  data: await noGrad(() => x.matmul(y, { transposeB: true })).data(),
});

/** Whether each query's own candidate is among the first k; ties count against it. */
const amongFirst = (scores: Scores, own: (query: number) => number, k: number): boolean[] =>
  Array.from({ length: scores.n }, (_, i) => rankOf(row(scores, i), [own(i)]) < k);

/** Whether what the words of each class find first is of that class; half as many as there are pictures a class. */
function foundByClass(scores: Scores, labels: readonly number[]): boolean[] {
  const each = Math.max(1, Math.floor(scores.m / scores.n / 2));
  return Array.from({ length: scores.n }, (_, c) => bestOf(row(scores, c), each).map((i) => labels[i] === c)).flat();
}

/** How pictures become unit vectors, and what words are to these. */
export interface Judge {
  see(pictures: Pictures): Promise<Tensor>;
  /** Scores of pictures for classes. */
  classes(set: JudgedSet, seen: Tensor): Promise<Scores>;
  /** Scores of pictures for their captions. */
  captions(set: JudgedSet, seen: Tensor): Promise<Scores>;
}

/** A trained model, with prompts as in the evaluation of the default run. */
export function modelJudge({ model, tokenizer }: Trained): Judge {
  return {
    async see({ images, labels }) {
      const rows = labels.map((label, index) => {
        const data = images.subarray(index * 3 * side ** 2, (index + 1) * 3 * side ** 2);
        const pixels = { data, width: side, height: side, channels: 3, mode: 'RGB' as const };
        return { index, label, name: `picture ${index}`, image: { pixels } };
      });
      const { features } = await embedSource(model, listSource('judged', rows), { batchSize: 128, workers: 0 });
      return features.l2Normalize();
    },
    classes({ classes }, seen) {
      const most = Math.max(...classes.map((words) => words.length));
      const templates = Array.from({ length: most }, (_, k) => {
        const word = (c: string) => classes[Number(c)]![k % classes[Number(c)]!.length]!;
        return [word, (c: string) => `a drawing of ${word(c)}`];
      }).flat();
      return products(
        seen,
        zeroShotClassifier(model, tokenizer, { classNames: classes.map((_, c) => `${c}`), templates }),
      );
    },
    captions: ({ pictures }, seen) => products(seen, embedTexts(model, tokenizer, pictures.captions).l2Normalize()),
  };
}

type See = (images: Uint8Array, count: number) => Tensor;
/** What pictures without encoders are compared by. */
const floors: Record<string, See> = {
  'raw pixels': pixelFeatures,
  HOG: (images, count) => hogFeatures(images, count, side),
};

/** What the training pictures that are most alike say: their concept where it is asked for, else their words by tf-idf. */
function floorJudge(see: See, known: { images: Uint8Array; words: string[]; concepts: number[] }): Judge {
  const features = see(known.images, known.words.length);
  return {
    see: async ({ images, labels }) => see(images, labels.length),
    async classes({ classes }, seen) {
      const texts = classes.map((words) => words.join(' '));
      const data = await captionScores({ features, about: known.words }, seen, texts);
      return { n: seen.shape[0]!, m: texts.length, data };
    },
    async captions({ pictures: { captions, concepts } }, seen) {
      const n = captions.length;
      const data = concepts
        ? (await neighbourScores({ features, about: known.concepts }, { features: seen, about: concepts })).data
        : await captionScores({ features, about: known.words }, seen, captions);
      return { n, m: n, data };
    },
  };
}

/** Linear probes of one judge: those of the same pictures are fitted once. */
class Probes {
  private readonly fitted = new Map<Pictures, Promise<LinearClassifier>>();
  constructor(
    private readonly see: Judge['see'],
    private readonly iterations: number,
  ) {}

  private async fit(train: Pictures, classes: number): Promise<LinearClassifier> {
    const data = { features: await this.see(train), labels: train.labels };
    // Penalties two decades apart, then one; as many iterations as CLIP has: with 300, centred CLOOB lacks five points on digits.
    const sweep = { range: [1e-6, 1e2], pointsPerDecade: 1, classes, maxIterations: this.iterations } as const;
    return (await linearProbe(data, data, sweep)).classifier;
  }

  /** Whether the classifier that others train names each picture's class. */
  async ask(train: Pictures, test: Pictures, classes: number): Promise<boolean[]> {
    const fit = this.fitted.get(train) ?? this.fit(train, classes);
    this.fitted.set(train, fit);
    const { weight, bias } = await fit;
    const seen = await this.see(test);
    const data = await noGrad(() => seen.matmul(weight, { transposeB: true }).add(bias)).data();
    return amongFirst({ n: test.labels.length, m: classes, data }, (i) => test.labels[i]!, 1);
  }
}

/** What a linear probe is trained on, and what it is asked. */
function foldsOf({ pictures, probe }: JudgedSet): (readonly [Pictures, Pictures])[] {
  if (probe !== 'halves') return [[probe, pictures]];
  const half = (rest: number) =>
    pick(
      pictures,
      [...pictures.labels.keys()].filter((i) => i % 2 === rest),
    );
  const [even, odd] = [half(0), half(1)];
  return [
    [even, odd],
    [odd, even],
  ];
}

/** The same judge, who looks at the same pictures once. */
function remembering(judge: Judge): Judge {
  const seen = new Map<Pictures, Promise<Tensor>>();
  const see = (pictures: Pictures) => {
    const features = seen.get(pictures) ?? judge.see(pictures);
    seen.set(pictures, features);
    return features;
  };
  return { ...judge, see };
}

/** The three questions on one set. */
async function ask(judge: Judge, probes: Probes, set: JudgedSet): Promise<Hits> {
  const { pictures, classes, searched } = set;
  const { labels } = pictures;
  const seen = await judge.see(pictures);
  const named = await judge.classes(set, seen);
  const probed: boolean[] = [];
  for (const [train, test] of foldsOf(set)) probed.push(...(await probes.ask(train, test, classes.length)));
  return {
    zeroShot: amongFirst(named, (i) => labels[i]!, 1),
    probe: probed,
    retrieval:
      searched === 'by class'
        ? foundByClass(turned(named), labels)
        : amongFirst(turned(await judge.captions(set, seen)), (i) => i, 10),
  };
}

/** What guessing reaches: any class, the class that is most frequent, an order at random. */
function chance({ pictures, classes, searched }: JudgedSet): Record<Question, number> {
  const counts = classes.map((_, c) => pictures.labels.filter((label) => label === c).length);
  const n = pictures.labels.length;
  return {
    zeroShot: 1 / classes.length,
    probe: Math.max(...counts) / n,
    retrieval: searched === 'by class' ? 1 / classes.length : Math.min(1, 10 / n),
  };
}

export const share = (hits: readonly boolean[]) => mean(hits.map(Number));
/** Of each seed the same trials: the mean share, and Wilson's interval for so many trials. */
function shareOf(runs: readonly Hits[], question: Question) {
  const value = mean(runs.map((hits) => share(hits[question])));
  const [low, high] = wilsonInterval(value, runs[0]![question].length);
  return { value, low, high };
}
export const percent = (x: number) => (100 * x).toFixed(1).replace('-', '−');
/** "12.3 [11.0, 13.7]", in %. */
export function shareText(runs: readonly Hits[], question: Question): string {
  const { value, low, high } = shareOf(runs, question);
  return `${percent(value)} [${percent(low)}, ${percent(high)}]`;
}
const signed = (x: number) => `${x < 0 ? '' : '+'}${percent(x)}`;
/** A difference of shares, and how far it may be off. */
export interface Difference {
  value: number;
  low: number;
  high: number;
}
/** "+1.5 [+0.2, +2.7]", in points. */
export const differenceText = ({ value, low, high }: Difference) =>
  `${signed(value)} [${signed(low)}, ${signed(high)}]`;

/**
 * One method's share less another's, with the middle 95 % of 2000 resamples of seeds and of trials, both of which are paired: how far the
 * difference may be off because these pictures, and these few trainings, were taken.
 */
export function difference(one: readonly Hits[], other: readonly Hits[], question: Question): Difference {
  const apart = one.map((hits, s) => hits[question].map((hit, i) => Number(hit) - Number(other[s]![question][i])));
  const trials = apart[0]!.length;
  const random = new Random(1);
  const resampled = Array.from({ length: 2000 }, () => {
    const seeds = apart.map(() => apart[random.int(apart.length)]!);
    let sum = 0;
    for (let i = 0; i < trials; i++) {
      const at = random.int(trials);
      for (const own of seeds) sum += own[at]!;
    }
    return sum / (trials * seeds.length);
  }).sort((a, b) => a - b);
  return { value: mean(apart.map((own) => mean(own))), low: resampled[49]!, high: resampled[1949]! };
}

/** The answers of several judges about several sets: each judge asked once, or once with every seed. */
export class Answers {
  private readonly bySet: ReadonlyMap<string, Record<string, Hits[]>>;

  constructor(
    readonly sets: readonly JudgedSet[],
    /** Of each fit of a linear probe, at most. */
    private readonly iterations: number,
  ) {
    this.bySet = new Map(sets.map(({ id }) => [id, {}]));
  }

  /** Asks a judge everything. */
  async ask(name: string, unremembering: Judge): Promise<void> {
    const judge = remembering(unremembering);
    const probes = new Probes(judge.see, this.iterations);
    for (const set of this.sets) (this.of(set)[name] ??= []).push(await ask(judge, probes, set));
  }

  /** Those about a set, by the names of the judges. */
  of({ id }: JudgedSet): Record<string, Hits[]> {
    return this.bySet.get(id)!;
  }

  /** A table for each set: shares of all judges with intervals, and what guessing reaches. */
  tellShares(found: Findings): void {
    for (const set of this.sets) {
      const guess = chance(set);
      found.table(
        set.id,
        `${set.title}: ${set.pictures.labels.length} pictures, ${set.classes.length} classes. In %, with 95 % intervals (Wilson) for as many pictures.`,
        ['judge', ...questionNames.map((question) => questions[question])],
        [
          ...Object.entries(this.of(set)).map(([name, runs]) => [
            name,
            ...questionNames.map((question) => shareText(runs, question)),
          ]),
          ['guessing', ...questionNames.map((question) => percent(guess[question]))],
        ],
      );
    }
  }

  /** Numbers for the text: SET-pictures, SET-classes. */
  tellSizes(found: Findings): void {
    for (const set of this.sets) {
      found.number(`${set.id}-pictures`, String(set.pictures.labels.length));
      found.number(`${set.id}-classes`, String(set.classes.length));
    }
  }

  /** Numbers for the text, of each judge SET-QUESTION-SHORT. @param judges names by short ones */
  tellNumbers(found: Findings, judges: Record<string, string>): void {
    for (const set of this.sets)
      for (const question of questionNames)
        for (const [short, name] of Object.entries(judges))
          found.number(`${set.id}-${question}-${short}`, percent(shareOf(this.of(set)[name]!, question).value));
  }

  /** A table of how far other methods are from one, and these differences, of each of the others those of all sets and questions. */
  tellDifferences(found: Findings, base: string, others: readonly string[]): Difference[][] {
    const asked = this.sets.flatMap((set) => questionNames.map((question) => ({ set, question })));
    const differences = others.map((name) =>
      asked.map(({ set, question }) => difference(this.of(set)[name]!, this.of(set)[base]!, question)),
    );
    found.table(
      'differences',
      `Each method less ${base}, in points, with 95 % intervals over seeds and pictures (bootstrap, paired).`,
      ['set', 'question', ...others],
      asked.map(({ set, question }, i) => [
        set.title,
        questions[question],
        ...differences.map((own) => differenceText(own[i]!)),
      ]),
    );
    return differences;
  }

  /** A panel for each set and question, a line for each judge. */
  panels(): Plot.PlotOptions {
    const judges = Object.keys(this.of(this.sets[0]!));
    const dots = this.sets.flatMap((set) =>
      questionNames.flatMap((question) =>
        judges.map((judge) => {
          const { value, low, high } = shareOf(this.of(set)[judge]!, question);
          const guess = 100 * chance(set)[question];
          const panel = { fx: questions[question], fy: set.title };
          return { ...panel, judge, value: 100 * value, low: 100 * low, high: 100 * high, guess };
        }),
      ),
    );
    const place = { y: 'judge', fx: 'fx', fy: 'fy' };
    const stroke = ({ judge }: { judge: string }) => colours[judges.indexOf(judge) % colours.length]!;
    return {
      ...{
        width: 840,
        height: 66 + 18.7 * judges.length * this.sets.length,
        marginLeft: 24 + 7 * Math.max(...judges.map(({ length }) => length)),
        marginRight: 200,
        inset: 4,
      },
      marginBottom: 46,
      x: { label: 'share of trials, %', domain: [0, 100], ticks: [0, 50, 100] },
      y: { label: null, domain: judges },
      fx: { label: null, domain: Object.values(questions) },
      fy: { label: null, domain: this.sets.map(({ title }) => title) },
      marks: [
        Plot.frame({ strokeOpacity: 0.3 }),
        Plot.tickX(dots, { x: 'guess', ...place, stroke: '#888888', strokeWidth: 1 }),
        Plot.ruleY(dots, { x1: 'low', x2: 'high', ...place, stroke, strokeWidth: 1.5 }),
        Plot.dot(dots, { x: 'value', ...place, fill: stroke, r: 2.5 }),
      ],
    };
  }
}

/** What needs no training, with the training drawings of some data before it. */
export function floorJudges(data: EmojiData, rows: readonly number[]): [name: string, judge: Judge][] {
  const { drawings, concepts } = data;
  const conceptOf = rows.map((at) => drawings[at]!.concept);
  const words = conceptOf.map((at) => `${concepts[at]!.name} ${concepts[at]!.keywords.join(' ')}`);
  const known = { images: drawingBytes(data, rows), words, concepts: conceptOf };
  return Object.entries(floors).map(([name, see]) => [name, floorJudge(see, known)]);
}
