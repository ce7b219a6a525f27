/** From choices to a program: each step is run on the reference device as it is added, so that the next fits it. */
import { type DType, HopgradError, Random, registeredOps, type Tensor, tensor } from 'hopgrad';
import { Choices } from './choices.js';
import { helpers, type Input, type Line, type Program } from './program.js';
import { methods, step } from './steps.js';

/** What kind of values a program is fed. */
export type Regime = 'ordinary' | 'ties' | 'integers' | 'special' | 'extreme' | 'edges' | 'huge' | 'apart';
const allRegimes: Regime[] = ['ordinary', 'ties', 'ordinary', 'integers', 'special', 'ordinary', 'extreme'];

export interface Recipe {
  /** Default: any. */
  regimes?: readonly Regime[];
  /** How many axes the first inputs have. Default: 0 to 6. */
  ranks?: readonly number[];
  /** How long these are. Default: mostly short, many 1, some 0. */
  sizes?: readonly number[];
  inputs: number[][];
  steps: { name: string; choices: number[] }[];
}

/** Everything that a step may be: methods with arguments of their own, and each op of the registry. */
export function stepNames(): string[] {
  const ops = [...registeredOps().values()].filter(({ builtIn, name }) => builtIn && name !== 'to');
  return [...new Set([...Object.keys(methods), ...ops.map(({ name }) => name)])].sort();
}

export interface Value {
  name: string;
  tensor: Tensor;
}

const largest = 300;

export class Builder {
  readonly inputs: Input[] = [];
  readonly lines: Line[] = [];
  readonly values: Value[] = [];
  readonly regime: Regime;
  readonly #used = new Set<string>();
  refused: Program['refused'] = null;
  /** The decisions of the step that is being added. */
  choices: Choices;

  constructor(choices: Choices, regimes: readonly Regime[]) {
    this.choices = choices;
    this.regime = choices.pick(regimes);
  }

  /** A new input. */
  input(shape: readonly number[], { dtype = this.dtype(), data }: { dtype?: DType; data?: number[] } = {}): Value {
    const index = data !== undefined;
    const size = shape.reduce((a, b) => a * b, 1);
    const values = data ?? drawValues(this.regime, size, dtype, this.choices);
    this.inputs.push({ data: values, shape: [...shape], dtype, index });
    const value = {
      name: `x${this.inputs.length - 1}`,
      tensor: tensor(values, { shape, dtype, device: 'reference' }),
    };
    if (!index) this.values.push(value);
    return value;
  }

  dtype(): DType {
    if (this.regime === 'integers') return this.choices.once(4) ? 'float32' : 'int32';
    const n = this.choices.int(16);
    return n === 14 ? 'int32' : n === 15 ? 'float64' : 'float32';
  }

  shape(ranks: readonly number[], sizes: readonly number[]): number[] {
    const rank = this.choices.pick(ranks);
    const shape: number[] = [];
    let size = 1;
    for (let i = 0; i < rank; i++) {
      const next = this.choices.pick(sizes);
      shape.push(size * next > largest ? 1 : next);
      size *= shape[i]!;
    }
    return shape;
  }

  /** One of the values there are; 0 is the newest. */
  value(): Value {
    return this.values[this.values.length - 1 - this.choices.int(this.values.length)]!;
  }

  /** Runs a step and adds it, unless it is refused: then it may become the program's last call. */
  add(text: string, plain = text): Value | null {
    const names = [...this.inputs.map((_, i) => `x${i}`), ...this.lines.map(({ name }) => name)];
    const all = new Map(this.all.map(({ name, tensor }) => [name, tensor]));
    let result: Tensor;
    try {
      const { op, fit } = helpers;
      result = new Function('op', 'fit', ...names, `return ${text}`)(op, fit, ...names.map((name) => all.get(name)));
    } catch (error) {
      if (!(error instanceof HopgradError)) throw new Error(`${text} ends in a raw error`, { cause: error });
      this.refused ??= { text, error: error.name };
      return null;
    }
    if (result.size > 100 * largest) return null;
    for (const name of text.match(/\b[vx]\d+\b/g) ?? []) this.#used.add(name);
    const value = { name: `v${this.lines.length}`, tensor: result };
    this.lines.push({ name: value.name, text, plain, dtype: result.dtype, shape: [...result.shape] });
    this.values.push(value);
    return value;
  }

  /** Inputs (indices, too) and results. */
  get all(): Value[] {
    const named = new Map(this.values.map((value) => [value.name, value]));
    return [
      ...this.inputs.map(
        (input, i) =>
          named.get(`x${i}`) ?? { name: `x${i}`, tensor: tensor(input.data, { ...input, device: 'reference' }) },
      ),
      ...this.lines.map(({ name }) => named.get(name)!),
    ];
  }

  program(): Program {
    const free = this.lines.filter(({ name }) => !this.#used.has(name)).map(({ name }) => name);
    const order = ['extreme', 'integers', 'huge'].includes(this.regime) ? 0 : 2;
    return { inputs: this.inputs, lines: this.lines, results: free, refused: this.refused, order };
  }
}

export function build({
  inputs,
  steps,
  regimes = allRegimes,
  ranks = [2, 1, 3, 0, 4, 5, 6],
  sizes = [2, 1, 3, 1, 2, 4, 5, 1, 3, 2, 7, 9, 2, 17, 0, 33],
}: Recipe): Program {
  const builder = new Builder(new Choices(inputs[0] ?? []), regimes);
  inputs.forEach((choices, i) => {
    if (i > 0) builder.choices = new Choices(choices);
    builder.input(builder.choices.once(40) ? [20_000 + builder.choices.int(40_000)] : builder.shape(ranks, sizes));
  });
  for (const { name, choices } of steps) {
    builder.choices = new Choices(choices);
    step(builder, name);
  }
  return builder.program();
}

const specials = [0, 1, -0, -1, Infinity, -Infinity, 0.5, Number.NaN, -2.5, 100, -90, 1e-4, 3, 20];
const extremes = [
  1, 0, 3.4028234663852886e38, -3.4028234663852886e38, 1e20, -1e20, 3e19, 1e-20, -1e-20, 1.2e-38, 30, -2, 1e5, 90, -90,
];
/** Where functions end, jump or are 1: for derivatives at 0⁰, of (−2)ᵇ and the like. */
const edges = [1, 0, 2, -2, 0.5, -1, 3, 0];
const wholes = [1, 0, -1, 2, 3, -5, 7, 16777217, -16777217, 2147483647, -2147483648, 65536, 46341, 100000];

function drawValues(regime: Regime, size: number, dtype: DType, choices: Choices): number[] {
  const kind = choices.int(6);
  const random = new Random(choices.next(), 9);
  const one = (): number => {
    if (dtype === 'int32')
      return regime === 'integers' && kind > 1
        ? random.pick(kind > 3 ? wholes : wholes.slice(0, 9))
        : random.int(9) - 4;
    if (regime === 'edges') return random.pick(edges);
    if (regime === 'huge') return (random.int(2) - 0.5) * (2 + 2 * random.uniform()) * 1e38; // two are too much, all may be little
    if (regime === 'apart') return 10 * random.int(4) + (kind > 2 ? random.uniform() : 0); // e¹⁰ times as much, or ties
    const special = regime === 'special' ? specials : extremes;
    if (regime === 'special' || regime === 'extreme')
      return kind < 3 && random.int(3) > 0 ? 4 * random.uniform() - 2 : random.pick(special);
    if (kind === 1 || (regime === 'ties' && kind < 4)) return (random.int(9) - 4) / 2;
    if (kind === 5) return random.int(4);
    if (kind === 3) return random.normal() * 10 ** random.int(4);
    if (kind === 4) return 20 + 10 * random.int(2) + random.uniform(); // a little beside much
    return 4 * random.uniform() - 2;
  };
  return Array.from({ length: size }, () => (dtype === 'int32' ? one() : Math.fround(one())));
}
