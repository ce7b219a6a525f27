/** Ops where floating point has its corners, against PyTorch in float64; where hopgrad means to differ, `intended` says why. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { init, type Tensor, tensor, withDevice } from 'hopgrad';
import { deviceByName, registerDevice } from '#src/kernels/devices.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { fixture } from '../helpers.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';

type Stored = number | 'nan' | 'inf' | '-inf' | '-0.0';
interface Case {
  op: string;
  inputs: Stored[][];
  value: Stored[];
  grads?: Stored[][];
}

const special = { nan: Number.NaN, inf: Infinity, '-inf': -Infinity, '-0.0': -0 };
const number = (x: Stored) => (typeof x === 'number' ? x : special[x]);
const cases = JSON.parse(readFileSync(fixture('corners.json'), 'utf8')) as Case[];
const overAxis = ['sum', 'mean', 'max', 'min', 'variance'];
const rowwise = [...overAxis, 'softmax', 'logSoftmax', 'logSumExp', 'l2Normalize', 'layerNorm'];

interface Difference {
  op: string;
  /** Default: both. */
  dtype?: string;
  /** Which inputs it is about: the element's, or for rowwise ops the row. */
  at(inputs: number[]): boolean;
  /** What hopgrad gives instead: the value and the slope to each input; undefined: as PyTorch. */
  value?: number;
  slopes?: (number | undefined)[];
}

const smallest = 1.1754943508222875e-38;
const all = (bound: (x: number) => boolean) => (row: number[]) => row.every(bound);
/** All intended differences from PyTorch. */
const intended: Difference[] = [
  // Limits instead of ∞ · 0.
  { op: 'gelu', at: ([x]) => x === -Infinity, value: 0, slopes: [0] },
  { op: 'gelu', at: ([x]) => x === Infinity, slopes: [1] },
  { op: 'quickGelu', at: ([x]) => x === -Infinity, value: 0, slopes: [0] },
  { op: 'quickGelu', at: ([x]) => x === Infinity, slopes: [1] },
  // JavaScript's powers: where C says that 1 to any power is 1, NaN, since the limits differ.
  {
    op: 'pow',
    at: ([a, b]) => Math.abs(a!) === 1 && !Number.isFinite(b) && !(a === -1 && Number.isNaN(b)),
    value: Number.NaN,
    slopes: [Number.NaN, Number.NaN],
  },
  // A row of −∞ is an empty sum of exponentials: constant, rather than without a gradient.
  { op: 'logSumExp', at: all((x) => x === -Infinity), slopes: [0] },
  // As float32 aᵇ⁻¹ is already infinite, in PyTorch as well.
  { op: 'pow', dtype: 'float32', at: ([a, b]) => a! < 1e-39 && a! > 0 && b! > 0 && b! <= smallest, slopes: [Infinity] },
  // As float32 the sum is already infinite, in PyTorch as well.
  ...[1, -1].map((sign) => ({
    ...{ op: 'mean', dtype: 'float32', value: sign * Infinity },
    at: (row: number[]) => sign * row.reduce((sum, x) => sum + x, 0) > 3.5e38 && row.every(Number.isFinite),
  })),
];

const places = [
  ['reference', 'float64', undefined],
  ['reference', 'float32', undefined],
  ['wasm', 'float64', { shared: true, relaxed: true }],
  ['wasm', 'float64', { shared: false, relaxed: false }],
  ['wasm', 'float32', { shared: true, relaxed: true }],
  ['wasm', 'float32', { shared: true, relaxed: false }],
  ['wasm', 'float32', { shared: false, relaxed: true }],
  ['wasm', 'float32', { shared: false, relaxed: false }],
  ['gpujs-cpu', 'float32', undefined],
  ['webgpu', 'float32', undefined],
] as const;

for (const [device, dtype, build] of places) {
  const name = build
    ? `${device} with ${build.shared ? '' : 'no '}threads, ${build.relaxed ? '' : 'no '}fused multiply-add`
    : device;
  describe(`corners of floating point, ${dtype} on ${name}`, () => {
    const before_ = build && deviceByName('wasm');
    before(async function () {
      if (build) registerDevice('wasm', createWasmDevice(build));
      else if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
    });
    after(async () => {
      if (build) registerDevice('wasm', before_!);
      await init({ device: 'wasm' });
    });

    const double = dtype === 'float64';
    // The languages of graphics promise fewer digits, and no numbers below the normal ones; sums there are float32.
    const graphics = device === 'webgpu';
    const promised = (op: string, x: number) =>
      !graphics ||
      ((x === 0 || !(Math.abs(x) <= smallest)) &&
        !(['pow', 'sum', 'mean'].includes(op) && Math.abs(x) > 1e38 && Number.isFinite(x)) &&
        !(['sin', 'cos'].includes(op) && Math.abs(x) > 1e4 && Number.isFinite(x)));
    const round = double ? (x: number) => x : Math.fround;
    /** Whether `actual` is `expected` to rounding: of its own digits, and of `scale` where it is a difference of such. */
    const near = (actual: number, expected: number, scale: number) =>
      Object.is(actual, expected) ||
      actual === expected ||
      (graphics && Math.abs(actual - expected) <= 1e-4 * Math.abs(expected) + scale + 2 ** -11 + smallest) ||
      Math.abs(actual - expected) <= (double ? 1e-8 : 1e-5) * Math.abs(expected) + scale + (double ? 0 : 1e-44);

    for (const op of new Set(cases.map((c) => c.op)))
      it(op, async () => {
        for (const c of cases.filter((other) => other.op === op)) await check(c);
      });

    async function check({ op, inputs, value, grads }: Case): Promise<void> {
      const columns = inputs.map((column) => column.map((x) => Math.fround(number(x))));
      const xs = columns.map((data) =>
        tensor(double ? Float64Array.from(data) : Float32Array.from(data), { device, requiresGrad: true }),
      );
      const y = withDevice(device, () => {
        const [x, ...others] = xs as unknown as [Record<string, (...args: unknown[]) => Tensor>, ...Tensor[]];
        return overAxis.includes(op) ? x[op]!({ axis: -1 }) : x[op]!(...others);
      });
      const row = rowwise.includes(op);
      const difference = (i: number) => {
        const own = row ? columns[0]! : columns.map((column) => column[i]!);
        return intended.find((d) => d.op === op && (d.dtype ?? dtype) === dtype && d.at(own));
      };
      const where = (i: number) => `${op} at ${row ? `[${columns[0]}], ${i}` : columns.map((column) => column[i])}`;
      const largest = (list: number[]) => Math.max(0, ...list.map(Math.abs).filter(Number.isFinite));

      const expected = value.map(number).map(round);
      const actual = await y.data();
      // Results are right to their own digits; float32 rows to those of 1 as well, and gelu's tail ends before 1e-36.
      const scale = row ? (double ? 1e-15 : 1.2e-7) * Math.min(1, largest(expected)) : op === 'gelu' ? 1e-36 : 0;
      const skip = (i: number) =>
        (row ? columns[0]! : columns.map((column) => column[i]!)).some((x) => !promised(op, x));
      expected.forEach((e, i) => {
        if (skip(i)) return;
        const wanted = difference(i)?.value ?? e;
        assert.ok(near(actual[i]!, wanted, scale), `${where(i)}: ${actual[i]} instead of ${wanted}`);
      });
      if (!grads) return;
      y.backward(
        tensor(
          Float64Array.from(expected, (_, i) => i + 1),
          { shape: y.shape, dtype, device },
        ),
      );
      for (const [k, grad] of grads.entries()) {
        const slopes = grad.map(number).map(round);
        const gradient = await xs[k]!.grad!.data();
        // Slopes are differences, mostly of numbers as large as the gradient that came, of exponents for logSumExp.
        const given = op === 'logSumExp' ? largest(columns[0]!) : Math.max(slopes.length, largest(slopes));
        const rounding = (i: number) =>
          row ? (double ? 1e-13 : 4e-7) * given : double ? 0 : (graphics ? 2 ** -11 : 2e-7) * (i + 1);
        slopes.forEach((e, i) => {
          if (skip(i)) return;
          const own = difference(i)?.slopes?.[k];
          const wanted = own === undefined ? e : own * (row ? 1 : i + 1);
          assert.ok(
            near(gradient[i]!, wanted, rounding(i)),
            `gradient of ${where(i)} to input ${k}: ${gradient[i]} instead of ${wanted}`,
          );
        });
      }
    }
  });
}
