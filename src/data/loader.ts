/**
 * Batches for training and evaluation from any {@link Source}: tables, folders, tar shards, lists in memory.
 *
 *     const source = await tableSource('pairs.tsv');
 *     const loader = new Loader(source, { batchSize: 64, transform: { size: 224 }, train: true, seed: 1 });
 *     for (let epoch = 0; epoch < 30; epoch++)
 *       for await (const { images, captions, next } of loader.batches({ epoch })) …   // images: [64, 3, 224, 224]
 *     await loader.close();
 *
 * - **Reproducible**: order and pixels are functions of (seed, epoch, row) alone, whatever the number of workers.
 * - **Resumable**: save `batch.next`; `loader.batches(next)` goes on exactly there.
 * - **Next to training**: rows ahead of the current batch are read, decoded and cropped on worker threads while it trains.
 * - **Bounded**: at most `prefetch` prepared pictures (3·S² bytes each) wait; nothing else is kept.
 * - **True negatives**: a training batch holds one row of a group (several drawings of one thing, several captions of one
 *   picture); the others wait for a later batch of the epoch.
 * - **Forgiving, up to a point**: rows that cannot be used are logged once by name, counted and skipped; when they are more
 *   than `maxBadShare` of the rows seen, the run stops with a DataError.
 */
import { DataError, DomainError } from '../tensor/errors.js';
import { type Prepared, type PrepareJob, Preparer } from './preparer.js';
import type { BadRow, Row, Source } from './source.js';
import { type Normalise, normaliser, type TransformOptions } from './transforms.js';

/** How a loader takes rows from a source. */
export interface LoaderOptions {
  batchSize: number;
  /** Size of the pictures and what differs from the official transforms. */
  transform: TransformOptions;
  /** False: pictures are neither read nor in the batches, whose rows are known by their numbers. Default true. */
  pictures?: boolean;
  /** Random order and random crops; otherwise the order of the source and centre crops. Default false. */
  train?: boolean;
  /** Seed of order and crops. Default 0. */
  seed?: number;
  /** Random order. Default: as `train`. */
  shuffle?: boolean;
  /** Leave out a last batch that is not full. Default: as `train`. */
  dropLast?: boolean;
  /** Threads that decode; 0 decodes on the calling thread. Default: one fewer than processors, 1 to 8. */
  workers?: number;
  /** Rows under way beyond the current batch. Default two batches. */
  prefetch?: number;
  /** Largest tolerated share of bad rows, 0 … 1. Default 0.1. */
  maxBadShare?: number;
  /** Whether an epoch may come to no batch at all. Default false. */
  mayBeEmpty?: boolean;
  /** Where a skipped row is reported. Default console.warn. */
  log?: (message: string) => void;
}

/** A place in the stream of batches. */
export interface Place {
  epoch: number;
  /** Rows of the epoch that are done with, bad ones included. */
  row: number;
  /** How many of them were bad: the share of bad rows is judged over the whole epoch, wherever a run goes on. */
  bad: number;
}

/** What the loader hands over at a time. */
export interface Batch {
  /** Rows in this batch. */
  count: number;
  /** Normalised pictures, [count, 3, S, S]. */
  images: Float32Array;
  /** Captions; '' for rows of a source without words. */
  captions: string[];
  /** Classes; −1 for rows of a source without classes. */
  labels: Int32Array;
  /** The rows' own numbers. */
  indices: number[];
  /** The rows' names. */
  names: string[];
  /** Where the next batch begins. */
  next: Place;
}

/** A row whose pixels are there, and where the epoch stands after it. */
interface Ready {
  row: Row;
  pixels: Uint8Array;
  next: Place;
}

/** Rows seen before the share of bad ones is judged; at the end of an epoch it always is. */
const judgedAfter = 100;

function checkOptions(options: LoaderOptions): void {
  const whole = (name: 'batchSize' | 'workers' | 'prefetch', least: number) => {
    const value = options[name];
    if (value !== undefined && (!Number.isInteger(value) || value < least))
      throw new DomainError('Loader', { received: `${name} ${value}`, expected: `a whole number ≥ ${least}` });
  };
  whole('batchSize', 1);
  whole('workers', 0);
  whole('prefetch', 1);
  const { maxBadShare: share = 0.1, transform } = options;
  if (!(share >= 0 && share <= 1))
    throw new DomainError('Loader', { received: `maxBadShare ${share}`, expected: 'a share, 0 … 1' });
  if (!Number.isInteger(transform.size) || transform.size < 1)
    throw new DomainError('Loader', { received: `size ${transform.size}`, expected: 'a whole number of pixels ≥ 1' });
}

/**
 * @param badRows name → why
 * @throws DataError when more than the share `most` of the rows are bad
 */
export function checkBadShare(
  source: string,
  { row, bad }: Pick<Place, 'row' | 'bad'>,
  most: number,
  badRows: ReadonlyMap<string, string>,
): void {
  if (bad <= most * row) return;
  const [name, why] = [...badRows].at(-1) ?? ['one seen before', 'this run goes on after it'];
  throw new DataError('Loader', {
    received: `${bad} of ${row} rows of ${source} cannot be used, for example ${name}: ${why}`,
    expected: `at most ${100 * most} % of bad rows`,
    hint: 'Mend the data, say where pictures are (--img-folder), or tolerate more with --max-bad-share.',
  });
}

/** Batches from a source, see the top of this file. */
export class Loader {
  readonly source: Source;
  readonly #options: Required<Omit<LoaderOptions, 'workers'>>;
  readonly #preparer: Preparer;
  readonly #normalise: Normalise;
  readonly #badRows = new Map<string, string>();

  /** @throws DomainError for options out of range */
  constructor(source: Source, options: LoaderOptions) {
    checkOptions(options);
    const { batchSize, transform, train = false, seed = 0, shuffle = train, dropLast = train } = options;
    const {
      pictures = true,
      prefetch = 2 * batchSize,
      maxBadShare = 0.1,
      mayBeEmpty = false,
      log = console.warn,
    } = options;
    const order = { train, seed, shuffle, dropLast };
    this.source = source;
    this.#options = { batchSize, transform, pictures, ...order, prefetch, maxBadShare, mayBeEmpty, log };
    this.#preparer = new Preparer(options.workers);
    this.#normalise = normaliser(transform);
  }

  /** Batches an epoch if no row is bad; undefined when the source does not know its size. */
  get batchesPerEpoch(): number | undefined {
    const { size } = this.source;
    const { batchSize, dropLast } = this.#options;
    return size === undefined ? undefined : dropLast ? Math.floor(size / batchSize) : Math.ceil(size / batchSize);
  }

  /** The rows skipped so far: name → why. */
  get badRows(): ReadonlyMap<string, string> {
    return this.#badRows;
  }

  /**
   * The batches of one epoch, from a place on.
   * @throws DataError when more than `maxBadShare` of the rows are bad, or none makes a batch
   */
  async *batches({
    epoch,
    row = 0,
    bad = 0,
  }: Partial<Place> & { epoch: number }): AsyncGenerator<Batch, void, undefined> {
    const { batchSize, dropLast, train, mayBeEmpty } = this.#options;
    let ready: Ready[] = [];
    let count = 0;
    for await (const one of this.#usable({ epoch, row, bad })) {
      // Only where bad rows have moved the batches against the order of #inOrder: its turn comes in another epoch.
      const { group } = one.row;
      if (train && group !== undefined && ready.some((other) => other.row.group === group)) continue;
      if (ready.push(one) < batchSize) continue;
      yield this.#batch(ready);
      ready = [];
      count++;
    }
    if (ready.length > 0 && !dropLast) yield this.#batch(ready);
    else if (count === 0 && row === 0 && !mayBeEmpty)
      throw new DataError('Loader', {
        received: `${ready.length} usable rows in ${this.source.name}`,
        expected: dropLast ? `at least one batch of ${batchSize}` : 'at least one',
        ...(dropLast && { hint: 'Use a smaller batch. A training batch holds one row of a picture or thing.' }),
      });
  }

  /** Ends the worker threads. */
  async close(): Promise<void> {
    await this.#preparer.close();
  }

  /** Usable rows in order; bad ones are counted, logged and left out. */
  async *#usable(from: Place): AsyncGenerator<Ready> {
    const place = { ...from };
    for await (const { row, prepared } of this.#inOrder(from)) {
      place.row++;
      if ('pixels' in prepared) yield { row: row as Row, pixels: prepared.pixels, next: { ...place } };
      else this.#skip(row, prepared.error, place);
    }
    this.#judge(place);
  }

  /** Every row with its pixels, in the order of the epoch, `prefetch` rows ahead of the one that is awaited. */
  async *#inOrder({ epoch, row: start }: Place): AsyncGenerator<{ row: Row | BadRow; prepared: Prepared }> {
    const { seed, shuffle, prefetch, train, batchSize } = this.#options;
    const inOrder = this.source.rows({ seed, epoch, shuffle });
    const underWay: { row: Row | BadRow; prepared: Promise<Prepared | { failure: unknown }> }[] = [];
    const first = async () => {
      const { row, prepared } = underWay.shift()!;
      const outcome = await prepared;
      if ('failure' in outcome) throw outcome.failure;
      return { row, prepared: outcome };
    };
    let position = 0;
    for await (const row of train ? apart(inOrder, batchSize) : inOrder) {
      if (position++ < start) continue;
      // Failures are carried as values: a row that is never awaited, after a break, must not reject unheard.
      underWay.push({ row, prepared: this.#prepare(row, epoch).catch((failure: unknown) => ({ failure })) });
      if (underWay.length > prefetch) yield await first();
    }
    while (underWay.length > 0) yield await first();
  }

  async #prepare(row: Row | BadRow, epoch: number): Promise<Prepared> {
    if ('bad' in row) return { error: row.bad };
    const { seed, train, transform, pictures } = this.#options;
    if (!pictures) return { pixels: new Uint8Array() };
    const job: PrepareJob = { image: row.image, transform };
    if (train) job.view = { seed, epoch, index: row.visit ?? row.index };
    return this.#preparer.run(job);
  }

  #skip({ name }: Row | BadRow, why: string, place: Place): void {
    place.bad++;
    if (!this.#badRows.has(name)) this.#options.log(`skipped ${name}: ${why}`);
    this.#badRows.set(name, why);
    if (place.row >= judgedAfter) this.#judge(place);
  }

  #judge({ row, bad }: Place): void {
    checkBadShare(this.source.name, { row, bad }, this.#options.maxBadShare, this.#badRows);
  }

  #batch(ready: Ready[]): Batch {
    const length = ready[0]!.pixels.length;
    const images = new Float32Array(ready.length * length);
    ready.forEach(({ pixels }, i) => {
      this.#normalise(pixels, images, i * length);
    });
    return {
      count: ready.length,
      images,
      captions: ready.map(({ row }) => row.caption ?? ''),
      labels: Int32Array.from(ready, ({ row }) => row.label ?? -1),
      indices: ready.map(({ row }) => row.index),
      names: ready.map(({ row }) => row.name),
      next: ready.at(-1)!.next,
    };
  }
}

/**
 * The rows in an order in which any `count` neighbours are of different groups: a row that comes too early waits until it
 * may follow. What still waits at the end is left out; rows without a group never wait.
 */
export async function* apart(
  rows: Iterable<Row | BadRow> | AsyncIterable<Row | BadRow>,
  count: number,
): AsyncGenerator<Row | BadRow> {
  const groups: (Row['group'] | undefined)[] = []; // of the last `count` rows, a ring
  const waiting = new Map<Row['group'], (Row | BadRow)[]>();
  let at = 0;
  function* follow(row: Row | BadRow): Generator<Row | BadRow> {
    for (let next: Row | BadRow | undefined = row; next; ) {
      yield next;
      groups[at++ % count] = groupOf(next);
      const free = groups[at % count]; // may stand again: its last row is `count` rows back
      next = free === undefined ? undefined : waiting.get(free)?.shift();
    }
  }
  for await (const row of rows) {
    const group = groupOf(row);
    if (group === undefined || !groups.some((other, i) => other === group && i !== at % count)) yield* follow(row);
    else if (!waiting.get(group)?.push(row)) waiting.set(group, [row]);
  }
}

const groupOf = (row: Row | BadRow) => ('group' in row ? row.group : undefined);
