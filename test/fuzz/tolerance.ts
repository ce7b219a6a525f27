/**
 * What a float32 device may answer, derived from the program itself. The centre is the program in double precision.
 * Around it, some runs in double precision in which every op rounds as float32 would, at random: what they differ
 * by is what rounding can do to this program at these values, cancellation and ties included. An op must be as good as
 * one whose inputs and output are off by a few units in the last place (mixed stability); what happens inside a fused
 * op is not excused.
 */
import { registeredOps, Tensor, tensor } from 'hopgrad';
import { apply, type Op, type VjpContext } from '#src/autograd/op.js';
import { Storage } from '#src/kernels/device.js';
import { type Helpers, helpers, type Program, type Results, run } from './program.js';

/** How coarsely a kind of device rounds. */
export interface Rounding {
  /** Relative error of an op's inputs and output. */
  relative: number;
  /** Absolute errors that some functions are allowed: by the languages of graphics, or as a logarithm of a sum near 1. */
  absolute: Record<string, number>;
  /** Whether sums and products of small numbers are exact, so that ties stay ties. */
  exact: boolean;
}

/** Logarithms of sums near 1; and gelu's ½ x (1 + erf(x/√2)), whose sum loses its digits in double precision from x = −5 on. */
const nearOne = { logSoftmax: 2 ** -24, logSumExp: 2 ** -24, gelu: 2 ** -49 };
export const float32: Rounding = { relative: 2 ** -22, absolute: nearOne, exact: true };
export const graphics: Rounding = {
  relative: 2 ** -19,
  absolute: {
    ...nearOne,
    ...{ sin: 2 ** -11, cos: 2 ** -11, tan: 2 ** -10, asin: 2 ** -11, acos: 2 ** -11, atan: 2 ** -11, atan2: 2 ** -11 },
    ...{ tanh: 1e-5, log: 2 ** -20, log2: 2 ** -20, log10: 2 ** -20, log1p: 2 ** -20, pow: 0 },
    ...{ asinh: 2 ** -20, acosh: 2 ** -20, atanh: 2 ** -20 },
  },
  exact: false,
};

/** Ops that choose or move numbers and compute none. */
const exact = new Set(
  'abs argmax argmin argsort cast ceil clone concat equal expand flip floor gather greater greaterEqual identity less lessEqual max maximum min minimum neg pad permute relu reshape round sign slice where'.split(
    ' ',
  ),
);
/** One rounding, of the output. */
const roundedOnce = new Set(['add', 'sub', 'mul', 'square', 'div', 'sqrt']);
/** Sums of products: exact on small multiples of 1/16. */
const polynomial = new Set(
  'add sub mul square sum matmul conv2d conv2dInputGrad conv2dWeightGrad scatterAdd'.split(' '),
);
const products = new Set('matmul conv2d conv2dInputGrad conv2dWeightGrad'.split(' '));
/** Fused ops that square what they are given. */
const squares = new Set('attention layerNorm batchNorm'.split(' '));
/** Functions whose slope passes through 0 as a difference of parts of size 1: it is as good as these. */
const slopes = new Set(['gelu', 'quickGelu']);
const onGrid = (x: number) => Number.isInteger(x * 16) && Math.abs(x) <= 64;

/** Uniform in ±[½, 1], quickly: the noise has no need of a good generator. */
function noiseSource(seed: number): () => number {
  let state = (seed * 2654435761) | 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) | 0;
    const bits = Math.imul(state ^ (state >>> 13), 3266489917);
    const magnitude = 0.5 + ((bits >>> 8) & 0xffff) / 131072;
    return bits & 1 ? magnitude : -magnitude;
  };
}

/** Whether the op that runs must bear values inside that are beyond float32. */
let wide = false;

/** Runs `body` while every op rounds as `rounding` says, at random. */
function whileRounding<T>(rounding: Rounding, seed: number, body: () => T): T {
  const noise = noiseSource(seed);
  const range = (x: number) => (wide ? x : toRange(x, noise));
  const blur = (x: Storage, name: string): Storage => {
    if (x.dtype !== 'float64') return x;
    const keepGrid = rounding.exact && polynomial.has(name);
    const absolute = rounding.absolute[name] ?? 0;
    const data = x.device.readSync(x);
    for (let i = 0; i < data.length; i++) {
      const value = data[i]!;
      if (!Number.isFinite(value) || (keepGrid && onGrid(value))) continue;
      const near = value * (1 + rounding.relative * noise()) + absolute * noise();
      const between = Math.abs(near) >= 2 ** 23 && Math.abs(near) < 2 ** 53; // where float32 is whole and float64 is not
      data[i] = range(between ? Math.fround(near) : near);
    }
    return x.device.upload(data);
  };
  /** What overflows inside a fused op or a sum of products is not promised: NaN says so. */
  const outOfRange = (name: string, inputs: readonly (Storage | number)[], kernel: (inputs: never[]) => Storage) => {
    const data = inputs.map((x) => (x instanceof Storage ? x.device.readSync(x) : Float64Array.of(x)));
    // A probability that float32 has as 0, times an infinity, is NaN.
    if (name === 'attention' && data.some((list) => list.includes(Infinity) || list.includes(-Infinity))) return true;
    if (squares.has(name)) return data.some((list) => list.some((x) => Math.abs(x) > 1e18 && Number.isFinite(x)));
    if (!products.has(name)) return false;
    // The zeros around an image are multiplied or left out: with an infinity or a NaN that is not the same.
    if (name !== 'matmul' && data.some((list) => !list.every(Number.isFinite))) return true;
    const magnitudes = inputs.map((x, i) =>
      x instanceof Storage && x.dtype === 'float64'
        ? x.device.upload(data[i]!.map((v) => (Number.isFinite(v) ? Math.abs(v) : 0)))
        : x,
    );
    const result = kernel(magnitudes as never[]);
    return result.device.readSync(result).some((x) => x > largest);
  };
  /** Errors of the size of ȳ, times one rounding. */
  const spray = (t: Tensor) =>
    new Tensor(
      t.storage.device.upload(Float64Array.from(t.dataSync(), (x) => x * rounding.relative * noise())),
      t.shape,
    );
  const undo: (() => void)[] = [];
  for (const op of registeredOps().values()) {
    if (exact.has(op.name) || !op.kernel) continue;
    const { kernel, fusedVjp, name } = op;
    const inputsToo = !roundedOnce.has(name);
    op.kernel = (inputs, context) => {
      const given = inputsToo ? inputs.map((x) => (x instanceof Storage ? blur(x, name) : x)) : inputs;
      const save: typeof context.save = (x, shape) => context.save(blur(x, name), shape);
      const result = blur(kernel(given, { ...context, save }), name);
      if (!outOfRange(name, inputs, (magnitudes) => kernel(magnitudes, context))) return result;
      return result.device.upload(new Float64Array(result.size).fill(Number.NaN));
    };
    if (fusedVjp)
      op.fusedVjp = (context: VjpContext<never>) => {
        const blurred = (t: Tensor) => new Tensor(blur(t.storage, name), t.shape);
        const gradOutput = blurred(context.gradOutput);
        const grads = fusedVjp({ ...context, gradOutput } as never);
        const zeros = slopes.has(name) ? grads?.map((g) => (g ? g.add(spray(gradOutput)) : g)) : grads;
        return zeros?.map((g) => g && blurred(g)) ?? null;
      };
    undo.push(() => Object.assign(op, { kernel, fusedVjp }));
  }
  try {
    return body();
  } finally {
    for (const back of undo) back();
  }
}

/** An op of the tests alone, which the registry does not know: y = f(x) elementwise on the reference device, ȳ likewise. */
function elementwise(name: string, f: (x: number) => number): Op<void> {
  const op: Op<void> = {
    name,
    equation: 'y = f(x)',
    derivative: 'x̄ = f(ȳ)',
    builtIn: false,
    kernel: ([x]) => {
      const { device } = x as Storage;
      return device.upload(Float64Array.from(device.readSync(x as Storage), f));
    },
    vjp: [({ gradOutput }) => apply(op, [gradOutput], undefined)],
  };
  return op;
}

const largest = 3.4028235677973362e38; // from here on float32 rounds to infinity
/** Rounds what float32 cannot hold; below its normal numbers `noise` decides the last bit. */
function toRange(x: number, noise = () => 0): number {
  const magnitude = Math.abs(x);
  if (magnitude >= largest) return x * Infinity;
  if (magnitude < 2 ** -150) return 0 * x;
  return magnitude < 2 ** -126 ? x + 2 ** -149 * noise() : x;
}
const inRange = elementwise('float32 range', (x) => toRange(x));
const wrapped = elementwise('int32 range', (x) => {
  if (!Number.isInteger(x)) return x; // and then no device is right
  return Number.isSafeInteger(x) ? Number(BigInt.asIntN(32, BigInt(x))) : Number.NaN;
});

/** a · b modulo 2³², beyond 2⁵³ as well. */
function product(a: Tensor, b: Tensor): Tensor {
  const [left, right] = [a.dataSync(), b.dataSync()];
  const data = Float64Array.from(left, (x, i) => Number(BigInt.asIntN(32, BigInt(x) * BigInt(right[i]!))));
  return tensor(data, { shape: a.shape, device: 'reference' });
}

/** The helpers of the plain form in double precision. */
function plainHelpers(rounding: Rounding | null, seed: number): Helpers {
  const noise = noiseSource(seed + 77);
  return {
    ...helpers,
    product,
    wide(body) {
      wide = true;
      try {
        return body();
      } finally {
        wide = false;
      }
    },
    bound: (x, dtype) => apply(dtype === 'int32' ? wrapped : inRange, [x.cast('float64')], undefined),
    same(x, shape) {
      const size = shape.reduce((a, b) => a * b, 1);
      if (typeof x === 'number') {
        const value = rounding && Math.fround(x) !== x ? x * (1 + 2 ** -24 * noise()) : x;
        return tensor(new Float64Array(size).fill(value), { shape });
      }
      const own = [...new Array(shape.length - x.rank).fill(1), ...x.shape];
      const indices = Int32Array.from({ length: size }, (_, i) => {
        let [rest, from, stride] = [i, 0, 1];
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          if (own[axis] !== 1) from += (rest % shape[axis]!) * stride;
          rest = Math.floor(rest / shape[axis]!);
          stride *= own[axis]!;
        }
        return from;
      });
      return x
        .reshape([x.size])
        .gather(tensor(indices, { device: 'reference' }))
        .reshape(shape);
    },
  };
}

const form = { text: 'plain', dtype: 'float64', device: 'reference' } as const;

/** The program in double precision, every operand written out in full. */
export function truth(program: Program): Promise<Results> {
  return run(program, form, plainHelpers(null, 0));
}

/** The same, as float32 might round. */
export function rounded(program: Program, rounding: Rounding, seed: number): Promise<Results> {
  return run(program, form, plainHelpers(rounding, seed), (body) => whileRounding(rounding, seed, body));
}

export interface Difference {
  /** v2, ∂/∂x0, ∂²/∂x0 … and the place in it. */
  where: string;
  /** 0 for a value, 1 and 2 for derivatives. */
  order: number;
  actual: number;
  expected: number;
  tolerance: number;
}

/** Named arrays of a result. */
function parts(
  program: Program,
  { values, first, second }: Results,
): { where: string; order: number; data: number[] }[] {
  const free = program.inputs.flatMap(({ dtype }, i) => (dtype === 'int32' ? [] : [`x${i}`]));
  return [
    ...values.map((data, i) => ({ where: program.lines[i]!.name, order: 0, data })),
    ...first.map((data, i) => ({ where: `∂/∂${free[i]}`, order: 1, data })),
    ...second.map((data, i) => ({ where: `∂²/∂${free[i]}`, order: 2, data })),
  ];
}

/**
 * The first place where a device's answer is not explained by rounding; null where all is well. `scale` makes the
 * tolerance that of a finer dtype.
 */
export function compare(
  program: Program,
  actual: Results,
  centre: Results,
  samples: Results[],
  scale = 1,
): Difference | null {
  const expected = parts(program, centre);
  const found = parts(program, actual);
  const others = samples.map((sample) => parts(program, sample));
  for (const [k, { where, order, data }] of expected.entries()) {
    const given = found[k]!.data;
    // A product of more than two whole numbers, beyond 2⁵³: double precision does not know what it wraps to.
    if (program.lines[k]?.dtype === 'int32' && data.some(Number.isNaN)) return null;
    if (given.length !== data.length)
      return { where: `the size of ${where}`, order, actual: given.length, expected: data.length, tolerance: 0 };
    for (let i = 0; i < data.length; i++) {
      const [a, e] = [given[i]!, data[i]!];
      if (Object.is(a, e) || a === e) continue;
      if (order > 0 && !Number.isFinite(e)) continue; // an infinite slope, times 0 or less another, is NaN or not by the order of factors
      let spread = 0;
      let agreed = true;
      for (const other of others) {
        const s = other[k]!.data[i]!;
        if (Number.isFinite(e) && Number.isFinite(s)) spread = Math.max(spread, Math.abs(s - e));
        else if (!Object.is(s, e)) agreed = false; // at the edge of the range, or a tie decides: nothing is promised
      }
      if (!agreed) continue;
      const tolerance = scale * (4 * spread + 2 ** -22 * Math.abs(e)) + 2 ** -125;
      if (Math.abs(e) + tolerance >= largest && a === Math.sign(e) * Infinity) continue;
      if (!(Math.abs(a - e) <= tolerance)) return { where: `${where}[${i}]`, order, actual: a, expected: e, tolerance };
    }
  }
  return null;
}
