/** The average of weights against PyTorch's AveragedModel (test/fixtures/optimisers.py). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ones, tensor } from 'hopgrad';
import { ExponentialMovingAverage, Linear } from 'hopgrad/nn';
import { fixture, relativeError, values } from '../helpers.js';

type Packed = { shape: number[]; data: number[] };
const golden: { path: Record<string, Packed>[]; averages: Record<string, Packed>[] } = JSON.parse(
  readFileSync(fixture('optimisers.json'), 'utf8'),
).average;
const where = { dtype: 'float64', device: 'reference' } as const;
const layer = () => new Linear(3, 2, where);
const put = (model: Linear, state: Record<string, Packed>) =>
  model.loadStateDict(
    Object.fromEntries(
      Object.entries(state).map(([name, { shape, data }]) => [name, tensor(data, { shape, ...where })]),
    ),
  );

function along(decay = 0.9, warmup = false) {
  const model = layer();
  put(model, golden.path[0]!);
  return { model, ema: new ExponentialMovingAverage(model, { decay, warmup }) };
}

describe('ExponentialMovingAverage', () => {
  it('follows PyTorch, leaves the model alone, and lends it the averages', async () => {
    const { model, ema } = along();
    for (const [i, expected] of golden.averages.entries()) {
      put(model, golden.path[i + 1]!);
      ema.update();
      assert.deepEqual(values(model.weight), golden.path[i + 1]!.weight!.data);
      await ema.use(async () => {
        assert.ok(relativeError(values(model.weight), expected.weight!.data) < 1e-14);
        assert.ok(relativeError(values(model.bias!), expected.bias!.data) < 1e-14);
        assert.throws(() => ema.update(), { name: 'UsageError' });
        assert.throws(() => ema.state(), { name: 'UsageError' });
        await assert.rejects(
          ema.use(() => 1),
          { name: 'UsageError' },
        );
      });
      assert.deepEqual(values(model.weight), golden.path[i + 1]!.weight!.data);
    }
  });

  it('gives the weights back when what uses the averages fails', async () => {
    const { model, ema } = along();
    put(model, golden.path[1]!);
    ema.update();
    await assert.rejects(
      ema.use(() => {
        throw new Error('evaluation');
      }),
      /evaluation/,
    );
    assert.deepEqual(values(model.weight), golden.path[1]!.weight!.data);
    ema.update();
    assert.equal(ema.updates, 2);
  });

  it('begins with a smaller decay: (1 + t)/(10 + t)', () => {
    const { model, ema } = along(0.9, true);
    put(model, golden.path[1]!);
    ema.update();
    const [from, to] = [golden.path[0]!.bias!.data, golden.path[1]!.bias!.data];
    const expected = from.map((value, i) => (2 * value + 9 * to[i]!) / 11);
    assert.ok(relativeError(values(ema.state().averages.bias!), expected) < 1e-14);
  });

  it('keeps what does not change, and goes on from its state to the bit', () => {
    const whole = along(0.9, true);
    const still = values(whole.model.weight);
    for (let i = 0; i < 5; i++) whole.ema.update();
    assert.deepEqual(values(whole.ema.state().averages.weight!), still);
    put(whole.model, golden.path[1]!);
    whole.ema.update();
    const second = new ExponentialMovingAverage(whole.model, { decay: 0.9 });
    second.loadState(whole.ema.state());
    put(whole.model, golden.path[2]!);
    for (const ema of [whole.ema, second]) ema.update();
    assert.deepEqual(values(second.state().averages.weight!), values(whole.ema.state().averages.weight!));
    for (const wrong of [
      { updates: -1, averages: whole.ema.state().averages },
      { updates: 1, averages: { weight: ones([2, 3]) } },
    ])
      assert.throws(() => second.loadState(wrong), { name: 'CheckpointError' });
    assert.throws(() => new ExponentialMovingAverage(layer(), { decay: 1 }), { name: 'DomainError' });
  });
});
