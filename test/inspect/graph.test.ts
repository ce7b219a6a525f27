import assert from 'node:assert/strict';
import {
  checkpoint,
  GraphError,
  type Graphed,
  type GraphOptions,
  graphText,
  memory,
  noGrad,
  ones,
  type Tensor,
  tensor,
  toDot,
  UsageError,
} from 'hopgrad';
import { Linear } from 'hopgrad/nn';

const x = () => tensor([[1, 2]]);
const w = () => tensor([[0.5], [-1]], { requiresGrad: true });

/** The cells of a table, without its head and its rule. */
const cells = (text: string) =>
  text
    .split('\n')
    .slice(2)
    .map((line) => line.split(/ {2,}/));

describe('graphText', () => {
  it('lists the steps with their inputs, parameters and shapes', () => {
    const weight = w();
    const loss = x().matmul(weight).mul(3).sum();
    assert.deepEqual(cells(graphText(loss, { names: { w: weight } })), [
      ['#1', 'leaf w', 'float32 [2, 1]'],
      ['#2', 'matmul', 'constant [1, 2], #1', 'float32 [1, 1]'],
      ['#3', 'mul', '#2, 3', 'float32 [1, 1]'],
      ['#4', 'sum', '#3', 'axes [0, 1]', 'float32 []'],
    ]);
  });

  it('shows the values that the graph holds, and of a function all of them', () => {
    const weight = w();
    const run = () => x().matmul(weight).mul(3).square().sum();
    const values = (given: Graphed) => cells(graphText(given, { values: true })).map((row) => row.at(-1));
    assert.deepEqual(values(run()), ['-1 … 0.5', '-1.5', '-4.5', 'not kept', '20.25']);
    assert.deepEqual(values(run), ['-1 … 0.5', '-1.5', '-4.5', '20.25', '20.25']);
  });

  it('shows the gradient of every value, and leaves .grad and the graph alone', () => {
    const weight = w();
    const loss = x().matmul(weight).mul(3).square().sum();
    const gradients = () => cells(graphText(loss, { gradients: true })).map((row) => row.at(-1));
    // y = 9 (w₁ + 2 w₂)²: ∂y/∂w = 18 · (−1.5) · [1, 2]
    assert.deepEqual(gradients(), ['-54 … -27', '-27', '-9', '1', '1']);
    assert.equal(weight.grad, null);
    assert.deepEqual(gradients(), ['-54 … -27', '-27', '-9', '1', '1']);
    loss.backward();
    assert.deepEqual([...weight.grad!.dataSync()], [-27, -54]);
  });

  it('counts what is not finite', () => {
    const y = tensor([1, NaN, Infinity], { requiresGrad: true });
    assert.match(graphText(y, { values: true }), /1, 1 NaN, 1 infinite$/);
    assert.match(graphText(tensor([NaN], { requiresGrad: true }), { values: true }), / {2}1 NaN$/);
  });

  it('takes the names of a model, and a value that is used twice', () => {
    const model = new Linear(2, 1);
    const h = model.forward(x());
    const rows = cells(graphText(h.mul(h).sum(), { names: model.namedParameters() }));
    assert.deepEqual(
      rows.map(([, op]) => op),
      ['leaf weight', 'leaf bias', 'matmul', 'add', 'mul', 'sum'],
    );
    assert.equal(rows[4]![2], '#4, #4');
  });

  it('a checkpointed part is one step', () => {
    const weight = w();
    const rows = cells(
      graphText(
        checkpoint((t: Tensor) => t.exp().sum(), weight),
        { gradients: true },
      ),
    );
    assert.deepEqual(
      rows.map(([, op]) => op),
      ['leaf', 'checkpoint'],
    );
    assert.equal(rows[0]!.at(-1), '0.36788 … 1.6487'); // e⁻¹, e^½
  });

  it('holds on to no memory', () => {
    const weight = w();
    const loss = x().matmul(weight).square().sum();
    graphText(loss, { values: true, gradients: true });
    const before = memory().storages;
    for (let i = 0; i < 20; i++) graphText(loss, { values: true, gradients: true });
    assert.equal(memory().storages, before);
  });

  it('says what it cannot show', () => {
    const weight = w();
    const loss = x().matmul(weight).sum();
    loss.backward();
    const fails = (given: unknown, error: typeof GraphError | typeof UsageError, text: RegExp, options?: unknown) =>
      assert.throws(
        () => graphText(given as Tensor, options as GraphOptions),
        (thrown: Error) => thrown instanceof error && text.test(thrown.message),
      );
    fails(loss, GraphError, /^graphText: a graph that an earlier backward/);
    fails(ones([2]), GraphError, /without history/);
    fails(() => noGrad(() => weight.mul(2)), GraphError, /without history/);
    fails(weight.greater(0), GraphError, /greater: /);
    fails(weight.mul(2), GraphError, /one element|single element/, { gradients: true });
    fails(3, UsageError, /3 as loss/);
    fails(() => 3, UsageError, /3 as result/);
    fails(async () => weight, UsageError, /promise/);
    fails(weight, UsageError, /an option value/, { value: true });
    fails(weight, UsageError, /as names/, { names: 'w' });
  });
});

describe('toDot', () => {
  it('is a graph of boxes and arrows, with every text quoted', () => {
    const weight = w();
    const dot = toDot(x().matmul(weight).mul(3).sum(), { names: { 'the "w"\\n': weight } });
    const lines = dot.split('\n');
    const node = /^ {2}([nc]\d+(?:_\d+)?) \[label="((?:[^"\\]|\\.)*)"(?:, [a-z]+=(?:[a-z]+|"[^"]*"))*\];$/;
    const edge = /^ {2}([nc]\d+(?:_\d+)?) -> (n\d+);$/;
    assert.equal(lines[0], 'digraph hopgrad {');
    assert.deepEqual(lines.slice(-2), ['}', '']);
    const body = lines.slice(2, -2);
    for (const line of body) assert.ok(node.test(line) || edge.test(line), line);
    const edges = body.flatMap((line) => edge.exec(line)?.slice(1).join(' ') ?? []);
    assert.deepEqual(edges, ['c2_0 n2', 'n1 n2', 'n2 n3', 'c3_1 n3', 'n3 n4']);
    const labels: { n1?: string; c3_1?: string; n4?: string } = Object.fromEntries(
      body.flatMap((line) => [node.exec(line)?.slice(1, 3) ?? []].filter((m) => m[0])),
    );
    assert.equal(labels.n1, 'leaf the \\"w\\"\\\\n\\nfloat32 [2, 1]');
    assert.equal(labels.c3_1, '3');
    assert.equal(labels.n4, 'sum\\naxes [0, 1]\\nfloat32 []');
  });
});
