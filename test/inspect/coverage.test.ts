/** Every line of code on docs/coverage.md runs. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as hopgrad from 'hopgrad';
import * as data from 'hopgrad/data';
import * as nn from 'hopgrad/nn';
import * as onnx from 'hopgrad/onnx';
import * as testing from 'hopgrad/testing';

const int32 = (values: number[] | number[][]) => hopgrad.tensor(values, { dtype: 'int32' });
const matrix = () => hopgrad.tensor([2, 0.5, 0.5, 1], { shape: [2, 2], requiresGrad: true });

/** What the names of a reader stand for: a matrix x, unless a line asks for something else. */
const meanings = (folder: string): Record<string, unknown> => {
  const model = new nn.Linear(2, 2);
  return {
    x: matrix(),
    y: matrix(),
    a: matrix(),
    b: matrix(),
    v: hopgrad.ones([2, 2]),
    data: [1, 2, 3, 4],
    shape: [2, 2],
    n: 4,
    start: 0,
    end: 3,
    step: 0.5,
    value: 7,
    axis: 0,
    axes: [1, 0],
    sizes: [1, 1],
    size: 1,
    counts: [2, 1],
    count: 2,
    widths: [
      [1, 0],
      [0, 1],
    ],
    k: 1,
    low: 0,
    high: 1,
    t: 0.5,
    atol: 1e-6,
    rows: 3,
    classes: 3,
    indices: int32([0, 1]),
    mask: hopgrad.tensor([
      [1, 0],
      [0, 1],
    ]),
    condition: hopgrad.ones([2, 2]),
    weights: hopgrad.ones([2, 2]),
    weight: hopgrad.ones([2, 3, 2, 2]),
    f: (x: hopgrad.Tensor) => x.square().sum(),
    loss: matrix().sum(),
    inputs: [[1, 2]],
    definition: {
      name: 'testCoverage',
      equation: 'y = x',
      derivative: 'x̄ = ȳ',
      forward: ([x]: [unknown]) => x,
      vjp: 'no',
    },
    q: hopgrad.ones([1, 2, 4]),
    heads: 2,
    parameters: model.parameters(),
    logits: hopgrad.ones([2, 3]),
    labels: int32([0, 2]),
    targets: hopgrad.ones([2, 3]),
    logProbabilities: hopgrad.ones([2, 3]).logSoftmax(),
    anchor: matrix(),
    positive: matrix(),
    negative: matrix(),
    model,
    optimizer: new nn.SGD(model.parameters(), { lr: 0.1 }),
    path: join(folder, 'run.safetensors'),
  };
};
const image = () => hopgrad.ones([1, 3, 4, 4]);
/** Lines whose arguments are of another kind. */
const special: [RegExp, Record<string, unknown>][] = [
  [/^x\.conv2d|Pool2d|axis: \[2, 3\]/, { x: image() }],
  [/^conv1d/, { x: hopgrad.ones([1, 3, 5]), weight: hopgrad.ones([2, 3, 2]) }],
  [/^meshgrid/, { a: hopgrad.ones([2]), b: hopgrad.ones([3]) }],
  [/^takeAlongAxis\(x/, { indices: int32([[0], [1]]) }],
  [/^takeAlongAxis\(log/, { labels: int32([[0], [2]]) }],
  [/^oneHot\(x/, { x: int32([0, 1]) }],
  [/^toOnnx/, { f: (x: hopgrad.Tensor) => x.mul(2), inputs: [{ name: 'x', shape: [null, 2] }] }],
  [/scatterAdd/, { x: hopgrad.ones([2, 2]) }],
  [/^attention/, { k: hopgrad.ones([1, 2, 4]), v: hopgrad.ones([1, 2, 4]) }],
  [/^outer/, { a: hopgrad.ones([2]), b: hopgrad.ones([2]) }],
  [
    /minimizeLbfgs/,
    {
      objective: ([x]: Float64Array) => ({ value: x! ** 2, gradient: Float64Array.of(2 * x!) }),
      start: Float64Array.of(3),
    },
  ],
];

describe('docs/coverage.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-coverage-'));
  after(() => rmSync(folder, { recursive: true }));

  it('holds code that runs', async () => {
    const script = fileURLToPath(new URL('../../../scripts/docs-coverage.mjs', import.meta.url));
    const { idioms } = (await import(script)) as { idioms(): string[] };
    const everything: Record<string, unknown> = { ...hopgrad, ...nn, ...testing, ...onnx, ...data };
    const failed: string[] = [];
    let ran = 0;
    for (const code of idioms()) {
      if (/^\w+$/.test(code)) {
        assert.ok(code in everything, code);
        continue;
      }
      const scope = { ...everything, ...meanings(folder), ...special.find(([pattern]) => pattern.test(code))?.[1] };
      const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
      try {
        await new AsyncFunction(...Object.keys(scope), `return ${code}`)(...Object.values(scope));
        ran++;
      } catch (error) {
        failed.push(`${code}: ${(error as Error).message}`);
      }
    }
    assert.deepEqual(failed, []);
    assert.ok(ran > 130, `${ran}`);
  });
});
