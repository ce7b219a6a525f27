/** Tests that every op gets by being registered: its oracle, its derivatives, its devices. */
import assert from 'node:assert/strict';
import { defineOp, grad, init, type Operand, registeredOps, tensor, withDevice } from 'hopgrad';
import { asFunction, checkGradients, drawTrial, expectedOutput, trialTensors } from 'hopgrad/testing';
import { differentiate, enableGrad, leafNode } from '#src/autograd/graph.js';
import { apply } from '#src/autograd/op.js';
import { Tensor } from '#src/autograd/tensor.js';
import { relativeError, values } from '../helpers.js';

const ops = [...registeredOps().values()].filter(({ builtIn }) => builtIn);
const seeds = Array.from({ length: 12 }, (_, i) => i);
type AnyOp = (typeof ops)[number];

const steeper = defineOp({
  name: 'steeper',
  equation: 'y = x',
  derivative: 'x̄ = 1.01 ȳ, which is wrong',
  forward: ([x]) => x!,
  vjp: [({ gradOutput }) => gradOutput.mul(1.01)],
});
/** A composite whose derivative is 1 % off. */
const wrongAfter = (op: AnyOp): AnyOp => ({ ...op, compose: (xs, params) => steeper([op.compose!(xs, params)]) });

/** In how many of three checks a seed a wrong op is found out. */
async function caughtOf(op: AnyOp, wrong: AnyOp): Promise<number> {
  let caught = 0;
  for (const seed of seeds) {
    const trial = drawTrial(op, seed);
    const inputs = asFunction(op, trial, 'float64', 'reference');
    const all = asFunction(wrong, trial, 'float64', 'reference');
    for (const mode of ['full', 'projection', 'coordinate'] as const)
      if (!(await checkGradients(all.f, inputs.free, { mode, seed, atol: 1e-7 })).ok) caught++;
  }
  return caught;
}

const differentiable = ops.filter(({ vjp }) => typeof vjp !== 'string');

describe('every registered op', () => {
  before(() => init({ device: 'gpujs-cpu' }).then(() => init({ device: 'reference' })));

  for (const op of ops) {
    it(`${op.name}: ${op.equation}`, async () => {
      assert.ok(op.equation && op.derivative, 'equation and derivative are described');
      for (const seed of seeds) {
        const trial = drawTrial(op, seed);
        const expected = expectedOutput(op, trial);
        const { f, free } = asFunction(op, trial, 'float64', 'reference');
        const result = f(...free);
        assert.deepEqual([...result.shape], [...expected.shape], `shape, seed ${seed}`);
        assert.ok(relativeError(values(result), expected.data) < 1e-9, `float64 forward, seed ${seed}`);
        const tolerance = op.test?.tolerance32 ?? 1e-5;
        for (const device of ['reference', 'gpujs-cpu', 'wasm']) {
          if (['cast', 'to'].includes(op.name)) continue; // their parameters name a dtype and a device
          const single = asFunction(op, trial, 'float32', device);
          const run = withDevice(device, () => single.f(...single.free));
          assert.ok(relativeError(values(run), expected.data, 1) < tolerance, `float32 on ${device}, seed ${seed}`);
        }
      }
    });
  }

  for (const op of differentiable) {
    it(`${op.name} differentiates: ${op.derivative}`, async () => {
      for (const seed of seeds.slice(0, 6)) {
        const { f, free } = asFunction(op, drawTrial(op, seed), 'float64', 'reference');
        for (const mode of ['full', 'projection', 'taylor'] as const) {
          const report = await checkGradients(f, free, { mode, order: mode === 'full' ? 2 : 1, seed });
          assert.deepEqual(report.failures, [], `${mode}, seed ${seed}`);
        }
      }
    });

    it(`${op.name}: the fused derivative is the plain one`, () => {
      if (!op.fusedVjp) return;
      for (const seed of seeds.slice(0, 6)) {
        const { f, free } = asFunction(op, drawTrial(op, seed), 'float64', 'reference');
        const run = (createGraph: boolean) => {
          const xs = free.map((x) => {
            const leaf = new Tensor(x.storage, x.shape);
            leaf.node = leafNode(leaf);
            return leaf;
          });
          const y = enableGrad(() => f(...xs));
          const seedGrad = tensor(
            Float64Array.from({ length: y.size }, (_, i) => Math.sin(i + 1)),
            { shape: y.shape },
          );
          return differentiate(y, seedGrad, { createGraph, wrt: xs.map((x) => x.node) }).map((g) => values(g!));
        };
        const plain = run(true);
        run(false).forEach((fused, i) => {
          assert.ok(relativeError(fused, plain[i]!) < 1e-10, `argument ${i}, seed ${seed}`);
        });
      }
    });

    it(`${op.name}: a derivative that is 1 % off is caught`, async () => {
      if (op.compose) return assert.ok((await caughtOf(op, wrongAfter(op))) >= 6);
      const wrong = {
        ...op,
        fusedVjp: undefined,
        vjp: (context: never) => {
          const parts =
            typeof op.vjp === 'function'
              ? op.vjp(context)
              : (op.vjp as ((c: never) => Tensor)[]).map((part, i) =>
                  (context as { wants: boolean[] }).wants[i] ? part(context) : null,
                );
          return parts.map((part) => part?.mul(1.01) ?? null);
        },
      };
      const caught = await caughtOf(op, wrong as never);
      assert.ok(caught >= 6, `caught in ${caught} of ${3 * seeds.length} checks`);
    });
  }

  for (const op of ops.filter(({ numbers }) => numbers))
    it(`${op.name} takes a plain number in the place of any operand, and gives what the scalar gives`, () => {
      for (const seed of seeds) {
        const { inputs, params } = drawTrial(op, seed);
        const tensors = trialTensors({ inputs, params }, 'float64', 'reference');
        for (let place = 0; place < inputs.length && inputs.length > 1; place++) {
          if (op.nonDifferentiable?.includes(place) || (op.name === 'clip' && place === 0)) continue; // always tensors
          const number = inputs[place]!.data[0] ?? 1;
          const run = (operand: Operand) => {
            const operands = tensors.map((x, i) => (i === place ? operand : x));
            const of = tensors.find((_, i) => i !== place && !op.nonDifferentiable?.includes(i))!;
            const f = (x: Tensor) =>
              apply(
                op,
                operands.map((y) => (y === of ? x : y)),
                params,
              );
            const slope = typeof op.vjp === 'string' ? [] : values(grad((x: Tensor) => f(x).sum())(of));
            return { shape: f(of).shape, values: values(f(of)), slope };
          };
          assert.deepEqual(run(number), run(tensor(number, { dtype: 'float64' })), `operand ${place}, seed ${seed}`);
        }
      }
    });
});
