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
 * - **On ranks**: the batches are those of one process, whatever the number of ranks. A row's rank is its place in the epoch modulo
 *   their number; which rows are bad is told to all, and who is a row short by that prepares one of another's.
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
  /**
   * Those among whom every batch is dealt out: each prepares and gets its part of the same batches. In training the parts are of one
   * size; otherwise one may be smaller, or empty.
   */
  ranks?: Ranks;
}

/** Processes that go through the same rows together; a `Group` of hopgrad/distributed is one. */
export interface Ranks {
  readonly rank: number;
  readonly size: number;
  /** What every rank has, in their order; all call it. */
  gatherJson<T>(value: T): T[];
}

const alone: Ranks = { rank: 0, size: 1, gatherJson: (value) => [value] };

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
  /** Rows in this batch, on ranks in this rank's part of it. */
  count: number;
  /** Rows in the whole batch, and the place of each of these in it. */
  of: number;
  places: number[];
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

/** A row of the epoch, and what its rank makes of it; null on the others. */
interface Coming {
  row: Row | BadRow;
  /** The rank that prepares it. */
  owner: number;
  prepared: Promise<Prepared | { failure: unknown }> | null;
}

/** A row that can be used, and where the epoch stands after it. */
interface Ready {
  row: Row;
  owner: number;
  pixels: Uint8Array | null;
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
  const { ranks = alone, batchSize, train = false } = options;
  if (train && batchSize % ranks.size !== 0)
    throw new DomainError('Loader', {
      received: `batches of ${batchSize} for ${ranks.size} ranks`,
      expected: `a multiple of ${ranks.size}, a part for every rank`,
    });
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
      ranks = alone,
    } = options;
    const order = { train, seed, shuffle, dropLast };
    this.source = source;
    this.#options = { batchSize, transform, pictures, ...order, prefetch, maxBadShare, mayBeEmpty, log, ranks };
    this.#preparer = new Preparer(options.workers);
    this.#normalise = normaliser(transform);
  }

  /** Batches an epoch if no row is bad; undefined when the source does not know its size. */
  get batchesPerEpoch(): number | undefined {
    const { size } = this.source;
    const { batchSize, dropLast } = this.#options;
    return size === undefined ? undefined : dropLast ? Math.floor(size / batchSize) : Math.ceil(size / batchSize);
  }

  /** The source, its rows, and the size of batches. */
  toString(): string {
    const { source, rows, batchSize } = this.toJSON();
    return `Loader: ${source}, ${rows === undefined ? '' : `${rows.toLocaleString('en')} rows, `}batches of ${batchSize}`;
  }

  /** What it gives batches of, for JSON.stringify: no rows. */
  toJSON(): { source: string; rows: number | undefined; batchSize: number } {
    return { source: this.source.name, rows: this.source.size, batchSize: this.#options.batchSize };
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
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
    const place = { epoch, row, bad };
    const rows = this.#inOrder(place);
    let ready: Ready[] = [];
    let count = 0;
    try {
      for (;;) {
        const coming = await take(rows, batchSize - ready.length);
        if (coming.length === 0) break;
        const outcomes = await this.#prepared(coming);
        for (const [i, outcome] of outcomes.entries()) {
          const { row, owner } = coming[i]!;
          place.row++;
          if ('error' in outcome) this.#skip(row, outcome.error, place);
          // Only where bad rows have moved the batches against the order of #inOrder: its turn comes in another epoch.
          else if (!(train && sameGroup(ready, row as Row)))
            ready.push({ row: row as Row, owner, pixels: outcome.pixels, next: { ...place } });
        }
        if (ready.length < batchSize) continue;
        yield await this.#batch(ready, epoch);
        ready = [];
        count++;
      }
    } finally {
      await rows.return(undefined);
    }
    this.#judge(place);
    if (ready.length > 0 && !dropLast) yield await this.#batch(ready, epoch);
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

  /** What became of rows: the pixels of this rank's own, null for those of others, and why rows of any rank cannot be used. */
  async #prepared(coming: readonly Coming[]): Promise<({ error: string } | { pixels: Uint8Array | null })[]> {
    const outcomes: ({ error: string } | { pixels: Uint8Array | null })[] = [];
    const broken: [at: number, error: string][] = [];
    for (const [i, { prepared }] of coming.entries()) {
      const outcome = await prepared;
      if (outcome && 'failure' in outcome) throw outcome.failure;
      if (outcome && 'error' in outcome) broken.push([i, outcome.error]);
      outcomes.push(outcome ?? { pixels: null });
    }
    for (const [i, error] of this.#options.ranks.gatherJson(broken).flat()) outcomes[i] = { error };
    return outcomes;
  }

  /** Every row in the order of the epoch, from `start` on; `prefetch` rows ahead of one are being prepared. */
  async *#inOrder({ epoch, row: start }: Place): AsyncGenerator<Coming, void, undefined> {
    const { seed, shuffle, prefetch, train, batchSize, ranks } = this.#options;
    const inOrder = this.source.rows({ seed, epoch, shuffle });
    const underWay: Coming[] = [];
    let position = 0;
    for await (const row of train ? apart(inOrder, batchSize) : inOrder) {
      const owner = position % ranks.size;
      if (position++ < start) continue;
      // Failures are carried as values: a row that is never awaited, after a break, must not reject unheard.
      const prepared =
        owner === ranks.rank ? this.#prepare(row, epoch).catch((failure: unknown) => ({ failure })) : null;
      underWay.push({ row, owner, prepared });
      if (underWay.length > prefetch) yield underWay.shift()!;
    }
    yield* underWay;
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

  /** This rank's part of a batch. What is missing in it because of bad rows comes from those who have too many. */
  async #batch(whole: readonly Ready[], epoch: number): Promise<Batch> {
    const { ranks, train } = this.#options;
    const parts = Array.from({ length: ranks.size }, (_, rank) =>
      whole.flatMap((one, place) => (one.owner === rank ? [{ ...one, place }] : [])),
    );
    if (train) {
      const share = whole.length / ranks.size;
      const left = parts.flatMap((part) => part.splice(share));
      for (const part of parts) part.push(...left.splice(0, share - part.length));
    }
    const ready = await Promise.all(
      parts[ranks.rank]!.map(async (one) => ({ ...one, pixels: one.pixels ?? (await this.#again(one.row, epoch)) })),
    );
    const length = ready[0]?.pixels.length ?? 0;
    const images = new Float32Array(ready.length * length);
    ready.forEach(({ pixels }, i) => {
      this.#normalise(pixels, images, i * length);
    });
    return {
      count: ready.length,
      of: whole.length,
      places: ready.map(({ place }) => place),
      images,
      captions: ready.map(({ row }) => row.caption ?? ''),
      labels: Int32Array.from(ready, ({ row }) => row.label ?? -1),
      indices: ready.map(({ row }) => row.index),
      names: ready.map(({ row }) => row.name),
      next: whole.at(-1)!.next,
    };
  }

  /** Prepares a row that another rank has prepared. @throws DataError when only that one can */
  async #again(row: Row, epoch: number): Promise<Uint8Array> {
    const prepared = await this.#prepare(row, epoch);
    if ('pixels' in prepared) return prepared.pixels;
    throw new DataError('Loader', {
      received: `${row.name}, which rank ${this.#options.ranks.rank} cannot use: ${prepared.error}`,
      expected: 'the same data on every rank',
    });
  }
}

const sameGroup = (ready: readonly Ready[], { group }: Row) =>
  group !== undefined && ready.some((other) => other.row.group === group);

/** The next `count` of a sequence, or as many as are left. */
async function take<T>(from: AsyncGenerator<T, void, undefined>, count: number): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) {
    const { value, done } = await from.next();
    if (done) break;
    taken.push(value as T);
  }
  return taken;
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
