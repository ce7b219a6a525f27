/** A training saved in one file and continued. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, randn } from 'hopgrad';
import { writeSafetensors } from 'hopgrad/models/cloob';
import { AdamW, BatchNorm1d, Dropout, ExponentialMovingAverage, Linear, load, Sequential, SGD, save } from 'hopgrad/nn';
import { values } from '../helpers.js';

const data = randn([8, 3], { seed: 1 });
function start() {
  const model = new Sequential(new Linear(3, 4), new BatchNorm1d(4), new Dropout(0.5), new Linear(4, 1));
  const optimizer = new AdamW(model.parameters(), { lr: 0.05 });
  const average = new ExponentialMovingAverage(model, { decay: 0.9 });
  const train = async (steps: number) => {
    for (let step = 0; step < steps; step++) {
      optimizer.zeroGrad();
      model.forward(data).square().mean().backward();
      await optimizer.step();
      average.update();
    }
  };
  const all = () => [...Object.values(model.stateDict()), ...Object.values(average.state().averages)].map(values);
  return { model, optimizer, average, train, all };
}

describe('save and load', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-save-'));
  const path = join(folder, 'run.safetensors');
  after(() => rmSync(folder, { recursive: true }));

  it('continue a training to the bit: weights, statistics, moments, averages, random numbers', async () => {
    manualSeed(4);
    const whole = start();
    await whole.train(3);
    await save(path, { ...whole, step: 3 });
    await whole.train(3);

    manualSeed(77);
    const other = start();
    await other.train(1);
    assert.deepEqual(load(path, other), { step: 3 });
    await other.train(3);
    assert.deepEqual(other.all(), whole.all());
    assert.deepEqual(other.optimizer.state().steps, whole.optimizer.state().steps);
  });

  it('give the model alone as well, from bytes, and leave the random numbers as they are', async () => {
    const { model } = start();
    manualSeed(5);
    load(readFileSync(path), { model });
    const next = values(randn([2]));
    manualSeed(5);
    assert.deepEqual(next, values(randn([2])));
    const { model: saved } = start();
    load(path, { model: saved });
    assert.deepEqual(Object.values(model.stateDict()).map(values), Object.values(saved.stateDict()).map(values));
  });

  it('refuse what does not fit, and change nothing then', async () => {
    const given = start();
    const remembered = () => [given.optimizer.state().step, ...given.optimizer.state().m.map(values)];
    const before = [given.all(), remembered()];
    const refuse = (file: string, parts: Parameters<typeof load>[1], received: RegExp) =>
      assert.throws(() => load(file, parts), { name: 'CheckpointError', received });
    refuse(path, { model: new Linear(3, 4) }, /missing: weight, bias; unexpected: 0\.weight/);
    refuse(path, { ...given, model: new Linear(3, 4) }, /missing: weight, bias/);
    refuse(path, { ...given, optimizer: new SGD(given.model.parameters()) }, /^0 tensors u/);
    refuse(path, { ...given, average: new ExponentialMovingAverage(new Linear(3, 4)) }, /missing: weight/);
    const plain = join(folder, 'plain.safetensors');
    await save(plain, { model: given.model });
    refuse(plain, given, /without an average/);
    refuse(plain, { model: given.model, optimizer: given.optimizer }, /without an optimiser/);
    await writeSafetensors(plain, given.model.stateDict());
    refuse(plain, given, /that save\(\) did not write/);
    await writeSafetensors(plain, given.model.stateDict(), { 'hopgrad save': '{' });
    refuse(plain, given, /damaged/);
    assert.deepEqual([given.all(), remembered()], before);
    await assert.rejects(save(plain, { model: given.model, step: -1 }), { name: 'DomainError' });
    await assert.rejects(save(join(folder, 'none', 'x'), given), { name: 'DataError' });
  });
});
