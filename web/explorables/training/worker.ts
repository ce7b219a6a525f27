/** One run in a thread of its own, so that the page never stalls: answers one request after the other. */
import { init } from 'hopgrad';
import { unpackDrawings } from './drawings.js';
import type { RunOptions } from './model.js';
import { Run } from './run.js';

export interface Start {
  options: RunOptions;
  device: 'wasm' | 'webgpu';
  threads: number;
  /** The packed file of drawings. */
  file: Uint8Array<ArrayBuffer>;
}

let run: Run;

/** What the page may ask. */
const requests = {
  async start({ options, device, threads, file }: Start): Promise<string> {
    const chosen = await init({ device, ...(device === 'wasm' && { threads }) });
    run = new Run(await unpackDrawings(file), options, chosen.device);
    return chosen.description;
  },
  /** @returns the losses of the steps */
  async steps(count: number): Promise<number[]> {
    const losses: number[] = [];
    for (let i = 0; i < count; i++) losses.push(await run.step());
    return losses;
  },
  recall: () => run.recall(),
  matrix: (...args: Parameters<Run['matrix']>) => run.matrix(...args),
  searchWords: (...args: Parameters<Run['searchWords']>) => run.searchWords(...args),
  searchPicture: (...args: Parameters<Run['searchPicture']>) => run.searchPicture(...args),
  weights: () => run.weights(),
};
export type Requests = typeof requests;

let last: Promise<unknown> = Promise.resolve();

self.onmessage = ({ data: { id, name, args } }) => {
  // In turn: a search in the middle of a step would find the model in another mode.
  last = last.then(async () => {
    try {
      const answer = await (requests[name as keyof Requests] as (...args: unknown[]) => unknown)(...args);
      postMessage({ id, answer });
    } catch (error) {
      postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
};
