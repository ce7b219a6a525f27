/** What of the icons is held out: whole sets, whole families of names, and combinations of words. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { Random } from '../tensor/random.js';
import type { Concept, Drawing, Split } from './emoji.js';
import type { IconSource } from './icons.js';
import type { Images } from './rasterise.js';

/** The number that fixes what is never trained on. */
const splitSeed = 2110;
/** At most so many words, combinations and drawings of known names; of small collections a tenth. */
const [mostWords, mostCombinations, mostKnown] = [300, 300, 1500];
/** Drawings whose centred cosine, 16 × 16 grey, is as large are taken for one. */
const alike = 0.95;

/** Centred grey pictures of 16 × 16 at unit length, row by row. */
export function smallFeatures({ data, size, count }: Images): Float32Array {
  const side = 16;
  const features = new Float32Array(count * side * side);
  for (let row = 0; row < count; row++) {
    const own = features.subarray(row * side * side, (row + 1) * side * side);
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++) {
        const at = ((row * size + y) * size + x) * 3;
        own[Math.floor((y * side) / size) * side + Math.floor((x * side) / size)]! +=
          data[at]! + data[at + 1]! + data[at + 2]!;
      }
    let mean = 0;
    for (const value of own) mean += value / own.length;
    let square = 0;
    for (let i = 0; i < own.length; i++) square += (own[i]! -= mean) ** 2;
    const scale = 1 / (Math.sqrt(square) || 1);
    for (let i = 0; i < own.length; i++) own[i]! *= scale;
  }
  return features;
}

const featureLength = 256;
const cosine = (features: Float32Array, a: number, b: number) => {
  let sum = 0;
  for (let i = 0; i < featureLength; i++) sum += features[a * featureLength + i]! * features[b * featureLength + i]!;
  return sum;
};

/** Drawings without those that nearly equal an earlier one of their concept: the same picture in two sets, or two variants alike. */
export function foldAlike(drawings: readonly Drawing[], features: Float32Array): number[] {
  const kept = new Map<number, number[]>();
  return drawings.flatMap(({ concept }, row) => {
    const others = kept.get(concept) ?? [];
    kept.set(concept, others);
    if (others.some((other) => cosine(features, row, other) >= alike)) return [];
    others.push(row);
    return [row];
  });
}

/** Rows of `train` that nearly equal one of `held`, whatever they are called. */
async function lookAlikes(
  features: Float32Array,
  train: readonly number[],
  held: readonly number[],
): Promise<Set<number>> {
  const found = new Set<number>();
  const pick = (rows: readonly number[]) => {
    const data = new Float32Array(rows.length * featureLength);
    for (const [i, row] of rows.entries())
      data.set(features.subarray(row * featureLength, (row + 1) * featureLength), i * featureLength);
    return tensor(data, { shape: [rows.length, featureLength] });
  };
  if (held.length === 0) return found;
  const against = pick(held);
  for (let start = 0; start < train.length; start += 4096) {
    const rows = train.slice(start, start + 4096);
    const largest = noGrad(() => scoped(() => pick(rows).matmul(against, { transposeB: true }).max({ axis: 1 })));
    const values = await largest.data();
    largest.dispose();
    for (const [i, row] of rows.entries()) if (values[i]! >= alike) found.add(row);
  }
  against.dispose();
  return found;
}

const wordsOf = (text: string) => text.split(' ');
/** A word without the s of a plural: cat and cats are held out together. */
const stem = (word: string) => (word.length > 3 ? word.replace(/s$/, '') : word);

interface Parts {
  concepts: readonly Concept[];
  drawings: readonly Drawing[];
  /** Of each drawing, {@link smallFeatures}. */
  features: Float32Array;
  sources: readonly IconSource[];
  validation?: boolean;
}

/**
 * Splits drawings that are no doubles of each other. Test: words and combinations drawn at random, and the sets held out for it. Validation: others of both,
 * inside the training data, and the set held out for that; what the tests hold out is left out altogether.
 *
 * - A: names trained on, in a set never seen
 * - B: names with a word never trained on, in sets trained on
 * - C: names with a word never trained on, in a set never seen
 * - D: known words in a combination never trained on, in sets trained on
 *
 * Of each name there is one drawing in a test. No drawing that nearly equals one of B, C or D is trained on, under whatever name.
 */
export async function splitIcons({ concepts, drawings, features, sources, validation = false }: Parts): Promise<Split> {
  const heldFor = new Map(sources.map(({ set, held }) => [set, held]));
  const isTest = (style: string) => heldFor.get(style) === 'test';
  const isHeld = (style: string) => heldFor.get(style) === (validation ? 'validation' : 'test');
  const isTraining = (style: string) => !isTest(style) && !isHeld(style);
  const random = new Random(splitSeed);
  const stems = concepts.map(({ name }) => new Set(wordsOf(name).map(stem)));
  const allStems = concepts.map(({ name, keywords }) => new Set([name, ...keywords].flatMap(wordsOf).map(stem)));
  const drawnIn = concepts.map(() => ({ training: [] as number[], held: [] as number[] }));
  drawings.forEach(({ concept, style }, row) => {
    if (isTraining(style)) drawnIn[concept]!.training.push(row);
    else if (isHeld(style)) drawnIn[concept]!.held.push(row);
  });

  // The words are drawn from what both splits train on, in one order: those of the tests come first.
  const count = new Map<string, number>();
  for (const own of stems) for (const word of own) count.set(word, (count.get(word) ?? 0) + 1);
  const candidates = [...count]
    .filter(([word, n]) => n >= 3 && n <= 40 && /^[a-z]{3,}$/.test(word))
    .map(([word]) => word);
  const order = random.fork('words').shuffle(candidates.sort());
  const words = Math.min(mostWords, Math.floor(order.length / 10));
  const testWords = new Set(order.slice(0, words));
  const ownWords = validation ? new Set(order.slice(words, 2 * words)) : testWords;
  const hasAny = (set: ReadonlySet<string>, wanted: ReadonlySet<string>) => [...set].some((word) => wanted.has(word));
  const [forTest, forOwn] = [testWords, ownWords].map((held) => concepts.map((_, i) => hasAny(allStems[i]!, held))) as [
    boolean[],
    boolean[],
  ];

  // Combinations of words that other names have as well; in one order, too.
  const seenIn = new Map<string, number>();
  concepts.forEach((_, i) => {
    if (!forTest[i]) for (const word of stems[i]!) seenIn.set(word, (seenIn.get(word) ?? 0) + 1);
  });
  const common = (word: string) => seenIn.get(word)! >= 6;
  const isMixed = (i: number) => !forTest[i] && stems[i]!.size > 1 && [...stems[i]!].every(common);
  const mixedOrder = random.fork('combinations').shuffle([...concepts.keys()].filter(isMixed));
  const combinations = Math.min(mostCombinations, Math.floor(mixedOrder.length / 10));
  const testMixed = mixedOrder.slice(0, combinations);
  const byWord = new Map<string, number[]>();
  for (const [i, own] of stems.entries()) for (const word of own) byWord.set(word, [...(byWord.get(word) ?? []), i]);
  /** Adds the names that contain one of some combinations: they share its rarest word. */
  const barring = (barred: readonly boolean[], held: readonly number[]) => {
    const all = [...barred];
    for (const i of held) {
      const rarest = [...stems[i]!].reduce((x, y) => (seenIn.get(x)! <= seenIn.get(y)! ? x : y));
      for (const other of byWord.get(rarest)!)
        if ([...stems[i]!].every((word) => stems[other]!.has(word))) all[other] = true;
    }
    return all;
  };
  const barredByTest = barring(forTest, testMixed);
  const isFree = (i: number) => !validation || !barredByTest[i];
  const ownMixed = validation ? mixedOrder.filter((i) => isFree(i) && !forOwn[i]).slice(0, combinations) : testMixed;
  const barred = barring(
    barredByTest.map((one, i) => one || forOwn[i]!),
    ownMixed,
  );

  const pickRow = (rows: readonly number[]) => random.pick(rows);
  const perWord = new Map<string, { B: number; C: number }>();
  const [testB, testC]: [number[], number[]] = [[], []];
  for (const i of random.fork('names').shuffle(concepts.keys())) {
    const word = [...stems[i]!].find((one) => ownWords.has(one));
    if (word === undefined || !isFree(i)) continue;
    const taken = perWord.get(word) ?? { B: 0, C: 0 };
    perWord.set(word, taken);
    const { training, held } = drawnIn[i]!;
    if (training.length > 0 && taken.B < 2 && ++taken.B) testB.push(pickRow(training));
    if (held.length > 0 && taken.C < 2 && ++taken.C) testC.push(pickRow(held));
  }
  const testD = ownMixed.flatMap((i) => (drawnIn[i]!.training.length > 0 ? [pickRow(drawnIn[i]!.training)] : []));
  const trainable = drawings.flatMap(({ concept, style }, row) => (isTraining(style) && !barred[concept] ? [row] : []));
  const leaked = await lookAlikes(features, trainable, [...testB, ...testC, ...testD]);
  const train = trainable.filter((row) => !leaked.has(row));
  const trained = new Set(train.map((row) => drawings[row]!.concept));
  const known = [...trained].flatMap((concept) =>
    drawnIn[concept]!.held.length > 0 ? [pickRow(drawnIn[concept]!.held)] : [],
  );
  const testA = random.fork('known').shuffle(known).slice(0, mostKnown);
  const inOrder = (rows: number[]) => rows.sort((a, b) => a - b);
  return { train, testA: inOrder(testA), testB: inOrder(testB), testC: inOrder(testC), testD: inOrder(testD) };
}
