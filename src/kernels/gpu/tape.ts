/**
 * What a run of kernels did, so that it can be done again with other inputs and without the code that asked for it.
 * gpu.js's own pipelines cannot hold a training step: they read every result back to the host, take no buffers that
 * stay on the device, and see each result in the one shape it was made with.
 */
import { type Storage, touch } from '../device.js';
import { type Ending, ended } from './ending.js';
import { type Form, fuse, type Input } from './fuse.js';
import type { Argument, Part } from './launch.js';
import type { Claim } from './pool.js';
import type { Program } from './programs.js';
import type { Site } from './stream.js';

/** Where an operand is found again: made by the run, there before it (and perhaps updated since), or constant. */
type Place<B> = { slot: number } | { storage: Storage } | { constant: B };

type Arg<B> = (Place<B> & { grid: readonly number[] }) | number;

interface Launch<B> {
  kind: 'launch';
  /** Slots that nothing reads after it. */
  dead: number[];
  program: Program;
  output: readonly number[];
  args: readonly Arg<B>[];
  slot: number;
  site: Site;
  /** Of elementwise kernels; their operands come first in `args`. */
  form?: Form | undefined;
  /** Of others to which an elementwise step could be added. */
  ending?: Ending | undefined;
}

type Elementwise<B> = Launch<B> & { form: Form };

/** What putting steps together needs of a device. */
interface Fuser {
  /** What runs a form: a program, its grid, and the integers to append to its operands. */
  lower(form: Form): { program: Program; output: readonly number[]; values: number[] };
  /** Compiles a program that the replay will need. */
  prepare(program: Program, rank: number): void;
}

type Step<B> = { dead: number[] } & (
  | Launch<B>
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
  #steps: Step<B>[] = [];
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

  launched(
    program: Program,
    output: readonly number[],
    operands: readonly Operand[],
    result: Storage,
    can: Pick<Launch<B>, 'form' | 'ending'>,
  ): void {
    const args = operands.map((operand) =>
      typeof operand === 'number' ? operand : { ...this.#place(operand.storage), grid: operand.grid },
    );
    this.#steps.push({
      kind: 'launch',
      program,
      output,
      args,
      slot: this.#slotFor(result),
      site: {},
      ...can,
      dead: [],
    });
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

  /** What the recording gives. */
  gives(results: readonly Storage[]): void {
    this.#results = results.map((storage) => this.#place(storage));
  }

  /** Ends the recording: from where on each intermediate is no longer needed. */
  finish(): void {
    const needed = new Set(this.#results.flatMap((place) => ('slot' in place ? [place.slot] : [])));
    for (let i = this.#steps.length - 1; i >= 0; i--) {
      const step = this.#steps[i]!;
      const used = slotsOf(step);
      if (step.kind !== 'update') used.push(step.slot);
      for (const slot of used) {
        if (slot < this.#inputs || needed.has(slot)) continue;
        needed.add(slot);
        step.dead.push(slot);
      }
    }
    this.#slots.clear();
  }

  /** Steps compute themselves what only they read: elementwise ones what is elementwise, and at the end of other kernels. */
  fuse({ lower, prepare }: Fuser): void {
    const uses = new Map<number, number>();
    const use = (step: Step<B>, count: number) => {
      for (const slot of slotsOf(step)) uses.set(slot, (uses.get(slot) ?? 0) + count);
    };
    for (const step of this.#steps) use(step, 1);
    for (const slot of this.#results.flatMap(slotOf)) uses.set(slot, Infinity);
    const made = new Map<number, { step: Launch<B>; at: number }>();
    /** The last step that updated a storage: what reads it before must not read it later instead. */
    const updated = new Map<Storage, number>();
    const [gone, changed] = [new Set<Step<B>>(), new Set<Launch<B>>()];
    const late = (arg: Arg<B>, at: number) =>
      typeof arg !== 'number' && 'storage' in arg && (updated.get(arg.storage) ?? -1) > at;
    /** Operands that only this step reads, with the steps that made them. */
    const own = (step: Elementwise<B>) =>
      inputsOf(step).flatMap(({ arg }, i) => {
        const inner = slotOf(arg).flatMap((slot) => (uses.get(slot) === 1 ? (made.get(slot) ?? []) : []))[0];
        return inner && !inner.step.args.some((read) => late(read, inner.at)) ? [{ i, inner: inner.step }] : [];
      });
    const replace = (step: Launch<B>, inner: Launch<B>, by: Partial<Launch<B>>) => {
      for (const old of [step, inner]) use(old, -1);
      gone.add(inner);
      Object.assign(step, by);
      use(step, 1);
      changed.add(step);
    };
    /** Takes one more elementwise step in. @returns whether there was one */
    const takesIn = (step: Elementwise<B>): boolean =>
      own(step).some(({ i, inner }) => {
        if (!isElementwise(inner)) return false;
        const fused = fuse({ form: step.form, inputs: inputsOf(step) }, i, {
          form: inner.form,
          inputs: inputsOf(inner),
        });
        if (fused) replace(step, inner, { form: fused.form, args: fused.inputs.map(({ arg }) => arg) });
        return fused !== null;
      });
    const endsAnother = (step: Elementwise<B>): boolean =>
      own(step).some(({ i, inner }) => {
        const found = inner.ending && ended(inner.program, inner.ending, step.form, i);
        if (!found) return false;
        const others = inputsOf(step).flatMap(({ arg }, k) => (k === i ? [] : [arg]));
        const args = [...inner.args, ...others, ...found.values];
        replace(step, inner, { program: found.program, output: inner.output, args, form: undefined });
        return true;
      });
    const walk = (visit: (step: Elementwise<B>) => void) => {
      updated.clear();
      made.clear();
      this.#steps.forEach((step, at) => {
        if (step.kind === 'update') updated.set(step.target, at);
        if (isElementwise(step)) visit(step);
        if (step.kind === 'launch') made.set(step.slot, { step, at });
      });
      this.#steps = this.#steps.filter((step) => !gone.has(step));
    };
    walk((step) => {
      while (takesIn(step));
    });
    for (const step of changed) {
      if (gone.has(step)) continue;
      const { values, ...lowered } = lower(step.form!);
      Object.assign(step, lowered, { args: [...step.args, ...values] });
    }
    walk(endsAnother);
    for (const step of changed) if (!gone.has(step)) prepare(step.program, step.output.length);
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

const isElementwise = <B>(step: Step<B>): step is Elementwise<B> => step.kind === 'launch' && step.form !== undefined;

const slotOf = (place: Place<unknown> | number): number[] =>
  typeof place !== 'number' && 'slot' in place ? [place.slot] : [];

/** The slots that a step reads. */
function slotsOf<B>(step: Step<B>): number[] {
  const places = step.kind === 'launch' ? step.args : step.kind === 'join' ? step.parts : [step.source];
  return places.flatMap(slotOf);
}

const keys = new WeakMap<object, number>();
let count = 0;

/** The operands of a step for {@link fuse}: equal keys for equal contents. */
function inputsOf<B>({ args, form }: Elementwise<B>): Input<{ arg: Arg<B> }>[] {
  return args.slice(0, form.strides.length).map((arg) => {
    if (typeof arg === 'number') return { arg, value: arg };
    if ('slot' in arg) return { arg, key: `slot ${arg.slot}` };
    const what = ('storage' in arg ? arg.storage : arg.constant) as object;
    if (!keys.has(what)) keys.set(what, count++);
    return { arg, key: `there ${keys.get(what)}` };
  });
}
