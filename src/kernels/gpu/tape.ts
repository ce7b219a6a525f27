/**
 * What a run of kernels did, so that it can be done again with other inputs and without the code that asked for it.
 * gpu.js's own pipelines cannot hold a training step: they read every result back to the host, take no buffers that
 * stay on the device, and see each result in the one shape it was made with.
 */
import { type Storage, touch } from '../device.js';
import type { Argument, Part } from './device.js';
import type { Claim } from './pool.js';
import type { Program } from './programs.js';
import type { Site } from './stream.js';

/** Where an operand is found again: made by the run, there before it (and perhaps updated since), or constant. */
type Place<B> = { slot: number } | { storage: Storage } | { constant: B };

type Step<B> = { dead: number[] } & (
  | {
      kind: 'launch';
      program: Program;
      output: readonly number[];
      args: readonly ((Place<B> & { grid: readonly number[] }) | number)[];
      slot: number;
      site: Site;
    }
  | { kind: 'join'; parts: readonly (Place<B> & { from: number; size: number })[]; slot: number; claim: Claim }
  | { kind: 'share'; source: Place<B>; slot: number }
  | { kind: 'update'; target: Storage; source: Place<B> }
);

/** `size` elements of a storage, from one of them on. */
export interface Piece {
  storage: Storage;
  from: number;
  size: number;
}

/** A storage seen in some dimensions, or a number. */
export type Operand = { storage: Storage; grid: readonly number[] } | number;

/** What playing needs of a device. */
export interface Player<B> {
  launch(program: Program, output: readonly number[], args: readonly Argument<B>[], site: Site): B;
  join(parts: readonly Part<B>[], claim: Claim): B;
  share(buffer: B): B;
  discard(buffer: B): void;
  bufferOf(storage: Storage): B;
  replace(target: Storage, buffer: B): void;
}

export class Tape<B> {
  readonly #slots = new Map<Storage, number>();
  readonly #constants = new Map<Storage, B>();
  readonly #steps: Step<B>[] = [];
  readonly #inputs: number;
  #results: Place<B>[] = [];
  #next = 0;

  constructor(inputs: readonly Storage[]) {
    for (const input of inputs) this.#slotFor(input);
    this.#inputs = inputs.length;
  }

  #slotFor(storage: Storage): number {
    this.#slots.set(storage, this.#next);
    return this.#next++;
  }

  #place(storage: Storage): Place<B> {
    const slot = this.#slots.get(storage);
    if (slot !== undefined) return { slot };
    const constant = this.#constants.get(storage);
    return constant === undefined ? { storage } : { constant };
  }

  launched(program: Program, output: readonly number[], operands: readonly Operand[], result: Storage): void {
    const args = operands.map((operand) =>
      typeof operand === 'number' ? operand : { ...this.#place(operand.storage), grid: operand.grid },
    );
    this.#steps.push({ kind: 'launch', program, output, args, slot: this.#slotFor(result), site: {}, dead: [] });
  }

  joined(pieces: readonly Piece[], result: Storage): void {
    const parts = pieces.map(({ storage, from, size }) => ({ ...this.#place(storage), from, size }));
    this.#steps.push({ kind: 'join', parts, slot: this.#slotFor(result), claim: {}, dead: [] });
  }

  shared(source: Storage, result: Storage): void {
    const place = this.#place(source);
    this.#steps.push({ kind: 'share', source: place, slot: this.#slotFor(result), dead: [] });
  }

  updated(target: Storage, source: Storage): void {
    this.#steps.push({ kind: 'update', target, source: this.#place(source), dead: [] });
  }

  /** Data that came from the host: the same in every replay. */
  constant(storage: Storage, buffer: B): void {
    this.#constants.set(storage, buffer);
  }

  /** Ends the recording: what it gives, and from where on each intermediate is no longer needed. */
  finish(results: readonly Storage[]): void {
    this.#results = results.map((storage) => this.#place(storage));
    const needed = new Set(this.#results.flatMap((place) => ('slot' in place ? [place.slot] : [])));
    for (let i = this.#steps.length - 1; i >= 0; i--) {
      const step = this.#steps[i]!;
      const places = step.kind === 'launch' ? step.args : step.kind === 'join' ? step.parts : [step.source];
      const used = places.flatMap((place) => (typeof place !== 'number' && 'slot' in place ? [place.slot] : []));
      if (step.kind !== 'update') used.push(step.slot);
      for (const slot of used) {
        if (slot < this.#inputs || needed.has(slot)) continue;
        needed.add(slot);
        step.dead.push(slot);
      }
    }
    this.#slots.clear();
  }

  /** Does it all again. @returns buffers of the results, the caller's own */
  play(device: Player<B>, inputs: readonly B[]): B[] {
    const slots: B[] = [...inputs];
    const find = (place: Place<B>): B =>
      'slot' in place ? slots[place.slot]! : 'storage' in place ? device.bufferOf(place.storage) : place.constant;
    for (const step of this.#steps) {
      if (step.kind === 'launch') {
        const args = step.args.map((arg) =>
          typeof arg === 'number' ? arg : ({ buffer: find(arg), grid: arg.grid } as Argument<B>),
        );
        slots[step.slot] = device.launch(step.program, step.output, args, step.site);
      } else if (step.kind === 'join') {
        const parts = step.parts.map((part) => ({ buffer: find(part), from: part.from, size: part.size }));
        slots[step.slot] = device.join(parts, step.claim);
      } else if (step.kind === 'share') slots[step.slot] = device.share(find(step.source));
      else {
        device.replace(step.target, device.share(find(step.source)));
        touch(step.target);
      }
      for (const slot of step.dead) device.discard(slots[slot]!);
    }
    const results = this.#results.map((place) => device.share(find(place)));
    const made = new Set(this.#results.flatMap((p) => ('slot' in p && p.slot >= this.#inputs ? [p.slot] : [])));
    for (const slot of made) device.discard(slots[slot]!);
    return results;
  }

  /** Kernels that a replay starts. */
  get launches(): number {
    return this.#steps.filter(({ kind }) => kind === 'launch').length;
  }

  /** Gives the constants back. */
  release(discard: (buffer: B) => void): void {
    for (const buffer of this.#constants.values()) discard(buffer);
    this.#constants.clear();
  }
}
