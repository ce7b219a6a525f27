/**
 * What all optimisers share: groups of parameters, checks of gradients, clipping, counts, state, and steps that change
 * nothing when they fail. An optimiser itself is its update equation: see sgd.ts.
 */
import { zeros } from '../../autograd/create.js';
import { checkOptions } from '../../autograd/ops/options.js';
import { Tensor } from '../../autograd/tensor.js';
import { refuseInCapture } from '../../kernels/context.js';
import { type Storage, sameDevice, touch } from '../../kernels/device.js';
import { mul } from '../../kernels/scalar.js';
import { keep } from '../../kernels/scope.js';
import { flat } from '../../kernels/walk.js';
import { CheckpointError, DomainError, describeValue, UsageError } from '../../tensor/errors.js';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape.js';
import { assign, Parameter } from '../module.js';
import { checkFinite, checkFits, clipFactor, clipUnseen, normsOf, squaredNorms } from './gradients.js';

/** What every optimiser takes beside its own numbers. */
export interface OptimizerOptions {
  /** η, the learning rate, ≥ 0. May be changed between steps (`optimizer.lr = …`). */
  lr?: number;
  /** Scale gradients down to this L2 norm, over all parameters together, when it is larger. Default: never. */
  maxGradNorm?: number | null;
  /** Refuse gradients with a NaN or an infinity, naming the parameter, and change nothing. Default true. */
  checkFinite?: boolean;
}

/** The numbers of an optimiser that a group may have for itself. λ applies to parameters that want decay, see Parameter.decay. */
export interface Numbers {
  weightDecay: number;
}

/**
 * Parameters that share numbers of their own; what a group does not say, the optimiser's options say.
 * `lrScale` is the group's factor on the rate, which schedules move for all groups together. Default 1.
 */
export type ParameterGroup<N extends Numbers = Numbers> = {
  parameters: Iterable<Tensor>;
  lrScale?: number;
} & Partial<N>;

/** A group as an optimiser keeps it, complete. Its numbers may be changed between steps. */
export type Group<N extends Numbers> = { readonly parameters: readonly Tensor[]; lrScale: number } & N;

/** What an option must be: a test, and the words for it. */
export type Range = readonly [ok: (value: unknown) => boolean, expected: string];
const number = (ok: (x: number) => boolean) => (x: unknown) => typeof x === 'number' && ok(x);
export const notNegative: Range = [number((x) => x >= 0 && Number.isFinite(x)), 'a finite number ≥ 0'];
export const positive: Range = [number((x) => x > 0 && Number.isFinite(x)), 'a finite number > 0'];
export const fraction: Range = [number((x) => x >= 0 && x < 1), 'a number in [0, 1)'];
export const fractions: Range = [
  (x) => Array.isArray(x) && x.length === 2 && x.every(fraction[0]),
  'two numbers in [0, 1)',
];
export const yesOrNo: Range = [(x) => typeof x === 'boolean', 'true or false'];

/** A parameter, its group, and what the optimiser remembers of it. */
export interface Member<N extends Numbers, S extends string> {
  readonly parameter: Tensor;
  readonly group: Group<N>;
  readonly slots: Record<S, Tensor>;
  updates: number;
}

/** A member that has a gradient. */
export interface Pending<N extends Numbers, S extends string> {
  member: Member<N, S>;
  grad: Storage;
}

/**
 * What continuing exactly needs: the steps made, the updates of each parameter, and what the optimiser remembers (moments
 * and the like), each in the order of the parameters.
 */
export type OptimizerState<S extends string = string> = { step: number; steps?: number[] } & (string extends S
  ? unknown
  : { [slot in S]: Tensor[] });

/** How a class describes itself to the base. */
export interface Design<N extends Numbers, S extends string> {
  /** For messages, in which a class's own name may be minified. */
  name: string;
  lr: number;
  numbers: N;
  ranges: Record<keyof N, Range>;
  /** What it remembers of each parameter, beginning with zeros. */
  slots: readonly S[];
  /** Shape of what is remembered. Default: the parameter's. */
  shape?(slot: S, parameter: Shape): Shape;
}

/** @throws UsageError, DomainError */
function checkRange(name: string, option: string, value: unknown, [ok, expected]: Range): void {
  if (!ok(value)) throw new DomainError(name, { received: `${option} ${describeValue(value)}`, expected });
}

/**
 * The base of optimisers over a list of parameters, or of groups of them. Parameters are updated in place; parameters
 * without a gradient are left alone, and one that is listed twice is one.
 */
export abstract class Optimizer<N extends Numbers = Numbers, S extends string = string> {
  lr: number;
  /** All parameters, group after group. */
  readonly parameters: readonly Tensor[];
  readonly groups: readonly Group<N>[];
  readonly maxGradNorm: number | null;
  readonly checkFinite: boolean;
  /** The numbers of groups that have none of their own. */
  protected readonly numbers: Readonly<N>;
  protected readonly op: string; // for messages
  protected readonly slots: readonly S[];
  readonly #members: readonly Member<N, S>[];
  #step = 0;
  #lastGradNorm: number | null = null;

  /** @throws UsageError for what is no list of tracked tensors or groups of them; DomainError for numbers out of range */
  protected constructor(
    given: Iterable<Tensor> | Iterable<ParameterGroup<N>>,
    options: (OptimizerOptions & Partial<N>) | undefined,
    { name, lr, numbers, ranges, slots, shape = (_, own) => own }: Design<N, S>,
  ) {
    const keys = Object.keys(ranges) as (keyof N & string)[];
    if (given instanceof Tensor)
      throw new UsageError(name, { received: 'one tensor', expected: 'a list of them', hint: 'Wrap it: [x].' });
    checkOptions(name, options, ['lr', 'maxGradNorm', 'checkFinite', ...keys]);
    const numbersOf = (from: Partial<N>, fallback: N) => {
      const found: Record<string, unknown> = Object.fromEntries(keys.map((key) => [key, from[key] ?? fallback[key]]));
      for (const key of keys) checkRange(name, key, found[key], ranges[key]);
      return found as unknown as N;
    };
    this.op = name;
    this.slots = slots;
    this.lr = options?.lr ?? lr;
    this.maxGradNorm = options?.maxGradNorm ?? null;
    this.checkFinite = options?.checkFinite ?? true;
    this.numbers = numbersOf(options ?? {}, numbers);
    checkRange(name, 'lr', this.lr, notNegative);
    if (this.maxGradNorm !== null)
      checkRange(name, 'maxGradNorm', this.maxGradNorm, [number((x) => x > 0), 'a number > 0, or null']);
    const list: readonly (Tensor | ParameterGroup<N>)[] = [...given];
    const groups = list.some(isGroup) ? list : [{ parameters: list } as unknown as ParameterGroup<N>];
    this.groups = groups.map((group) => {
      if (!isGroup(group))
        throw new UsageError(name, { received: 'groups and tensors in one list', expected: 'one or the other' });
      checkOptions(`${name}, a group`, group, ['parameters', 'lrScale', ...keys]);
      const lrScale = group.lrScale ?? 1;
      checkRange(name, 'lrScale', lrScale, notNegative);
      return { ...numbersOf(group, this.numbers), lrScale, parameters: [...new Set(group.parameters)] };
    });
    this.parameters = this.groups.flatMap(({ parameters }) => parameters);
    this.#checkParameters();
    this.#members = this.groups.flatMap((group) =>
      group.parameters.map((parameter) => {
        const { dtype, device } = parameter;
        const entries = slots.map((slot) => [slot, zeros(shape(slot, parameter.shape), { dtype, device })] as const);
        for (const [, { storage }] of entries) keep(storage);
        return { parameter, group, slots: Object.fromEntries(entries) as Record<S, Tensor>, updates: 0 };
      }),
    );
  }

  #checkParameters(): void {
    const { parameters } = this;
    // A frozen Parameter may be listed: it has no gradient, until it is thawed.
    const untracked = parameters.some((p) => !(p instanceof Parameter || (p instanceof Tensor && p.requiresGrad)));
    const twice = new Set(parameters).size < parameters.length;
    if (parameters.length > 0 && !untracked && !twice) return;
    throw new UsageError(this.op, {
      received: twice ? 'a parameter in two groups' : untracked ? 'a tensor without requiresGrad' : 'no parameters',
      expected: twice
        ? 'each in one'
        : 'tensors with requiresGrad, such as model.parameters(), or groups { parameters, … }',
    });
  }

  /** The class, how many numbers it moves, the rate and the steps made. */
  toString(): string {
    const { optimizer, parameters, lr, step } = this.toJSON();
    return `${optimizer}: ${parameters.toLocaleString('en')} parameters, lr ${lr}, step ${step}`;
  }

  /** The same, for JSON.stringify; what going on needs is in state(). */
  toJSON(): { optimizer: string; parameters: number; lr: number; step: number } {
    const parameters = sum(this.parameters.map(({ shape }) => sizeOf(shape)));
    return { optimizer: this.op, parameters, lr: this.lr, step: this.#step };
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Updates parameters in place, and what is remembered of them; the gradient of each is `grad` times `gradScale`. */
  protected abstract move(pending: readonly Pending<N, S>[], gradScale: number): void;

  /** λ of a parameter: 0 for one that is not to decay. */
  protected decayOf({ parameter, group }: Member<N, S>): number {
    return !(parameter instanceof Parameter) || parameter.decay ? group.weightDecay : 0;
  }

  /** η of a parameter. */
  protected rateOf({ group }: Member<N, S>): number {
    return this.lr * group.lrScale;
  }

  /**
   * Updates every parameter that has a gradient. The update is made at once; the promise gives the event loop a
   * turn in which unused memory is returned, so await it in loops that do not use scoped().
   *
   * On a device that answers asynchronously the check for finite gradients is answered with the promise: when it
   * rejects, parameters and moments are again what they were before.
   * @throws DomainError for a gradient that is not finite, or a rate that is no number ≥ 0; DTypeError, DeviceError,
   *   ShapeError, GraphError for a gradient that is not its parameter's. Nothing is changed then.
   */
  step(): Promise<void> {
    const op = `${this.op}.step`;
    refuseInCapture('updates parameters, whose rate and bias correction change with every step');
    checkRange(op, 'lr', this.lr, notNegative);
    const pending = this.#pending();
    const { device } = this.parameters[0]!.storage;
    if (!device.synchronous && pending.length > 0) return this.#stepUnseen(pending);
    const { maxGradNorm: most } = this;
    const norms = this.checkFinite || most !== null ? squaredNorms(pending.map(({ grad }) => grad)) : [];
    const check = (squares: readonly number[]) =>
      this.checkFinite && checkFinite(op, squares, (n) => this.#describe(pending[n]!));
    check(norms);
    if (norms.length > 0) this.#lastGradNorm = Math.sqrt(sum(norms));
    const scale = most === null ? 1 : clipFactor(Math.sqrt(sum(norms)), most);
    // The second moment is g², in the parameter's dtype.
    check(norms.map((norm, n) => (pending[n]!.grad.dtype === 'float32' ? Math.fround(norm * scale ** 2) : norm)));
    this.#step++;
    this.#advance(pending, scale);
    return device.settle();
  }

  /** Parameters with gradients. @throws as step() for those that do not fit */
  #pending(): Pending<N, S>[] {
    return this.#members.flatMap((member) => {
      const { grad } = member.parameter;
      if (grad === null) return [];
      checkFits(`${this.op}.step`, member.parameter, grad);
      for (const slot of this.slots) member.slots[slot] = beside(member.slots[slot], member.parameter);
      return { member, grad: grad.storage };
    });
  }

  #describe({ member: { parameter } }: Pending<N, S>): string {
    const { length } = this.parameters;
    const place = `parameter ${this.parameters.indexOf(parameter) + 1} of ${length}, of shape ${formatShape(parameter.shape)}`;
    return parameter instanceof Parameter && parameter.name !== null ? `${parameter.name} (${place})` : place;
  }

  #advance(pending: readonly Pending<N, S>[], gradScale: number): void {
    for (const { member } of pending) member.updates++;
    this.move(pending, gradScale);
    for (const { member } of pending) touch(member.parameter.storage);
  }

  /**
   * The global gradient norm of the last update, √Σ‖g‖² before clipping, at no cost; known when the promise of step() has been
   * answered. Null before the first update, and with neither checkFinite nor maxGradNorm.
   */
  get lastGradNorm(): number | null {
    return this.#lastGradNorm;
  }

  /** The global gradient norm, √Σ‖g‖²; 0 without gradients. For devices that can be read at once. */
  gradNorm(): number {
    return Math.sqrt(sum(squaredNorms(this.#pending().map(({ grad }) => grad))));
  }

  /**
   * A step on a device that answers asynchronously. Nothing waits: the clipping factor stays there, and what was before
   * is held (a copy costs such a device nothing) until it is known that the gradients were finite.
   */
  #stepUnseen(pending: readonly Pending<N, S>[]): Promise<void> {
    const grads = pending.map(({ grad }) => grad);
    const { device } = grads[0]!;
    for (const grad of grads) sameDevice(`${this.op}.step`, device, grad.device);
    const { maxGradNorm: most } = this;
    const clip = most === null ? null : clipUnseen(grads, most);
    const norms = clip?.norms ?? (this.checkFinite ? normsOf(grads) : null);
    const held = this.checkFinite ? pending.map(({ member }) => this.#hold(member)) : [];
    this.#step++;
    if (clip === null) this.#advance(pending, 1);
    else {
      const factor = { storage: clip.factor, strides: [0] };
      const scaled = pending.map(({ member, grad }) => ({
        member,
        grad: device.zip(mul, [grad.size], flat(grad), factor),
      }));
      this.#advance(scaled, 1);
      for (const storage of [...scaled.map(({ grad }) => grad), clip.norm, clip.factor]) storage.free();
    }
    if (this.checkFinite) return this.#confirm(norms!, held, pending);
    norms?.free();
    return device.settle();
  }

  /** What a step changes of a parameter, as copies that no scope frees, until it is confirmed or undone. */
  #hold(member: Member<N, S>): { undo(): void; free(): void } {
    const { updates, parameter, slots } = member;
    const copies = [parameter, ...this.slots.map((slot) => slots[slot])].map(({ storage: target }) => {
      const before = target.device.cast(target, target.dtype);
      keep(before);
      return { target, before };
    });
    return {
      undo() {
        for (const { target, before } of copies) {
          target.device.copyInto(target, before);
          touch(target);
        }
        member.updates = updates;
      },
      free() {
        for (const { before } of copies) before.free();
      },
    };
  }

  async #confirm(
    norms: Storage,
    held: readonly { undo(): void; free(): void }[],
    pending: readonly Pending<N, S>[],
  ): Promise<void> {
    const step = this.#step;
    keep(norms);
    try {
      const values = await norms.device.read(norms);
      checkFinite(`${this.op}.step`, values, (n) => this.#describe(pending[n]!));
      this.#lastGradNorm = Math.hypot(...values);
    } catch (error) {
      // Steps that nobody waited for may have followed: once one is undone, so are those after it.
      if (this.#step >= step) {
        for (const { undo } of held) undo();
        this.#step = step - 1;
      }
      throw error;
    } finally {
      norms.free();
      for (const { free } of held) free();
    }
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const parameter of this.parameters) parameter.grad = null;
  }

  /** What a checkpoint needs to continue exactly. The tensors share memory with the optimiser. */
  state(): OptimizerState<S> & { steps: number[] } {
    const lists = this.slots.map((slot) => [slot, this.#members.map(({ slots }) => slots[slot])]);
    const steps = this.#members.map(({ updates }) => updates);
    return { step: this.#step, steps, ...Object.fromEntries(lists) };
  }

  /**
   * Continues from a saved state; without `steps`, all parameters have been updated at every step.
   * @throws CheckpointError when it belongs to other parameters; nothing is changed then
   */
  loadState(state: OptimizerState<S>): void {
    const count = this.parameters.length;
    const remembered = state as unknown as Record<S, readonly Tensor[]>;
    const steps = state.steps ?? this.parameters.map(() => state.step);
    for (const slot of this.slots) {
      const given = remembered[slot] ?? [];
      if (given.length !== count || given.some((t, i) => t.size !== this.#members[i]!.slots[slot].size))
        throw new CheckpointError(`${this.op}.loadState`, {
          received: `${given.length} tensors ${slot}, not all of the sizes remembered here`,
          expected: `${count} in the order of the parameters`,
        });
    }
    if (![state.step, ...steps].every((n) => Number.isSafeInteger(n) && n >= 0) || steps.length !== count)
      throw new CheckpointError(`${this.op}.loadState`, {
        received: `step ${state.step}, and ${steps.length} counts of updates`,
        expected: `whole numbers ≥ 0, and ${count} of them`,
      });
    this.#step = state.step;
    this.#members.forEach((member, i) => {
      member.updates = steps[i]!;
      for (const slot of this.slots) assign(member.slots[slot], remembered[slot][i]!);
    });
  }
}

/** What is remembered, on the device of its parameter, which may have moved. */
function beside(slot: Tensor, { device }: Tensor): Tensor {
  if (slot.device === device) return slot;
  const moved = slot.to(device);
  keep(moved.storage);
  return moved;
}

function isGroup<N extends Numbers>(item: Tensor | ParameterGroup<N>): item is ParameterGroup<N> {
  return !(item instanceof Tensor) && typeof item === 'object' && item !== null && 'parameters' in item;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
