/** Locked towers, layer-wise rates, averages of weights: what moves, how far, and what is evaluated. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, UsageError } from 'hopgrad';
import { createModel, loadCheckpoint } from 'hopgrad/models/cloob';
import { Module, type Parameter } from 'hopgrad/nn';
import { checkTrainOptions, type TrainOptions } from '#src/train/options.js';
import { bestWeightsOf, restoreTraining, saveTraining, verifyTraining } from '#src/train/state.js';
import { lockTowers, scaledGroups, type TowerGroup, towerGroups } from '#src/train/towers.js';
import type { Trainer } from '#src/train/trainer.js';
import { tinyConfig } from '../cli/helpers.js';
import { values } from '../helpers.js';
import { defaults, losses, makeTrainer, record } from './helpers.js';

const transformer = { ...tinyConfig, vision_layers: 3, vision_width: 8, vision_patch_size: 4, transformer_layers: 2 };
const parametersOf = (group: TowerGroup): Parameter[] =>
  group.flatMap((member) => (member instanceof Module ? member.parameters() : [member]));

/** Everything of a tower, parameters and statistics. */
const towerState = ({ model }: Pick<Trainer, 'model'>, tower: 'visual' | 'transformer') =>
  Object.fromEntries(
    Object.entries(model.stateDict()).flatMap(([name, value]) =>
      name.startsWith(`${tower}.`) ? [[name, Array.from(values(value))]] : [],
    ),
  );
const changed = (a: Record<string, number[]>, b: Record<string, number[]>) =>
  Object.keys(a).filter((name) => a[name]!.some((x, i) => x !== b[name]![i]));

describe('towers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-towers-'));
  after(() => rmSync(folder, { recursive: true }));

  for (const [what, config, count] of [
    ['a residual network', tinyConfig, 6],
    ['a vision transformer', transformer, 5],
  ] as const)
    it(`${what}: every parameter is in one group, the last first`, () => {
      const model = createModel(config);
      for (const [tower, module] of [
        ['image', model.visual],
        ['text', model.transformer],
      ] as const) {
        const groups = towerGroups(model, tower);
        const all = groups.flatMap(parametersOf);
        assert.equal(new Set(all).size, all.length);
        assert.deepEqual(new Set(all), new Set(module.parameters()));
        if (tower === 'image') assert.equal(groups.length, count);
      }
      const [first] = towerGroups(model, 'text');
      assert.deepEqual(first, [model.transformer.text_projection]);
    });

  for (const [tower, other, flags] of [
    ['visual', 'transformer', { lockImage: true }],
    ['transformer', 'visual', { lockText: true }],
  ] as const)
    it(`a locked ${tower} keeps weights and statistics, and the other is trained`, async () => {
      const trainer = makeTrainer(flags);
      const before = { [tower]: towerState(trainer, tower), [other]: towerState(trainer, other) };
      await losses(trainer);
      assert.deepEqual(changed(before[tower]!, towerState(trainer, tower)), []);
      assert.ok(changed(before[other]!, towerState(trainer, other)).length > 10);
      const trained = trainer.model.parameters().filter(({ requiresGrad }) => requiresGrad);
      assert.equal(trainer.optimizer.state().m.length, trained.length + trainer.objective.parameters().length);
      assert.ok(trained.length < trainer.model.parameters().length);
    });

  it('of a locked tower the last groups are trained, and no others', async () => {
    const trainer = makeTrainer({ lockImage: true, lockText: true, unlockLast: 2 });
    const [image, text] = [towerState(trainer, 'visual'), towerState(trainer, 'transformer')];
    await losses(trainer);
    const moved = [
      ...changed(image, towerState(trainer, 'visual')),
      ...changed(text, towerState(trainer, 'transformer')),
    ];
    assert.ok(
      moved.some((name) => name.startsWith('visual.layer4.')),
      String(moved),
    );
    const open = /^visual\.(attnpool|layer4)\.|^transformer\.(text_projection|ln_final|transformer\.resblocks\.0)/;
    assert.deepEqual(
      moved.filter((name) => !open.test(name)),
      [],
    );
  });

  it('rates fall from group to group: the first step of Adam is as long as the rate', async () => {
    const trainer = makeTrainer({ layerDecay: 0.5, wd: 0, warmup: 0, lrScheduler: 'const', hopfield: false, steps: 1 });
    const { model } = trainer;
    const groups = towerGroups(model, 'image');
    const before = groups.map((group) => parametersOf(group).map((p) => Array.from(values(p))));
    await losses(trainer);
    for (const [k, group] of groups.entries()) {
      const steps = parametersOf(group).flatMap((p, i) =>
        Array.from(values(p), (x, j) => Math.abs(x - before[k]![i]![j]!)),
      );
      // Elements whose gradient is far from Adam's ε move by the rate.
      assert.ok(Math.abs(Math.max(...steps) / (1e-2 * 0.5 ** k) - 1) < 0.02, `group ${k}: ${Math.max(...steps)}`);
    }
    const scales = scaledGroups(model, [...model.parameters()], 0.5);
    assert.equal(scales.find(({ parameters }) => parameters.includes(model.logit_inv_tau))!.lrScale, 1);
    assert.equal(scales.flatMap(({ parameters }) => parameters).length, model.parameters().length);
  });

  it('the average is that of the recursion; it is what is kept to evaluate, beside the weights', async () => {
    const trainer = makeTrainer({ ema: 0.5, hopfield: false });
    const parameter = trainer.model.transformer.text_projection;
    let average = Array.from(values(parameter));
    let t = 0;
    await trainer.run({
      onStep: () => {
        t++;
        const d = Math.min(0.5, (1 + t) / (10 + t));
        const now = values(parameter);
        average = average.map((a, i) => a + (1 - d) * (now[i]! - a));
      },
    });
    const close = (found: ArrayLike<number>) =>
      average.every((a, i) => Math.abs(a - found[i]!) < 1e-6) && average.some((a, i) => a !== values(parameter)[i]);
    const of = async (path: string) => values((await loadCheckpoint(path)).model.transformer.text_projection);
    const path = mkdtempSync(join(folder, 'ema-'));
    const raw = Array.from(values(parameter));
    await saveTraining(path, trainer, record(trainer));
    assert.ok(close(await of(bestWeightsOf(path))), 'averaged.safetensors');
    assert.deepEqual(Array.from(await of(join(path, 'model.safetensors'))), raw, 'the weights themselves');
    assert.deepEqual(Array.from(values(parameter)), raw, 'are back in the model');
    await trainer.withWeights(async () => assert.ok(close(values(parameter)), 'evaluated'));

    const facts = verifyTraining(path);
    rmSync(bestWeightsOf(path));
    assert.ok(existsSync(join(path, 'model.safetensors')));
    assert.throws(() => verifyTraining(path), /averaged\.safetensors missing/);
    writeFileSync(join(path, 'averaged.safetensors'), 'nothing');
    assert.throws(() => verifyTraining(path), /averaged\.safetensors/);
    assert.throws(() => restoreTraining(path, trainer, { ...facts, averaged: undefined }), CheckpointError);
  });

  it('refuses what trains nothing, and groups that there are not', () => {
    const check = (options: Partial<TrainOptions>) => checkTrainOptions({ ...defaults, ...options });
    assert.throws(() => check({ lockImage: true, lockText: true }), UsageError);
    assert.throws(() => check({ unlockLast: 1 }), UsageError);
    assert.throws(() => check({ layerDecay: 0 }), UsageError);
    assert.throws(() => check({ ema: 1 }), UsageError);
    check({ lockImage: true, lockText: true, unlockLast: 1 });
    const lock = { lockImage: true, lockText: false, unlockLast: 7 };
    assert.throws(() => lockTowers(createModel(tinyConfig), lock), /has 6 groups/);
  });
});
