/**
 * Checking gradients against finite differences, in float64: the instrument that every op of this library is tested
 * with, for your functions as well.
 */
import { tensor } from '../autograd/create.js';
import { fresh } from '../autograd/functional.js';
import { checkOptions } from '../autograd/ops/options.js';
import { type NestedArray, Tensor } from '../autograd/tensor.js';
import { deviceByName, withDevice } from '../kernels/devices.js';
import type { TypedArray } from '../tensor/dtype.js';
import { GradientError, UsageError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { Checker, direction } from './checker.js';
import { checkAdjoint, checkBatched, checkDevice, checkForward, floats } from './laws.js';
import { type CheckMode, GradientReport } from './report.js';

/** How {@link checkGradients} compares a derivative with differences. */
export interface CheckOptions {
  /**
   * `full` (default): every coordinate. `projection`: one random direction per input, fast. `coordinate`: `coordinates`
   * different random ones per input. `taylor`: the remainder f(x + hv) − f(x) − h ∇f·v must shrink as h², whatever its size.
   */
  mode?: CheckMode;
  /** 2 also checks the gradient of ⟨∇f, w⟩ for a random w. Default 1. */
  order?: 1 | 2;
  /** Everything random follows from it. Default 0. */
  seed?: number;
  /** Step of the central difference, times max(1, |x|). Default 1e-6 (order 1) in float64, 1e-2 in float32. */
  eps?: number;
  /** |analytic − numeric| ≤ atol + rtol · |numeric|. Default 1e-5 in float64, 5e-2 in float32. */
  atol?: number;
  /** Default 1e-4 in float64, 5e-2 in float32. */
  rtol?: number;
  /** Coordinates per input in mode `coordinate`. Default 5. */
  coordinates?: number;
  /**
   * Points where the two one-sided differences disagree: `avoid` (default) reports them as failures, `filter` skips
   * them, `subgradient` accepts any value between the two.
   */
  kinks?: 'avoid' | 'filter' | 'subgradient';
  /** Run backward twice and demand equal bits. Default true. */
  nondeterminism?: boolean;
  /**
   * Forward against reverse: ⟨w, J v⟩ by jvp() equals ⟨Jᵀ w, v⟩ by vjp(), for a random w and a random v in each input.
   * f's vjps must be differentiable. Default false.
   */
  forward?: boolean;
  /**
   * f is linear: the adjoint test, ⟨f(v), w⟩ = ⟨v, fᵀ w⟩ with fᵀ the vjp at the inputs given, for random v and w; an f
   * that is not linear fails. `true`: in all inputs together; a list: in those, the others staying as they are.
   */
  linear?: boolean | readonly number[];
  /**
   * f takes entries along the leading axis one by one: f of a batch is f of each entry (as a batch of one), in a loop as
   * vmap() makes it, and so are its gradients. `true`: all inputs have that axis; a list: those.
   */
  batched?: boolean | readonly number[];
  /**
   * f and its gradients are the same on these devices in float32 as on the reference in float64, within 1e-4 of the
   * largest value. Devices other than wasm are made with init() beforehand.
   */
  devices?: readonly string[];
  /** Device to run on. Default reference, the judge; wasm is much faster. */
  device?: string;
  /** What to compute in. Default float64 where the device has it. */
  dtype?: 'float32' | 'float64';
}

type Input = Tensor | NestedArray | TypedArray;
export type Differentiable = (...inputs: Tensor[]) => Tensor;

const known = [
  'mode',
  'order',
  'seed',
  'eps',
  'atol',
  'rtol',
  'coordinates',
  'kinks',
  'nondeterminism',
  'device',
  'dtype',
  'forward',
  'linear',
  'batched',
  'devices',
];
const modes: readonly CheckMode[] = ['full', 'projection', 'coordinate', 'taylor'];

/**
 * Compares the gradient of f with finite differences. f may return any shape: several results are projected on a random
 * tensor.
 * Inputs are converted to float64 on the device (f runs with that as default device); int32 tensors are handed on as
 * they are. Beyond values it checks that gradients have the inputs' shapes, that two backward passes
 * agree bit for bit, that the vjp is linear in gradOutput, and that unused inputs get zeros.
 *
 * Central differences: ∂f/∂x ≈ (f(x + ε) − f(x − ε)) / 2ε, error O(ε²) + O(δ/ε) with δ the rounding of f.
 *
 * @returns a report; never throws for wrong gradients (see assertGradients)
 * @throws UsageError for wrong options; whatever f throws
 * @example await checkGradients((x) => x.mul(x).sum(), [[1, 2, 3]])
 */
export async function checkGradients(
  f: Differentiable,
  inputs: readonly Input[],
  options: CheckOptions = {},
): Promise<GradientReport> {
  checkOptions('checkGradients', options, known);
  const { device = 'reference', dtype = defaultFloat(device), ...given } = options;
  const double = dtype === 'float64';
  const settings = {
    mode: 'full' as CheckMode,
    order: 1 as 1 | 2,
    seed: 0,
    eps: double ? 1e-6 : 1e-2,
    atol: double ? 1e-5 : 5e-2,
    rtol: double ? 1e-4 : 5e-2,
    coordinates: 5,
    kinks: 'avoid' as const,
    nondeterminism: true,
    forward: false,
    linear: false,
    batched: false,
    devices: [],
    ...given,
  };
  if (
    !modes.includes(settings.mode) ||
    ![1, 2].includes(settings.order) ||
    !(settings.eps > 0) ||
    !['float32', 'float64'].includes(dtype) ||
    !['avoid', 'filter', 'subgradient'].includes(settings.kinks)
  )
    throw new UsageError('checkGradients', {
      received: written(options),
      expected: `mode ${modes.join(' | ')}, order 1 | 2, eps > 0, kinks avoid | filter | subgradient, dtype float32 | float64`,
    });
  if (!Array.isArray(inputs) || inputs.length === 0)
    throw new UsageError('checkGradients', {
      received: 'no list of inputs',
      expected: 'a list with one entry an argument of f',
    });
  const data = await Promise.all(inputs.map((input) => read(input)));
  const placed = (on: string, float: 'float32' | 'float64') =>
    data.map(({ values, shape, dtype }) =>
      tensor(values, { shape, dtype: dtype === 'int32' ? dtype : float, device: on }),
    );
  const random = new Random(settings.seed, 77);
  const report = new GradientReport(settings.mode, settings.order, settings.seed);
  const points = placed(device, dtype);
  const checker = new Checker(f, points, random, settings, report, 1);
  await checker.run();
  if (settings.order === 2) {
    report.projected = true;
    const w = points.map((x) => direction(x, random));
    const second: Differentiable = (...xs) => {
      const tracked = xs.map((x) => (x.dtype === 'int32' || x.requiresGrad ? x : fresh(x)));
      const grads = checker.gradients(tracked, null, true);
      return grads
        .map((g, i) => (g ? g.mul(w[i]!).sum() : xs[i]!.cast(w[i]!.dtype).mul(0).sum()))
        .reduce((a, b) => a.add(b));
    };
    // The first gradient is exact to rounding, so its differences bear the same step.
    await new Checker(second, points, random, settings, report, 2).run();
  }
  const checked = { f, points, random, settings, report };
  withDevice(device, () => {
    if (settings.forward) checkForward(checked);
    if (settings.linear) checkAdjoint(checked, places('linear', settings.linear, floats(checked)));
    if (settings.batched) checkBatched(checked, places('batched', settings.batched, [...points.keys()]));
  });
  // The same float32 numbers everywhere, so that only the arithmetic differs.
  for (const name of settings.devices)
    await checkDevice(
      f,
      { name, there: placed(name, 'float32'), reference: placed('reference', 'float32') },
      settings.seed,
      report,
    );
  report.ok = report.failures.length === 0;
  return report;
}

/** float64 where the device has it. */
function defaultFloat(device: string): 'float32' | 'float64' {
  return deviceByName(device).dtypes.includes('float64') ? 'float64' : 'float32';
}

/** The inputs that an option speaks of, of those that it may. @throws UsageError */
function places(option: string, given: true | readonly number[], possible: readonly number[]): readonly number[] {
  if (given === true) return possible;
  if (!Array.isArray(given) || given.length === 0 || given.some((i) => !possible.includes(i)))
    throw new UsageError('checkGradients', {
      received: `${option}: ${JSON.stringify(given)}`,
      expected: `true, or a list of positions of inputs, of ${possible.join(', ')}`,
    });
  return given;
}

/**
 * checkGradients that throws when the report is not ok.
 * @throws GradientError that shows each failure and how to repeat the check
 */
export async function assertGradients(
  f: Differentiable,
  inputs: readonly Input[],
  options: CheckOptions = {},
): Promise<GradientReport> {
  const report = await checkGradients(f, inputs, options);
  if (!report.ok)
    throw new GradientError('assertGradients', {
      received: `${report}\n`,
      expected: 'gradients that agree with finite differences',
      hint: `Repeat with ${written({ mode: report.mode, order: report.order, seed: report.seed, ...options })}.`,
    });
  return report;
}

/** Options as one would write them. */
function written(options: CheckOptions): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return `{ ${entries.map(([key, value]) => `${key}: ${typeof value === 'string' ? `'${value}'` : value}`).join(', ')} }`;
}

async function read(input: Input): Promise<{ values: TypedArray; shape: readonly number[]; dtype: string }> {
  const t =
    input instanceof Tensor ? input : tensor(input, { dtype: input instanceof Int32Array ? 'int32' : 'float64' });
  return { values: await t.data(), shape: t.shape, dtype: t.dtype };
}
