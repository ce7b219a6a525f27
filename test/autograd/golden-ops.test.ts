/** Ops against PyTorch, mostly where they have corners: values and gradients, on each device. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as hopgrad from 'hopgrad';
import { init, type Tensor, tensor, withDevice } from 'hopgrad';
import { fixture } from '../helpers.js';

type Stored = number | 'nan' | 'inf' | '-inf' | '-0.0';
interface Case {
  op: string;
  inputs: { data: Stored[]; shape: number[]; kind: 'float' | 'int32' }[];
  args: unknown[];
  value: Stored[];
  shape: number[];
  grads?: Stored[][];
}

const special = { nan: Number.NaN, inf: Infinity, '-inf': -Infinity, '-0.0': -0 };
const number = (x: Stored) => (typeof x === 'number' ? x : special[x]);
const cases = JSON.parse(readFileSync(fixture('ops.json'), 'utf8'), (_, x) => (x === 'inf' ? Infinity : x)) as Case[];
const functions = hopgrad as unknown as Record<string, (...args: unknown[]) => Tensor>;

/** The largest difference, in digits of the largest number; infinite where one is not finite and the other not the same. */
function off(actual: ArrayLike<number>, expected: readonly number[]): number {
  if (actual.length !== expected.length) return Infinity;
  return expected.reduce((most, e, i) => {
    const a = actual[i]!;
    if (a === e || Object.is(a, e)) return most;
    const d = Math.abs(a - e) / Math.max(1e-6, Math.abs(e), Math.min(1, ...expected.map(Math.abs).filter(Boolean)));
    return Number.isNaN(d) ? Infinity : Math.max(most, d);
  }, 0);
}

for (const [device, dtype] of [
  ['reference', 'float64'],
  ['reference', 'float32'],
  ['wasm', 'float32'],
  ['gpujs-cpu', 'float32'],
] as const)
  describe(`ops as PyTorch has them, ${dtype} on ${device}`, () => {
    before(() => init({ device }));
    after(() => init({ device: 'wasm' }));
    const tolerance = dtype === 'float64' ? 1e-10 : 1e-5;

    for (const op of new Set(cases.map((c) => c.op)))
      it(op, () => {
        for (const { inputs, args, value, shape, grads } of cases.filter((c) => c.op === op)) {
          const xs = inputs.map(({ data, shape, kind }) =>
            tensor(data.map(number), {
              ...{ shape, device, dtype: kind === 'float' ? dtype : 'int32' },
              requiresGrad: kind === 'float',
            }),
          );
          const given = op === 'einsum' ? [...args, ...xs] : [...xs, ...args]; // the equation comes first
          const y = withDevice(device, () => functions[op]!(...given));
          const what = `${op}(${JSON.stringify(inputs.map(({ data }) => data))}, ${JSON.stringify(args)})`;
          const got = `${y.dataSync()} instead of ${value}`;
          assert.deepEqual([...y.shape], shape, `shape of ${what}`);
          assert.ok(off(y.dataSync(), value.map(number)) <= tolerance, `${what} is ${got}`);
          if (!grads) {
            assert.ok(!y.requiresGrad, `${what} has no gradient`);
            continue;
          }
          y.backward(
            tensor(
              Float64Array.from(value, (_, i) => i + 1),
              { shape, dtype, device },
            ),
          );
          const free = xs.filter((x) => x.requiresGrad);
          grads.forEach((grad, k) => {
            const actual = free[k]!.grad?.dataSync() ?? new Float64Array(free[k]!.size);
            assert.ok(
              off(actual, grad.map(number)) <= tolerance,
              `gradient ${k} of ${what}: ${actual} instead of ${grad}`,
            );
          });
        }
      });
  });
