/**
 * What a model makes of pairs it was not trained on, in more than recall: how partners and others compare, how the embeddings lie,
 * which searches go well and which do not, a map. Written into the run's folder as held-out.json, for `hopgrad report`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { tensor } from '../autograd/create.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { loadSharp } from '../data/sharp.js';
import { checkCaptions, type Source } from '../data/source.js';
import { dataUri, thumbnailsOfRows } from '../data/thumbnails.js';
import {
  ajneStatistic,
  alignment,
  effectiveEigenvalues,
  retrievalEntropy,
  similarityStatistics,
  uniformity,
} from '../evaluate/embedding-statistics.js';
import { rankMetrics } from '../evaluate/metrics.js';
import { principalComponents } from '../evaluate/principal-components.js';
import { distinct, rankOf } from '../evaluate/ranks.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { readJson } from '../formats/files.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { DataError } from '../tensor/errors.js';
import { type EmbedOptions, embedSource } from './embed-source.js';
import { type Output, say, withProgress } from './progress.js';
import { checked, count } from './record.js';
import { heldOutFile, type RunFolder } from './run-folder.js';

/** Raised when an older program could not read the file. */
const version = 1;

/** Most pairs of a set that are measured, drawn at random: every one of the emoji's largest set. */
const mostPairs = 1500;
/** Pairs of a set that are on the map. */
const mapPairs = 150;
/** Searches that are shown of the best and of the worst, each way. */
const shown = 8;
/** Longest caption that is kept. */
const longestCaption = 300;

/** Pairs to measure on. */
export interface HeldOutSource {
  /** Its name, and what it tests where there is more to say. */
  set: string;
  title?: string;
  source: Source;
}

const number = v.pipe(v.number(), v.finite());
const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));
const distribution = v.strictObject({
  count,
  mean: number,
  deviation: number,
  least: number,
  largest: number,
  from: number,
  to: number,
  histogram: v.array(count),
});
const side = v.strictObject({
  uniformity: number,
  ajne: number,
  eigenvaluesFor99Percent: count,
  eigenvalues: v.array(number),
  effectivePatterns: number,
});
const way = v.strictObject({
  count,
  recall: v.record(v.string(), share),
  medianRank: number,
  meanRank: number,
});
/** A search: what was asked (a number of `pairs`), where its partner stands (1: first), and the best of the others. */
const search = v.strictObject({ query: count, rank: count, cosine: number, other: count, otherCosine: number });
const searches = v.strictObject({ best: v.array(search), worst: v.array(search) });
const point = v.tuple([number, number]);
const set = v.strictObject({
  set: v.string(),
  title: v.nullable(v.string()),
  count,
  alignment: number,
  partnerCosine: distribution,
  otherCosine: distribution,
  partnerProbability: distribution,
  pictures: side,
  captions: side,
  imageToText: way,
  textToImage: way,
  searches: v.strictObject({ imageToText: searches, textToImage: searches }),
  map: v.strictObject({
    shares: v.array(share),
    points: v.array(v.strictObject({ pair: count, picture: point, caption: point })),
  }),
  pairs: v.array(
    v.strictObject({
      caption: v.string(),
      picture: v.nullable(v.pipe(v.string(), v.regex(/^data:image\/webp;base64,[A-Za-z0-9+/]+=*$/))),
    }),
  ),
});
const schema = v.strictObject({
  format: v.literal('hopgrad held-out figures'),
  version: v.literal(version),
  date: v.pipe(v.string(), v.isoTimestamp()),
  data: v.string(),
  step: v.nullable(count),
  invTau: number,
  beta: number,
  sets: v.array(set),
});

export type HeldOut = v.InferOutput<typeof schema>;
export type HeldOutSet = v.InferOutput<typeof set>;
export type Search = v.InferOutput<typeof search>;

export interface HeldOutOptions extends EmbedOptions {
  /** β of the memories whose patterns are counted. */
  beta: number;
  /** Steps that the weights have behind them, where that is known. */
  step: number | null;
  /** What the pairs are, for people. */
  data: string;
  /** Where it is told what could not be measured or shown. */
  log: (message: string) => void;
}

/**
 * Measures. Of a set of more than 1500 pairs, as many drawn at random take part; every picture and every caption once, so that no
 * other is a partner in disguise.
 * @throws DataError for pictures that cannot be read; DomainError for embeddings that are not finite
 */
export async function measureHeldOut(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  sources: readonly HeldOutSource[],
  { beta, step, data, log, onProgress = () => {}, ...options }: HeldOutOptions,
): Promise<HeldOut> {
  const invTau = await model.invTau().item();
  const canShow = await loadSharp().then(
    () => true,
    (error: DataError) => {
      log(`Pictures are left out of the report: ${error.received}`);
      return false;
    },
  );
  const sets: HeldOutSet[] = [];
  let before = 0;
  for (const wanted of sources) {
    const progress = (done: number) => onProgress(before + done, undefined);
    const embedded = await embedPairs(model, tokenizer, wanted.source, { ...options, log, onProgress: progress });
    before += embedded.rows;
    const n = embedded.captions.length;
    if (n < 2) log(`Not measured: ${wanted.set} has ${n} ${n === 1 ? 'pair' : 'pairs'}, and it takes two`);
    else sets.push(await measureSet(wanted, embedded, { invTau, beta, log, canShow }));
    for (const used of [embedded.x, embedded.y]) used?.dispose();
  }
  const date = new Date().toISOString();
  return { format: 'hopgrad held-out figures', version, date, data, step, invTau, beta, sets };
}

/** Measures, with a bar, into the folder of the weights' run. */
export async function writeHeldOut(
  folder: RunFolder,
  { model, tokenizer }: { model: CloobModel; tokenizer: ClipTokenizer },
  sources: readonly HeldOutSource[],
  { output = process.stderr, ...options }: Omit<HeldOutOptions, 'log' | 'onProgress'> & { output?: Output },
): Promise<void> {
  const figures = await withProgress(
    'Measuring held-out pairs',
    undefined,
    ({ update }) =>
      measureHeldOut(model, tokenizer, sources, {
        ...options,
        log: (text) => say(text, output),
        onProgress: (done) => update(done),
      }),
    { output },
  );
  folder.writeJson(heldOutFile, figures);
}

interface Embedded {
  /** Unit vectors, [pairs, dim] twice. */
  x: Tensor;
  y: Tensor;
  captions: string[];
  /** What a person can find each row by, and its own number in the source. */
  names: string[];
  indices: number[];
  /** Rows that were read. */
  rows: number;
}

async function embedPairs(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  source: Source,
  options: EmbedOptions,
): Promise<Embedded> {
  const { features, captions, names, digests, indices } = await embedSource(model, source, {
    ...options,
    limit: mostPairs,
  });
  checkCaptions(captions, names);
  const rows = apart(distinct(digests).of, distinct(captions).of);
  const chosen = rows.map((row) => captions[row]!);
  const x = noGrad(() => features.gather(tensor(Int32Array.from(rows), { device: features.device })).l2Normalize());
  features.dispose();
  const y = noGrad(() => embedTexts(model, tokenizer, chosen).l2Normalize());
  const own = { names: rows.map((row) => names[row]!), indices: rows.map((row) => indices[row]!) };
  return { x, y, captions: chosen, ...own, rows: names.length };
}

/** Rows whose picture and whose caption are in no row before them that was taken. */
function apart(pictures: readonly number[], captions: readonly number[]): number[] {
  const seen: [Set<number>, Set<number>] = [new Set(), new Set()];
  const rows: number[] = [];
  pictures.forEach((picture, row) => {
    const caption = captions[row]!;
    if (seen[0].has(picture) || seen[1].has(caption)) return;
    seen[0].add(picture);
    seen[1].add(caption);
    rows.push(row);
  });
  return rows;
}

async function measureSet(
  { set: name, title, source }: HeldOutSource,
  { x, y, captions, names, indices }: Embedded,
  { invTau, beta, log, canShow }: { invTau: number; beta: number; log(message: string): void; canShow: boolean },
): Promise<HeldOutSet> {
  const n = captions.length;
  const { positives, negatives, partnerProbability } = await similarityStatistics(x, y, { invTau });
  const plain = ({ histogram, ...own }: typeof positives) => ({ ...own, histogram: [...histogram] });
  const cosines = noGrad(() => x.matmul(y, { transposeB: true }));
  const scores = await cosines.data(); // [n, n], at most mostPairs²
  cosines.dispose();
  const found = {
    imageToText: searchesOf(n, (i, j) => scores[i * n + j]!),
    textToImage: searchesOf(n, (i, j) => scores[j * n + i]!),
  };
  const both = noGrad(() => concat([x, y]));
  const { coordinates, shares } = await principalComponents(both);
  both.dispose();
  const onMap = Array.from({ length: Math.min(n, mapPairs) }, (_, i) => i); // the rows are in random order
  const extremes = { imageToText: extremesOf(found.imageToText), textToImage: extremesOf(found.textToImage) };
  const inSearches = Object.values(extremes).flatMap(({ best, worst }) =>
    [...best, ...worst].flatMap(({ query, other }) => [query, other]),
  );
  const kept = [...new Set([...onMap, ...inSearches])];
  const place = new Map(kept.map((row, i) => [row, i]));
  const inPairs = (list: readonly Search[]) =>
    list.map((own) => ({ ...own, query: place.get(own.query)!, other: place.get(own.other)! }));
  const numbered = ({ best, worst }: typeof extremes.imageToText) => ({ best: inPairs(best), worst: inPairs(worst) });
  const wanted = canShow ? kept.map((row) => indices[row]!) : [];
  const thumbnails = await thumbnailsOfRows(source, wanted, { side: 64, quality: 70 });
  const picture = (row: number): string | null => {
    const found = thumbnails.get(indices[row]!);
    if (found instanceof DataError) log(`No picture of ${names[row]} in the report: ${found.received}`);
    return found instanceof Buffer ? dataUri(found) : null;
  };
  const at = (row: number): [number, number] => [coordinates[row]![0]!, coordinates[row]![1] ?? 0];
  return {
    set: name,
    title: title ?? null,
    count: n,
    alignment: await alignment(x, y),
    partnerCosine: plain(positives),
    otherCosine: plain(negatives),
    partnerProbability: plain(partnerProbability),
    pictures: await sideOf(x, beta),
    captions: await sideOf(y, beta),
    imageToText: rankMetrics(found.imageToText.map(({ rank }) => rank - 1)),
    textToImage: rankMetrics(found.textToImage.map(({ rank }) => rank - 1)),
    searches: { imageToText: numbered(extremes.imageToText), textToImage: numbered(extremes.textToImage) },
    map: {
      shares: shares.map((own) => Math.min(1, own)),
      points: onMap.map((row) => ({ pair: place.get(row)!, picture: at(row), caption: at(n + row) })),
    },
    pairs: kept.map((row) => ({ caption: short(captions[row]!), picture: picture(row) })),
  };
}

const short = (text: string) => (text.length > longestCaption ? `${text.slice(0, longestCaption)}…` : text);

/** Every query's search; partner i of query i. */
function searchesOf(n: number, score: (query: number, candidate: number) => number): Search[] {
  return Array.from({ length: n }, (_, query) => {
    const row = Float64Array.from({ length: n }, (_, j) => score(query, j));
    let other = query === 0 ? 1 : 0;
    for (let j = 0; j < n; j++) if (j !== query && row[j]! > row[other]!) other = j;
    return { query, rank: rankOf(row, [query]) + 1, cosine: row[query]!, other, otherCosine: row[other]! };
  });
}

/** The best: first, and far before the second. The worst: far behind. No search is both. */
function extremesOf(all: readonly Search[]): { best: Search[]; worst: Search[] } {
  const lead = ({ cosine, otherCosine }: Search) => cosine - otherCosine;
  const sorted = [...all].sort((a, b) => a.rank - b.rank || lead(b) - lead(a));
  const most = Math.min(shown, Math.floor(sorted.length / 2));
  return { best: sorted.slice(0, most), worst: sorted.slice(-most).reverse() };
}

/** How one side lies on the sphere, and how widely its memory looks. @param x [n, dim], n ≥ 2 */
export async function sideOf(x: Tensor, beta: number): Promise<v.InferOutput<typeof side>> {
  const { count: leading, eigenvalues } = await effectiveEigenvalues(x);
  return {
    uniformity: await uniformity(x),
    ajne: (await ajneStatistic(x)).statistic,
    eigenvaluesFor99Percent: leading,
    eigenvalues: [...eigenvalues],
    effectivePatterns: (await retrievalEntropy(x, x, { beta })).effectivePatterns,
  };
}

/** The figures in the folder of a run; null when there are none. @throws CheckpointError, DataError when they cannot be read */
export function readHeldOut(folder: string): HeldOut | null {
  const path = join(folder, heldOutFile);
  if (!existsSync(path)) return null;
  const found = checked<HeldOut>(schema, readJson('report', path, 2 ** 30), path, version, 'report');
  for (const { set: name, pairs, map, searches: all } of found.sets) {
    const named = [
      ...map.points.map(({ pair }) => pair),
      ...Object.values(all).flatMap(({ best, worst }) => [...best, ...worst].flatMap((own) => [own.query, own.other])),
    ];
    if (named.some((pair) => pair >= pairs.length))
      throw new DataError('report', {
        received: `${path}: a pair beyond the ${pairs.length} of ${name}`,
        expected: 'what hopgrad writes',
        hint: 'Measure it anew: hopgrad eval --figures.',
      });
  }
  return found;
}
