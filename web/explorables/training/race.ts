/** One run, or two on the same seed and data: made, advanced step by step together, measured at fixed steps. */
import { Client } from './client.js';
import type { RunOptions } from './model.js';

/** Every so many steps held-out pairs are measured. */
export const every = 25;

export interface Lane {
  name: 'A' | 'B';
  options: RunOptions;
  client: Client;
  /** Of every step. */
  losses: number[];
  /** Held-out R@1 after some steps. */
  recalls: [step: number, recall: number][];
}

export interface Settings {
  device: 'wasm' | 'webgpu';
  lanes: { name: 'A' | 'B'; options: RunOptions }[];
}

export class Race {
  readonly lanes: Lane[];
  /** What the workers found to compute on, once they have started. */
  readonly ready: Promise<string>;
  /** Steps that all runs have made. */
  steps = 0;
  /** Milliseconds of a step of all runs, lately. */
  pace = 0;
  #ended = false;

  /** @param file the packed drawings */
  constructor({ device, lanes }: Settings, file: Uint8Array<ArrayBuffer>) {
    this.lanes = lanes.map((lane) => ({ ...lane, client: new Client(), losses: [], recalls: [] }));
    const threads = Math.max(1, Math.floor(navigator.hardwareConcurrency / lanes.length));
    const starts = this.lanes.map(({ client, options }) => client.ask('start', { device, threads, options, file }));
    this.ready = Promise.all(starts).then(([description]) => description!);
    this.ready.catch(() => {}); // told by the first advance, which waits for it
  }

  /** Steps towards `target`, at most to where held-out pairs are measured next. */
  async advance(target: number): Promise<void> {
    await this.ready;
    const next = Math.min(target, (Math.floor(this.steps / every) + 1) * every);
    const count = Math.min(next - this.steps, 5);
    const start = performance.now();
    const found = await Promise.all(this.lanes.map(({ client }) => client.ask('steps', count)));
    this.pace = (performance.now() - start) / count;
    this.steps += count;
    for (const [i, lane] of this.lanes.entries()) lane.losses.push(...found[i]!);
    if (this.steps % every === 0) await this.measure();
  }

  /** Measures held-out pairs, unless that was done at this step. */
  async measure(): Promise<void> {
    await this.ready;
    const { steps } = this;
    await Promise.all(
      this.lanes.map(async ({ client, recalls }) => {
        if (recalls.at(-1)?.[0] !== steps) recalls.push([steps, await client.ask('recall')]);
      }),
    );
  }

  get ended(): boolean {
    return this.#ended;
  }

  end(): void {
    this.#ended = true;
    for (const { client } of this.lanes) client.end();
  }
}
