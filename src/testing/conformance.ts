/**
 * One suite of checks for every device, made from the op registry and the kernel vocabulary: what a device computes
 * against plain arithmetic and against the reference device in double precision. It needs nothing of Node and no
 * test framework, so that a page can run it in a browser.
 */
import '../autograd/ops/index.js'; // the ops register themselves
import { tensor } from '../autograd/create.js';
import { enableGrad } from '../autograd/graph.js';
import { type Op, registry } from '../autograd/op.js';
import { Tensor } from '../autograd/tensor.js';
import { withDevice } from '../kernels/devices.js';
import { toTypedArray } from '../tensor/dtype.js';
import { Random } from '../tensor/random.js';
import { emptySums } from './empty-sums.js';
import { kernelCases } from './kernel-cases.js';
import { testOf } from './oracles/index.js';
import { asFunction, drawTrial, expectedOutput } from './trials.js';

/** What one check found: the largest difference, and what is allowed. */
export interface Outcome {
  error: number;
  tolerance: number;
  /** Where, or what went wrong. */
  detail?: string;
}

/** One thing that a device must get right. */
export interface ConformanceCase {
  group: 'forward' | 'gradient' | 'special values' | 'kernel' | 'size';
  name: string;
  /** The error on a device, and what is allowed. */
  run(device: string): Promise<Outcome>;
}

/**
 * Bounds of single ops on the gpu.js devices, where the languages of graphics promise less than float32 arithmetic.
 * sin and cos: WGSL and Vulkan promise an absolute error of 2⁻¹¹ only (measured on SwiftShader: 1.9e-4), and
 * tan is made of these.
 */
const graphics: Record<string, number> = { sin: 2 ** -11, cos: 2 ** -11, tan: 2 ** -9 };

type Float = 'float32' | 'float64';

/** Of float64 devices, against the reference in float64: what sums in another order leave. */
const tolerance64 = 1e-13;

function toleranceOf({ name, test }: Op<never>, device: string, dtype: Float): number {
  if (dtype === 'float64') return tolerance64;
  const own = test?.tolerance32 ?? 1e-5;
  return device === 'webgpu' || device === 'webgl2' ? Math.max(own, graphics[name] ?? 0) : own;
}

/** Largest difference over the largest expected magnitude, at least 1; NaN only where NaN is expected. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let most = 0;
  let scale = 1;
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Number.isFinite(e)) scale = Math.max(scale, Math.abs(e));
    if (Object.is(a, e) || a === e) continue;
    const d = Math.abs(a - e);
    most = Number.isNaN(d) ? Infinity : Math.max(most, d);
  }
  return most / scale;
}

/** `cast` and `to` have a dtype and a device as parameters, so their trials are bound to the reference device. */
const bound = new Set(['cast', 'to']);
// biome-ignore lint/suspicious/noExplicitAny: ops of every parameter type
type AnyOp = Op<any>;

function forwardCase(op: AnyOp, seeds: number, dtype: Float): ConformanceCase {
  return {
    group: 'forward',
    name: op.name,
    async run(device) {
      let worst: Outcome = { error: 0, tolerance: toleranceOf(op as never, device, dtype) };
      for (let seed = 0; seed < seeds; seed++) {
        const trial = drawTrial(op, seed);
        const result = (on: string) => {
          const { f, free } = asFunction(op, trial, dtype, on);
          return withDevice(on, () => f(...free));
        };
        // Oracles are written for clarity, not for the last digits of a double.
        const expected = dtype === 'float64' ? result('reference').dataSync() : expectedOutput(op, trial).data;
        const error = difference(await result(device).data(), expected);
        if (error > worst.error) worst = { ...worst, error, detail: `seed ${seed}` };
      }
      return worst;
    },
  };
}

/** Gradients of every input under one fixed gradient of the output. */
function gradients(op: AnyOp, seed: number, dtype: Float, device: string): Tensor[] {
  const { f, free } = asFunction(op, drawTrial(op, seed), dtype, device);
  const leaves = free.map((x) => {
    const leaf = new Tensor(x.storage, x.shape);
    leaf.requiresGrad = true;
    return leaf;
  });
  return withDevice(device, () => {
    const y = enableGrad(() => f(...leaves));
    const weights = Float64Array.from({ length: y.size }, (_, i) => Math.sin(i + 1));
    if (y.requiresGrad) y.backward(tensor(weights, { shape: y.shape, dtype, device }));
    return leaves.map((leaf) => leaf.grad ?? tensor(0, { dtype, device }));
  });
}

function gradientCase(op: AnyOp, seeds: number, dtype: Float): ConformanceCase {
  return {
    group: 'gradient',
    name: op.name,
    async run(device) {
      // A derivative adds a product or two, and its sums run over other axes, to what the op itself costs.
      let worst: Outcome = { error: 0, tolerance: 5 * toleranceOf(op as never, device, dtype) };
      for (let seed = 0; seed < seeds; seed++) {
        const expected = gradients(op, seed, 'float64', 'reference');
        const actual = gradients(op, seed, dtype, device);
        for (const [i, grad] of actual.entries()) {
          const error = difference(await grad.data(), expected[i]!.dataSync());
          if (error > worst.error) worst = { ...worst, error, detail: `input ${i}, seed ${seed}` };
        }
      }
      return worst;
    },
  };
}

const special = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.5, -2.5, 1e-30, 1e30, -1e30];

/** All pairs (or single ones) of NaN, infinities, zeros and extremes, against JavaScript's own arithmetic. */
function specialCase(op: AnyOp, dtype: Float): ConformanceCase {
  const arity = testOf(op).scalar!.length;
  return {
    group: 'special values',
    name: op.name,
    async run(device) {
      const columns = Array.from({ length: arity }, (_, k) =>
        toTypedArray(
          Array.from(
            { length: special.length ** arity },
            (_, i) => special[Math.floor(i / special.length ** k) % special.length]!,
          ),
          dtype,
        ),
      );
      const inputs = columns.map((data) => tensor(data, { device }));
      const f = withDevice(device, () => asSpecial(op, inputs));
      const actual = await f.data();
      const reference = withDevice('reference', () =>
        asSpecial(
          op,
          columns.map((data) => tensor(data, { device: 'reference' })),
        ),
      );
      const expected = reference.dataSync();
      const tolerance = dtype === 'float64' ? tolerance64 : 1e-3;
      for (let i = 0; i < expected.length; i++) {
        const [a, e] = [actual[i]!, expected[i]!];
        // No reduction of large angles is promised in graphics languages.
        if (graphics[op.name] && Math.abs(columns[0]![i]!) > 1e6) continue;
        const near =
          a === e || Object.is(a, e) || (Number.isFinite(e) && Math.abs(a - e) <= tolerance * Math.max(1, Math.abs(e)));
        if (!near)
          return {
            error: Infinity,
            tolerance: 0,
            detail: `(${columns.map((c) => c[i]).join(', ')}) gave ${a}, not ${e}`,
          };
      }
      return { error: 0, tolerance };
    },
  };
}

/** Both promise their digits where eˣ − 1 and ln(1 + x), calculated so, would lose them. */
const nearZero = (dtype: Float): ConformanceCase => ({
  group: 'special values',
  name: 'log1p and expm1 near 0',
  async run(device) {
    const sizes = Array.from({ length: 30 }, (_, i) => 0.9 / 2 ** i);
    const data = toTypedArray([...sizes, ...sizes.map((x) => -x), 1e-20, -1e-20], dtype);
    const x = tensor(data, { device });
    const relative = (actual: ArrayLike<number>, f: (x: number) => number) =>
      Array.from(data).reduce((most, value, i) => Math.max(most, Math.abs(actual[i]! / f(value) - 1)), 0);
    const error = Math.max(relative(await x.log1p().data(), Math.log1p), relative(await x.expm1().data(), Math.expm1));
    return { error, tolerance: dtype === 'float64' ? 1e-15 : 1e-5 };
  },
});

function asSpecial(op: AnyOp, inputs: Tensor[]): Tensor {
  const method = inputs[0]! as unknown as Record<string, (...others: Tensor[]) => Tensor>;
  return method[op.name]!(...inputs.slice(1));
}

/** How much the conformance suite tries. */
export interface ConformanceOptions {
  /** Random trials an op. Default 6. */
  seeds?: number;
  /** Leave out what needs hundreds of megabytes. Default false. */
  quick?: boolean;
  /** What to compute in. Default float32. In float64, for devices that have it, the reference is what is right. */
  dtype?: 'float32' | 'float64';
}

/** Every check, in an order that is good to read. */
export function conformanceCases({
  seeds = 6,
  quick = false,
  dtype = 'float32',
}: ConformanceOptions = {}): ConformanceCase[] {
  const ops = [...registry.values()]
    .filter(({ builtIn, name }) => builtIn && !bound.has(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1)); // the registry's order is that of imports
  const differentiable = ops.filter(({ vjp }) => typeof vjp !== 'string');
  const elementwise = ops.filter((op) => testOf(op).scalar?.length && op.name in Tensor.prototype);
  return [
    ...ops.map((op) => forwardCase(op, seeds, dtype)),
    ...differentiable.map((op) => gradientCase(op, Math.ceil(seeds / 2), dtype)),
    ...elementwise.map((op) => specialCase(op, dtype)),
    nearZero(dtype),
    ...kernelCases(new Random(11), quick, dtype),
    ...emptySums(dtype),
  ];
}
