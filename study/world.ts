/**
 * A world of objects with attributes that occur together, small enough to train every method many times: the program of
 * study/experiments/*.yaml. `node .build/study/world.js --options FILE --out FOLDER`.
 *
 * An object has some of 40 attributes. It belongs to one of 12 kinds, and a kind likes some attributes: they co-occur. In the twin world
 * each attribute is as frequent, and independent of the others. A picture is a noisy nonlinear mixture of all attributes of its object; a
 * caption names one of them nearly always, the most frequent one of its kind, and others seldom.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { init, manualSeed, Random, scoped, type Tensor, tensor } from 'hopgrad';
import { ajneStatistic, alignment, effectiveEigenvalues, uniformity } from 'hopgrad/models/cloob';
import {
  AdamW,
  Center,
  cosineHardRestarts,
  cosineWarmup,
  infoLoobLoss,
  infoNceLoss,
  Linear,
  Module,
  Parameter,
  retrievePairs,
} from 'hopgrad/nn';

export interface WorldOptions {
  /** Whether attributes occur together. */
  correlated: boolean;
  loss: 'infonce' | 'infoloob';
  /** Whether Hopfield memories answer before the loss compares: InfoLOOB with them is CLOOB. */
  memories: boolean;
  /** Share of the steps before memories join in. */
  memoriesFrom: number;
  center: boolean;
  beta: number;
  invTau: number;
  /** Learn τ⁻¹, from this one on. */
  learnInvTau: boolean;
  lr: number;
  batch: number;
  steps: number;
  /** Cosines that the rate goes through after the warm-up, each from the full rate. */
  cycles: number;
  /** Objects to train on. */
  objects: number;
  /** Probability that an attribute is named, but for the one that nearly always is. */
  named: number;
  seed: number;
}

export const defaults: WorldOptions = {
  ...{ correlated: true, loss: 'infoloob', memories: true, memoriesFrom: 0, center: true },
  ...{ beta: 8, invTau: 30, learnInvTau: false },
  ...{ lr: 1e-3, batch: 128, steps: 600, cycles: 1, objects: 400, named: 0.15, seed: 1 },
};

const [attributes, kinds, pixels, hidden, dim] = [40, 12, 64, 128, 32];
const worldSeed = 77; // the world is one; what varies with the seed is who lives in it, and the training

/** How often each kind has each attribute, and how pictures are made. */
export function makeWorld() {
  const random = new Random(worldSeed);
  const likes = Array.from({ length: kinds }, () => {
    const liked = new Set(random.shuffle(Array.from({ length: attributes }, (_, i) => i)).slice(0, 9));
    return Array.from({ length: attributes }, (_, i) => (liked.has(i) ? 0.75 : 0.05));
  });
  const frequency = Array.from({ length: attributes }, (_, i) => likes.reduce((sum, own) => sum + own[i]!, 0) / kinds);
  const mix = (rows: number, columns: number) =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.normal() / Math.sqrt(rows)));
  return { likes, frequency, first: mix(attributes, pixels), second: mix(pixels, pixels) };
}

type World = ReturnType<typeof makeWorld>;
export interface Thing {
  has: boolean[];
  /** The attribute that captions nearly always name. */
  main: number;
}

export function makeThings(world: World, count: number, correlated: boolean, random: Random): Thing[] {
  return Array.from({ length: count }, () => {
    const odds = correlated ? world.likes[random.int(kinds)]! : world.frequency;
    const has = odds.map((p) => random.uniform() < p);
    if (!has.includes(true)) has[random.int(attributes)] = true;
    const own = has.flatMap((there, i) => (there ? [i] : []));
    const main = own.reduce((a, b) => (odds[b]! > odds[a]! ? b : a));
    return { has, main };
  });
}

/** Pictures, [things, pixels], and captions, [things, attributes]: 1 for what is named. */
export function see(world: World, things: readonly Thing[], named: number, random: Random) {
  const pictures = new Float32Array(things.length * pixels);
  const captions = new Float32Array(things.length * attributes);
  things.forEach(({ has, main }, row) => {
    const middle = new Float64Array(pixels);
    for (let i = 0; i < attributes; i++)
      if (has[i]) for (let j = 0; j < pixels; j++) middle[j]! += 2 * world.first[i]![j]!;
    for (let j = 0; j < pixels; j++) middle[j] = Math.tanh(2 * middle[j]! + 0.2 * random.normal());
    for (let j = 0; j < pixels; j++) {
      let sum = 0;
      for (let k = 0; k < pixels; k++) sum += middle[k]! * world.second[k]![j]!;
      pictures[row * pixels + j] = sum + 0.1 * random.normal();
    }
    let any = false;
    for (let i = 0; i < attributes; i++)
      if (has[i] && random.uniform() < (i === main ? 0.9 : named)) {
        captions[row * attributes + i] = 1;
        any = true;
      }
    if (!any) captions[row * attributes + main] = 1;
  });
  return {
    pictures: tensor(pictures, { shape: [things.length, pixels] }),
    captions: tensor(captions, { shape: [things.length, attributes] }),
  };
}

/** Two layers, centred or not, at unit length. */
class Encoder extends Module {
  readonly first: Linear;
  readonly second: Linear;
  readonly center: Center | null;

  constructor(inputs: number, centred: boolean) {
    super();
    this.first = new Linear(inputs, hidden);
    this.second = new Linear(hidden, dim);
    this.center = centred ? new Center(dim) : null;
  }

  forward(x: Tensor): Tensor {
    const raw = this.second.forward(this.first.forward(x).relu());
    return (this.center ? this.center.forward(raw) : raw).l2Normalize();
  }
}

/** Mean reciprocal rank of the partners, both ways, ties by their mean rank. */
export function reciprocalRank(similarities: ArrayLike<number>, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++)
    for (const at of [(j: number) => i * n + j, (j: number) => j * n + i]) {
      const own = similarities[at(i)]!;
      let [above, equal] = [0, 0];
      for (let j = 0; j < n; j++) {
        if (similarities[at(j)]! > own) above++;
        else if (j !== i && similarities[at(j)]! === own) equal++;
      }
      sum += 1 / (1 + above + equal / 2) / (2 * n);
    }
  return sum;
}

/** Area under the curve: how often something that has the attribute scores above something that has it not. */
export function area(scores: readonly number[], has: readonly boolean[]): number {
  const order = scores.map((_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  let [below, sum, positive] = [0, 0, 0];
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && scores[order[to]!] === scores[order[from]!]) to++;
    const tied = order.slice(from, to);
    const with_ = tied.filter((i) => has[i]).length;
    sum += with_ * (below + (tied.length - with_) / 2);
    below += tied.length - with_;
    positive += with_;
    from = to;
  }
  return sum / (positive * below);
}

/** Ridge regression from embeddings to each attribute, [rows, attributes] scores of others. */
function probe(train: Tensor, labels: Tensor, test: Tensor): Promise<ArrayLike<number>> {
  const x = train.sub(train.mean({ axis: 0, keepDims: true }));
  const moved = test.sub(train.mean({ axis: 0, keepDims: true }));
  // Gradient steps on ½‖XW − Y‖²/n + ½λ‖W‖², from 0: no matrix is inverted.
  const covariance = x.matmul(x, { transposeA: true }).div(x.shape[0]!);
  const target = x.matmul(labels, { transposeA: true }).div(x.shape[0]!);
  let weights = target.mul(0);
  for (let step = 0; step < 400; step++)
    weights = weights.sub(covariance.matmul(weights).add(weights.mul(1e-4)).sub(target).mul(2));
  return moved.matmul(weights).data() as Promise<ArrayLike<number>>;
}

/**
 * L = (ℓ(u, v) + ℓ(v′, u′)) / 2τ⁻¹, with ℓ InfoNCE or InfoLOOB; anchors and candidates are pictures and captions, or what the memories of
 * the batch answer to them (u, v from the pictures stored, u′, v′ from the captions stored).
 */
function objective(x: Tensor, y: Tensor, { loss, memories, beta }: WorldOptions, invTau: number | Tensor): Tensor {
  const lossOf = loss === 'infonce' ? infoNceLoss : infoLoobLoss;
  const answers = memories ? retrievePairs(x, y, { beta }) : null;
  const [first, second] = answers
    ? [
        lossOf(answers.imageFromImage, answers.imageFromText, { invTau }),
        lossOf(answers.textFromText, answers.textFromImage, { invTau }),
      ]
    : [lossOf(x, y, { invTau }), lossOf(y, x, { invTau })];
  // A learnt τ⁻¹ must not make the loss small by growing.
  return first.add(second).div(typeof invTau === 'number' ? 2 * invTau : 2);
}

/** What is measured of a model after some steps. */
export type Measures = Record<string, number>;

/**
 * Trains in the world, and measures on things that were not trained on.
 * @param watch told the measures at the beginning and after every so many steps
 */
export async function live(
  given: Partial<WorldOptions>,
  watch?: { every: number; tell(step: number, measures: Measures): void },
): Promise<Measures> {
  const options = { ...defaults, ...given };
  const { correlated, center, lr, batch, steps, cycles, named, seed } = options;
  const world = makeWorld();
  const random = new Random(seed);
  const things = makeThings(world, options.objects, correlated, random.fork('things'));
  const others = makeThings(world, 400, correlated, random.fork('others'));
  manualSeed(seed); // first weights are alike for all methods
  const [image, text] = [new Encoder(pixels, center), new Encoder(attributes, center)];
  const logInvTau = new Parameter(tensor([Math.log(options.invTau)]), { decay: false });
  const parameters = [...image.parameters(), ...text.parameters(), ...(options.learnInvTau ? [logInvTau] : [])];
  const optimizer = new AdamW(parameters, { lr, weightDecay: 0.1 });
  const schedule = { lr, warmup: Math.round(steps / 20), total: steps };
  const rate = cycles === 1 ? cosineWarmup(schedule) : cosineHardRestarts({ ...schedule, cycles });
  const sight = random.fork('sight');
  const single = tensor(
    Float32Array.from({ length: attributes ** 2 }, (_, i) => Number(i % (attributes + 1) === 0)),
    { shape: [attributes, attributes] },
  );
  const evaluate = async () => {
    image.eval();
    text.eval();
    const all = see(world, things, named, random.fork('probe'));
    const test = see(world, others, named, random.fork('test'));
    const measures = await measure({ image, text, all, test, single, things, others });
    image.train();
    text.train();
    return measures;
  };
  let last = Number.NaN;
  for (let step = 0; step < steps; step++) {
    if (watch && step % watch.every === 0) watch.tell(step, await evaluate());
    const seen = see(world, random.shuffle([...things]).slice(0, batch), named, sight);
    const value = scoped(() => {
      const [x, y] = [image.forward(seen.pictures), text.forward(seen.captions)];
      const invTau = options.learnInvTau ? logInvTau.exp() : options.invTau;
      const memories = options.memories && step >= options.memoriesFrom * steps;
      const found = objective(x, y, { ...options, memories }, invTau);
      optimizer.zeroGrad();
      found.backward();
      return found.detach();
    });
    optimizer.lr = rate(step);
    await optimizer.step();
    if (step === steps - 1) last = await value.item();
    for (const used of [value, seen.pictures, seen.captions]) used.dispose();
  }
  if (!Number.isFinite(last)) return { loss: last };
  const measures = await evaluate();
  watch?.tell(steps, measures);
  return { loss: last, ...measures };
}

interface Measured {
  image: Encoder;
  text: Encoder;
  all: ReturnType<typeof see>;
  test: ReturnType<typeof see>;
  single: Tensor;
  things: readonly Thing[];
  others: readonly Thing[];
}

async function measure({ image, text, all, test, single, things, others }: Measured): Promise<Measures> {
  const n = others.length;
  const [x, y, known, prompts] = [
    image.forward(test.pictures).detach(),
    text.forward(test.captions).detach(),
    image.forward(all.pictures).detach(),
    text.forward(single).detach(),
  ];
  const labels = tensor(Float32Array.from(things.flatMap(({ has }) => has.map(Number))), {
    shape: [things.length, attributes],
  });
  const [similarities, prompted, probed] = [
    await x.matmul(y, { transposeB: true }).data(),
    await x.matmul(prompts, { transposeB: true }).data(),
    await probe(known, labels, x),
  ];
  // An attribute is seldom named in the captions of those of whom it is not the main one.
  const areas = (scores: ArrayLike<number>) => {
    const each = Array.from({ length: attributes }, (_, k) => {
      const rows = others.flatMap(({ main }, i) => (main === k ? [] : [i]));
      return area(
        rows.map((i) => scores[i * attributes + k]!),
        rows.map((i) => others[i]!.has[k]!),
      );
    }).filter(Number.isFinite);
    return each.reduce((sum, value) => sum + value, 0) / each.length;
  };
  return {
    mrr: reciprocalRank(similarities, n),
    probe: areas(probed),
    zeroShot: areas(prompted),
    ajne: (await ajneStatistic(x)).statistic,
    eigenvalues: (await effectiveEigenvalues(x)).count,
    alignment: await alignment(x, y),
    uniformity: await uniformity(x),
  };
}

if (process.argv[1]?.endsWith('world.js')) {
  const { values } = parseArgs({ options: { options: { type: 'string' }, out: { type: 'string' } } });
  await init({ device: 'wasm', threads: 1 });
  const began = performance.now();
  const metrics = await live(JSON.parse(readFileSync(values.options!, 'utf8')));
  const seconds = Math.round((performance.now() - began) / 1000);
  const results = Number.isFinite(metrics.loss) ? { metrics, seconds } : { diverged: `a loss of ${metrics.loss}` };
  if (!existsSync(values.out!)) mkdirSync(values.out!, { recursive: true });
  const path = join(values.out!, 'results.json');
  writeFileSync(`${path}.partial`, JSON.stringify(results));
  renameSync(`${path}.partial`, path);
}
