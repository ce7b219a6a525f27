/** The model as a whole: seeds, modes, the end token, the temperature, and what is refused. */
import assert from 'node:assert/strict';
import { DomainError, DTypeError, HopgradError, ones, randn, ShapeError, tensor, UsageError, zeros } from 'hopgrad';
import { type CloobConfig, configs, createModel } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';
import { relativeError, values } from '../../helpers.js';

const vit: CloobConfig = {
  embed_dim: 8,
  image_resolution: 8,
  vision_layers: 1,
  vision_width: 8,
  vision_patch_size: 4,
  vision_heads: 2,
  context_length: 6,
  vocab_size: 20,
  transformer_width: 8,
  transformer_heads: 2,
  transformer_layers: 1,
};
const resnet: CloobConfig = {
  ...vit,
  vision_layers: [1, 1, 1, 1],
  vision_patch_size: null,
  vision_width: 4,
  stem_reduction: 1,
};
const tokens = (rows: number[][]) => tensor(rows, { dtype: 'int32' });
const images = (batch: number) => randn([batch, 3, 8, 8], { seed: 1 });

describe('CloobModel', () => {
  for (const [kind, config] of [
    ['vit', vit],
    ['resnet', resnet],
  ] as const) {
    it(`${kind}: the seed decides the weights, all of them`, () => {
      const state = (seed: number) => createModel(config, { seed }).stateDict();
      const [a, b, c] = [state(1), state(1), state(2)];
      for (const name of Object.keys(a)) assert.deepEqual(values(a[name]!), values(b[name]!), name);
      const random = Object.keys(a).filter((name) => new Set(values(a[name]!)).size > 1);
      assert.ok(random.length > 8 && random.every((name) => String(values(a[name]!)) !== String(values(c[name]!))));
    });

    it(`${kind}: in evaluation a sample's embedding does not depend on its batch, and nothing is updated`, () => {
      const model = createModel(config, { seed: 1 }).eval();
      const before = Object.values(model.stateDict()).map(values);
      const x = images(5);
      const all = values(model.encodeImage(x));
      assert.ok(relativeError(values(model.encodeImage(x.slice([[3, 4]]))), all.slice(24, 32)) < 1e-5);
      assert.deepEqual(Object.values(model.stateDict()).map(values), before);
    });

    it(`${kind}: every parameter is reached by the loss, and learning lowers it`, async () => {
      const model = createModel(config, { seed: 1 });
      for (const [name, p] of model.namedParameters())
        if (/bn3\.weight/.test(name)) model.loadStateDict({ [name]: ones(p.shape) }, { strict: false });
      const optimizer = new AdamW(model.parameters(), { lr: 3e-3 });
      const [x, t] = [images(6), tokens([0, 1, 2, 3, 4, 5].map((i) => [18, i + 1, 2 * i + 1, 19, 0, 0]))];
      const losses: number[] = [];
      for (let step = 0; step < 12; step++) {
        optimizer.zeroGrad();
        const loss = cloobLoss(model.encodeImage(x).l2Normalize(), model.encodeText(t).l2Normalize(), {
          invTau: model.invTau(),
          beta: 8,
        });
        loss.backward();
        if (step === 0)
          for (const [name, p] of model.namedParameters())
            assert.ok(p.grad && values(p.grad).some((g) => g !== 0), name);
        losses.push(await loss.item());
        await optimizer.step();
      }
      assert.ok(losses.at(-1)! < losses[0]! - 0.003, losses.join());
    });
  }

  it('text is read at the end token: what follows it does not matter, what precedes it does', () => {
    const model = createModel(vit, { seed: 1 });
    const embed = (...row: number[]) => values(model.encodeText(tokens([row])));
    assert.deepEqual(embed(18, 3, 19, 0, 0, 0), embed(18, 3, 19, 7, 8, 9));
    assert.ok(relativeError(embed(18, 3, 19), embed(18, 3, 19, 0, 0, 0)) < 1e-5, 'shorter sequences need no padding');
    assert.notDeepEqual(embed(18, 3, 19, 0, 0, 0), embed(18, 4, 19, 0, 0, 0));
  });

  it('keeps ln τ⁻¹, from 30 unless told otherwise, between 0 and ln 100', () => {
    const model = createModel(vit);
    assert.ok(relativeError(values(model.invTau()), [30]) < 1e-6);
    assert.equal(model.logit_inv_tau.decay, false);
    for (const [set, kept] of [
      [5, Math.log(100)],
      [-1, 0],
      [2, 2],
    ]) {
      model.loadStateDict({ logit_inv_tau: tensor([set!]) }, { strict: false });
      model.clampInvTau();
      assert.ok(Math.abs(values(model.logit_inv_tau)[0]! - kept!) < 1e-6);
    }
    assert.ok(relativeError(values(createModel(vit, { initInvTau: 14.3 }).invTau()), [14.3]) < 1e-6);
  });

  it('lives where it is told', () => {
    const model = createModel(vit, { dtype: 'float64', device: 'reference' });
    assert.ok(model.parameters().every((p) => p.dtype === 'float64' && p.device === 'reference'));
    assert.deepEqual(createModel('emoji-vit').parameterCount(), createModel(configs['emoji-vit']).parameterCount());
  });

  it('refuses configurations, images and tokens that do not fit, in words', () => {
    const model = createModel(vit);
    const refused: [() => unknown, new (...args: never[]) => HopgradError, RegExp][] = [
      [() => createModel('RN51'), UsageError, /RN50.*ViT-B-32/],
      [() => createModel('toString'), UsageError, /unknown model/],
      [() => createModel(null as never), DomainError, /null/],
      [() => createModel({ ...vit, embed_dim: 0 }), DomainError, /embed_dim 0/],
      [() => createModel({ ...vit, vision_patch_size: 3 }), DomainError, /vision_patch_size 3/],
      [() => createModel({ ...vit, transformer_heads: 3 }), DomainError, /3 transformer_heads/],
      [() => createModel({ ...vit, context_length: 2 }), DomainError, /context_length/],
      [
        () => createModel({ ...resnet, vision_layers: [1, 1] as never }),
        DomainError,
        /vision_layers .*four whole numbers/,
      ],
      [() => createModel(vit, { initInvTau: 0 }), DomainError, /initInvTau 0/],
      [() => createModel(vit, { device: 'nowhere' }), HopgradError, /nowhere/],
      [() => createModel(vit, { seed: -1 }), DomainError, /seed -1/],
      [() => model.encodeImage(ones([1, 8, 8, 3])), ShapeError, /\[1, 8, 8, 3\].*\[batch, 3, 8, 8\]/],
      [() => model.encodeImage(ones([3, 8, 8])), ShapeError, /\[3, 8, 8\]/],
      [() => model.encodeText(zeros([1, 6])), DTypeError, /float32 tokens/],
      [() => model.encodeText(tokens([[1, 2, 3, 4, 5, 6, 7]])), ShapeError, /\[1, 7\]/],
      [() => model.encodeText(tokens([[1, 20]])), DomainError, /index 20/],
      [() => model.encodeText(tensor([1, 2], { dtype: 'int32' })), ShapeError, /\[2\]/],
    ];
    for (const [call, type, message] of refused) {
      assert.throws(call, type, String(call));
      assert.throws(call, message, String(call));
    }
  });
});
