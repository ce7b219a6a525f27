/** All that a run's folder holds for its report, read from whatever state the run is in. */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as v from 'valibot';
import { readJson } from '../formats/files.js';
import { DataError } from '../tensor/errors.js';
import { type HeldOut, readHeldOut } from '../train/held-out.js';
import { type RunRecord, readRecord } from '../train/record.js';
import { RunFolder, resultsFile } from '../train/run-folder.js';
import { logLines } from '../train/runs.js';

/** The columns of the log that are drawn. */
export const logColumns = [
  'loss',
  'lr',
  'gradNorm',
  'invTau',
  'beta',
  'pairSimilarity',
  'otherSimilarity',
  'imageP1',
  'textP1',
  'imagePatterns',
  'textPatterns',
] as const;
export type LogColumn = (typeof logColumns)[number];

/** Most points of a curve: more than a screen has pixels. */
const mostPoints = 1000;

/** A curve; y is null where there is no number. */
export interface Curve {
  x: number[];
  y: (number | null)[];
}

/** One direction of search on one set, as evaluation left it. */
export interface RetrievalRow {
  set: string;
  way: 'picture → text' | 'text → picture';
  /** By what: the encoders, or a baseline. */
  by: string;
  /** Queries. */
  count: number;
  /** By k. */
  recall: Record<string, number>;
  medianRank: number | null;
}

/** Zero-shot classification of one set. */
export interface ZeroShotRow {
  set: string;
  /** Null where the run did not write it down: then there is no interval. */
  pictures: number | null;
  classes: number | null;
  accuracy: Record<string, number>;
}

export interface RunData {
  path: string;
  name: string;
  record: RunRecord;
  /** Lines of the log, and of these the steps that were passed over, with the reasons. */
  steps: number;
  lastStep: number | null;
  epochs: number;
  seconds: number;
  skipped: { step: number; why: string }[];
  /** Steps whose loss is no number in the log. */
  lossless: number;
  /** Mean training loss of the last 20 steps that have one. */
  lastLoss: number | null;
  curves: Record<LogColumn, Curve>;
  /** Validations: shares by name, null where there is none. */
  validations: { step: number; meanRecall: number | null; recallAt1: number | null; loss: number | null }[];
  /** Whether the evaluation at the end is there. */
  complete: boolean;
  retrieval: RetrievalRow[];
  zeroShot: ZeroShotRow[];
  heldOut: HeldOut | null;
}

/** Reads a run. @throws DataError, CheckpointError when its record or its figures cannot be read */
export async function readRun(path: string): Promise<RunData> {
  const record = readRecord(join(path, 'manifest.json'));
  const log = await readLog(path);
  const validations = new RunFolder(path).evaluations();
  const results = readResults(join(path, resultsFile));
  const last = validations.at(-1);
  const sets = Array.isArray(last?.sets) ? last.sets : [];
  const validated = sets.flatMap((own): ZeroShotRow[] => {
    const accuracy = v.safeParse(shares, own.zeroShot);
    const { pictures = null, classes = null } = own.classified ?? {};
    return accuracy.success ? [{ set: String(own.set), pictures, classes, accuracy: accuracy.output }] : [];
  });
  return {
    path,
    name: basename(path),
    record,
    ...log,
    validations: validations.map(({ step, meanRecall, recallAt1, loss }) => ({
      step,
      meanRecall: numberOr(meanRecall),
      recallAt1: numberOr(recallAt1),
      loss: numberOr(loss),
    })),
    complete: results !== null,
    retrieval: results ? retrievalOf(results) : [],
    zeroShot: results?.zeroShot?.map((own) => ({ ...own, pictures: own.classes })) ?? validated,
    heldOut: readHeldOut(path),
  };
}

const numberOr = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : null);

async function readLog(path: string) {
  const columns = Object.fromEntries(logColumns.map((key) => [key, { x: [], y: [] }])) as unknown as Record<
    LogColumn,
    Curve
  >;
  const facts = { steps: 0, lastStep: null as number | null, epochs: 0, seconds: 0, lossless: 0 };
  const skipped: RunData['skipped'] = [];
  const losses: number[] = [];
  for await (const line of logLines(path)) {
    facts.steps++;
    facts.lastStep = line.step;
    if (typeof line.epoch === 'number') facts.epochs = Math.max(facts.epochs, line.epoch + 1);
    facts.seconds += numberOr(line.seconds) ?? 0;
    const loss = numberOr(line.loss);
    if (line.skipped !== undefined) skipped.push({ step: line.step, why: String(line.skipped) });
    else if (loss === null) facts.lossless++;
    else if (losses.push(loss) > 20) losses.shift();
    for (const key of logColumns) {
      columns[key].x.push(line.step);
      columns[key].y.push(numberOr(line[key]));
    }
  }
  const curves = Object.fromEntries(logColumns.map((key) => [key, thinned(columns[key])])) as Record<LogColumn, Curve>;
  const lastLoss = losses.length > 0 ? losses.reduce((a, b) => a + b, 0) / losses.length : null;
  return { ...facts, skipped, lastLoss, curves };
}

/** A curve of at most `most` points, each the mean of neighbours that are numbers, at the last of their steps. */
export function thinned({ x, y }: Curve, most = mostPoints): Curve {
  if (x.length <= most) return { x, y };
  const each = Math.ceil(x.length / most);
  const thin: Curve = { x: [], y: [] };
  for (let start = 0; start < x.length; start += each) {
    const end = Math.min(x.length, start + each);
    const known = y.slice(start, end).filter((value) => value !== null);
    thin.x.push(x[end - 1]!);
    thin.y.push(known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : null);
  }
  return thin;
}

const shares = v.record(v.string(), v.pipe(v.number(), v.minValue(0), v.maxValue(1)));
const way = v.looseObject({
  count: v.pipe(v.number(), v.minValue(1)),
  recall: shares,
  medianRank: v.nullish(v.number()),
});
const ways = v.looseObject({ imageToText: way, textToImage: way });
/** What of results.json is shown: that of the emoji, or that of pairs. */
const resultsSchema = v.union([
  v.looseObject({
    retrieval: v.array(
      v.looseObject({
        ...{ set: v.string(), captions: v.string(), trained: ways, neighbours: ways, pixels: ways },
        ...{ retrieved: v.optional(ways), hog: v.optional(ways) }, // runs from before these were measured have none
      }),
    ),
    zeroShot: v.array(v.looseObject({ set: v.string(), classes: v.number(), accuracy: shares })),
  }),
  v.looseObject({ data: v.string(), imageToText: way, textToImage: way, zeroShot: v.optional(v.undefined()) }),
]);
type Results = v.InferOutput<typeof resultsSchema>;

/** results.json; null when it is not there. @throws DataError when it is something else */
function readResults(path: string): Results | null {
  if (!existsSync(path)) return null;
  const { success, output, issues } = v.safeParse(resultsSchema, readJson('report', path, 2 ** 26));
  if (success) return output;
  throw new DataError('report', {
    received: `${path}: ${issues[0]!.message}`,
    expected: 'what hopgrad train writes',
    hint: 'Move it away, and the report does without.',
  });
}

function retrievalOf(results: Results): RetrievalRow[] {
  const rows = (set: string, by: string, { imageToText, textToImage }: v.InferOutput<typeof ways>): RetrievalRow[] =>
    (
      [
        ['picture → text', imageToText],
        ['text → picture', textToImage],
      ] as const
    ).map(([direction, own]) => ({
      set,
      way: direction,
      by,
      count: own.count,
      recall: own.recall,
      medianRank: own.medianRank ?? null,
    }));
  if ('imageToText' in results)
    return rows(results.data as string, 'embeddings', results as v.InferOutput<typeof ways>);
  const emoji = results as Extract<Results, { retrieval: unknown }>;
  return emoji.retrieval.flatMap(({ set, captions, trained, retrieved, neighbours, pixels, hog }) => [
    ...rows(`${set}, ${captions}`, 'embeddings', trained),
    ...(retrieved ? rows(`${set}, ${captions}`, 'embeddings that training pairs answer', retrieved) : []),
    ...rows(`${set}, ${captions}`, 'neighbours by embedding', neighbours),
    ...rows(`${set}, ${captions}`, 'neighbours by pixels', pixels),
    ...(hog ? rows(`${set}, ${captions}`, 'neighbours by HOG', hog) : []),
  ]);
}
