/** Decoding and transforming on worker threads, next to training. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { DataError, UsageError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { decode, type ImageInput } from './decode.js';
import { loadSharp } from './sharp.js';
import { evalTransform, type TransformOptions, trainTransform } from './transforms.js';

/** A picture to prepare. `view` names the random training view; without it the evaluation transform is used. */
export interface PrepareJob {
  image: ImageInput;
  transform: TransformOptions;
  view?: { seed: number; epoch: number; index: number | string };
}

/** What a worker answers: RGB planes [3, S, S], or why there are none. */
export type Prepared = { pixels: Uint8Array } | { error: string };

/** The training view depends on (seed, epoch, row) alone: not on the order, the batch or the worker. */
export async function prepare({ image, transform, view }: PrepareJob): Promise<Prepared> {
  try {
    const picture = await decode(image, { ...transform, drawnSide: 2 * transform.size });
    const pixels = view
      ? trainTransform(
          picture,
          new Random(view.seed).fork(`view of row ${view.index} in epoch ${view.epoch}`),
          transform,
        )
      : evalTransform(picture, transform);
    return { pixels };
  } catch (error) {
    if (error instanceof DataError) return { error: error.received };
    throw error;
  }
}

interface Waiting {
  job: PrepareJob;
  resolve: (prepared: Prepared) => void;
  reject: (error: Error) => void;
}

/**
 * Prepares pictures on `workers` threads, each one at a time; 0 prepares on the calling thread. Default: one fewer than
 * processors, 1 to 8. Threads start with the
 * first job, keep the process alive only while they have one, and end at `close`.
 */
export class Preparer {
  readonly #limit: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Waiting>();
  readonly #queue: Waiting[] = [];
  #closed = false;

  constructor(workers = Math.min(8, Math.max(1, availableParallelism() - 1))) {
    this.#limit = workers;
  }

  /** Its threads, and the pictures that wait for them. */
  toString(): string {
    return `Preparer: ${this.#limit} threads, ${this.#queue.length} pictures waiting`;
  }

  /** The number of its threads, for JSON.stringify. */
  toJSON(): { workers: number } {
    return { workers: this.#limit };
  }

  /** @throws DataError when sharp is needed and not installed; UsageError after close; what is wrong with a picture is in the answer */
  async run(job: PrepareJob): Promise<Prepared> {
    if (this.#closed)
      throw new UsageError('Preparer', { received: 'a picture after close', expected: 'close to come last' });
    const { image } = job;
    if ('pixels' in image) return prepare(job); // nothing to decode: sending the pixels costs more than cropping them
    await loadSharp();
    if (this.#limit === 0) return prepare(job);
    // Bytes may be a small part of a large buffer, which would travel whole.
    const own = 'bytes' in image ? { ...job, image: { bytes: new Uint8Array(image.bytes) } } : job;
    return new Promise((resolve, reject) => {
      this.#queue.push({ job: own, resolve, reject });
      this.#next();
    });
  }

  #next(): void {
    while (this.#queue.length > 0 && !this.#closed) {
      const worker = this.#idle.pop() ?? (this.#busy.size < this.#limit ? this.#start() : undefined);
      if (!worker) return;
      const waiting = this.#queue.shift()!;
      this.#busy.set(worker, waiting);
      worker.ref();
      worker.postMessage(waiting.job);
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL('./prepare-worker.js', import.meta.url));
    worker.on('message', (prepared: Prepared) => {
      if (this.#closed) return; // unref now would let the process end before the thread has
      worker.unref();
      const waiting = this.#busy.get(worker);
      this.#busy.delete(worker);
      this.#idle.push(worker);
      waiting?.resolve(prepared);
      this.#next();
    });
    worker.on('error', (error) => {
      const waiting = this.#busy.get(worker);
      this.#busy.delete(worker);
      waiting?.reject(error);
      this.#next();
    });
    return worker;
  }

  /** Ends the threads; jobs that still wait are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    const abandoned = new UsageError('Preparer', { received: 'close, with pictures under way' });
    for (const { reject } of [...this.#queue.splice(0), ...this.#busy.values()]) reject(abandoned);
    await Promise.all([...this.#idle, ...this.#busy.keys()].map((worker) => worker.terminate()));
  }
}
