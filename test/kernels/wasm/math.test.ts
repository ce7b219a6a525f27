/** Elementary functions and sums of the wasm device, measured in units in the last place. */
import assert from 'node:assert/strict';
import { tensor } from 'hopgrad';
import { deviceByName, registerDevice } from '#src/kernels/devices.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { Random } from '#src/tensor/random.js';

const device = 'wasm';

/** Distance in units in the last place of the right float32. */
function ulps(actual: number, exact: number): number {
  const right = Math.fround(exact);
  if (Object.is(actual, right) || actual === right) return 0;
  if (!Number.isFinite(right) || !Number.isFinite(actual)) return Infinity;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(exact))));
  return Math.abs(actual - exact) / 2 ** (exponent - 23);
}

/** Floats of both signs over the whole range of exponents that matter, and evenly spread ones. */
function points(low: number, high: number): Float32Array {
  const random = new Random(7);
  return Float32Array.from({ length: 200_000 }, (_, i) => {
    if (i % 2 === 0) return low + (high - low) * random.uniform();
    const magnitude = 2 ** (-40 + 46 * random.uniform());
    const x = random.int(2) === 0 ? magnitude : -magnitude;
    return Math.min(high, Math.max(low, x));
  });
}

describe('elementary functions of the wasm device are within 4 ulp', () => {
  const exact: Record<string, [(x: number) => number, number, number]> = {
    exp: [Math.exp, -104, 89],
    log: [Math.log, 0, 3.4e38],
    tanh: [Math.tanh, -12, 12],
    sigmoid: [(x) => 1 / (1 + Math.exp(-x)), -103, 40],
    erf: [erfSeries, -5, 5],
    sqrt: [Math.sqrt, 0, 1e30],
    expm1: [Math.expm1, -20, 80],
    log1p: [Math.log1p, -0.999, 1e10],
    sin: [Math.sin, -1000, 1000],
    cos: [Math.cos, -1000, 1000],
    tan: [Math.tan, -1000, 1000],
    asin: [Math.asin, -1, 1],
    acos: [Math.acos, -1, 1],
    atan: [Math.atan, -1e10, 1e10],
    sinh: [Math.sinh, -80, 80],
    cosh: [Math.cosh, -80, 80],
    asinh: [Math.asinh, -1e30, 1e30],
    acosh: [Math.acosh, 1, 1e30],
    atanh: [Math.atanh, -0.9999, 0.9999],
    log2: [Math.log2, 0, 3.4e38],
    log10: [Math.log10, 0, 3.4e38],
    floor: [Math.floor, -1e10, 1e10],
    ceil: [Math.ceil, -1e10, 1e10],
    round: [(x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)), -100, 100],
  };
  for (const [name, [f, low, high]] of Object.entries(exact))
    it(name, () => {
      const x = points(low, high);
      const y = (tensor(x, { device }) as unknown as Record<string, () => { dataSync(): Float32Array }>)[
        name
      ]!().dataSync();
      let worst = 0;
      let where = 0;
      x.forEach((value, i) => {
        const distance = ulps(y[i]!, f(value));
        if (distance > worst) [worst, where] = [distance, value];
      });
      assert.ok(worst <= 4, `${worst} ulp at ${where}`);
    });

  it('exp and log at the edges: denormals, overflow, zeros, infinities, NaN', () => {
    const x = Float32Array.of(-103, -87.5, 88.7, 88.8, 1e30, -1e30, Infinity, -Infinity, NaN, 0, -0, 1e-42);
    const t = tensor(x, { device });
    t.exp()
      .dataSync()
      .forEach((y, i) => {
        assert.ok(Number.isNaN(x[i]!) ? Number.isNaN(y) : ulps(y, Math.exp(x[i]!)) <= 4, `exp ${x[i]} gave ${y}`);
      });
    t.log()
      .dataSync()
      .forEach((y, i) => {
        const right = Math.log(x[i]!);
        assert.ok(Number.isNaN(right) ? Number.isNaN(y) : ulps(y, right) <= 4, `log ${x[i]} gave ${y}`);
      });
  });
});

for (const relaxed of [true, false])
  describe(`of every sign and exponent, ${relaxed ? 'fused' : 'no fused'} multiply-add`, () => {
    const usual = deviceByName('wasm');
    before(() => registerDevice('wasm', createWasmDevice({ relaxed, threads: 1 })));
    after(() => registerDevice('wasm', usual));
    const sigmoid = (x: number) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
    // What is rounded before it is an exponent costs its own value in ulp: x²/2, 1.702 x.
    const exact: Record<string, [(x: number) => number, (x: number) => number]> = {
      exp: [Math.exp, () => 2],
      log: [Math.log, () => 2],
      tanh: [Math.tanh, () => 3],
      sigmoid: [sigmoid, () => 3],
      erf: [
        (x) => (Math.abs(x) < 2 ? erfSeries(x) : Math.sign(x) * (1 - 2 * normalCdf(-Math.abs(x) * Math.SQRT2))),
        () => 3,
      ],
      gelu: [(x) => Math.max(x, -1000) * normalCdf(x), (x) => (x < 0 ? 4 + (x * x) / 2 : 4)],
      quickGelu: [(x) => Math.max(x, -1000) * sigmoid(1.702 * x), (x) => (x < 0 ? 4 - 1.702 * x : 4)],
    };
    // 512 numbers of each: the mantissa's upper bits count up, the others are as good as random. Infinities and NaN are among them.
    const bits = Uint32Array.from({ length: 2 ** 18 }, (_, i) => i * 2 ** 14 + (Math.imul(i, 2654435761) >>> 18));
    const x = new Float32Array(bits.buffer);
    for (const [name, [f, bound]] of Object.entries(exact))
      it(name, () => {
        const t = tensor(x, { device }) as unknown as Record<string, () => { dataSync(): Float32Array }>;
        const y = t[name]!().dataSync();
        x.forEach((value, i) => {
          const right = f(value);
          if (Number.isNaN(right) && Number.isNaN(y[i])) return;
          const distance = ulps(y[i]!, right);
          assert.ok(distance <= bound(value), `${distance} ulp at ${value}`);
        });
      });
  });

/** The normal distribution function, in double precision: by erf's series, of the far tail by its continued fraction. */
function normalCdf(x: number): number {
  if (x > 3) return 1 - normalCdf(-x);
  if (x > -3) return 0.5 * (1 + erfSeries(x * Math.SQRT1_2));
  let fraction = 0;
  for (let k = 100; k > 0; k--) fraction = k / (fraction - x);
  return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) / (fraction - x);
}

/** erf by its series, in double precision. */
function erfSeries(x: number): number {
  const a = Math.abs(x);
  let term = a;
  let sum = a;
  for (let n = 1; n < 200; n++) {
    term *= (2 * a * a) / (2 * n + 1);
    sum += term;
  }
  const y = (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
  return x < 0 ? -y : y;
}

describe('sums of the wasm device', () => {
  const n = 1_000_000;
  const random = new Random(3);
  const x = Float32Array.from({ length: n }, () => random.uniform());
  const total = x.reduce((sum, value) => sum + value, 0);

  it('a million terms in a row: relative error ≤ 2e-7', () => {
    const sum = tensor(x, { device }).sum().dataSync()[0]!;
    assert.ok(Math.abs(sum - total) / total <= 2e-7);
  });

  it('a million terms down a column: relative error ≤ 2e-7', () => {
    const columns = tensor(x, { shape: [n / 4, 4], device })
      .sum({ axis: 0 })
      .dataSync();
    for (let c = 0; c < 4; c++) {
      let exact = 0;
      for (let i = c; i < n; i += 4) exact += x[i]!;
      assert.ok(Math.abs(columns[c]! - exact) / exact <= 2e-7, `column ${c}`);
    }
  });

  it('a large mean does not spoil the variance: layer norm of 10,000 + small', () => {
    const rows = Float32Array.from({ length: 4 * 512 }, () => 10_000 + random.normal());
    const t = tensor(rows, { shape: [4, 512], device });
    const y = t.layerNorm({ eps: 0 }).dataSync();
    for (let r = 0; r < 4; r++) {
      const row = Float64Array.from(rows.subarray(r * 512, (r + 1) * 512));
      const mean = row.reduce((a, b) => a + b) / 512;
      const std = Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / 512);
      row.forEach((value, i) => {
        assert.ok(Math.abs(y[r * 512 + i]! - (value - mean) / std) < 2e-3);
      });
    }
  });
});
