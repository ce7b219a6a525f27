/** One tiny CLIP under the names of several layouts: read with the embeddings that PyTorch has, and written back. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CheckpointError, noGrad, type Tensor, tensor, UsageError } from 'hopgrad';
import {
  ClipTokenizer,
  type CloobConfig,
  type CloobModel,
  createModel,
  loadCheckpoint,
  preprocessing,
  readSafetensors,
  saveCheckpoint,
  writeSafetensors,
} from 'hopgrad/models/cloob';
import { hopgrad } from '../../cli/helpers.js';
import { fixture, relativeError, values } from '../../helpers.js';

const config: CloobConfig = {
  embed_dim: 8,
  image_resolution: 8,
  vision_layers: 2,
  vision_width: 16,
  vision_patch_size: 4,
  vision_heads: 2,
  context_length: 6,
  vocab_size: 40,
  transformer_width: 16,
  transformer_heads: 2,
  transformer_layers: 2,
};
type Vectors = number[][];
const expected = JSON.parse(readFileSync(fixture('layouts/embeddings.json'), 'utf8')) as {
  tokens: number[][];
} & Record<'quick_gelu' | 'gelu', { images: Vectors; texts: Vectors }>;

/** The model gives what PyTorch gave with the same weights. */
function agrees(model: CloobModel, activation: 'quick_gelu' | 'gelu'): void {
  const pictures = Float64Array.from({ length: 2 * 3 * 8 * 8 }, (_, i) => Math.sin(0.37 * i));
  const [images, texts] = noGrad(() => [
    model.encodeImage(tensor(pictures, { shape: [2, 3, 8, 8], dtype: 'float32' })),
    model.encodeText(tensor(expected.tokens, { dtype: 'int32' })),
  ]);
  assert.ok(relativeError(values(images!), expected[activation].images.flat()) < 2e-5, 'images');
  assert.ok(relativeError(values(texts!), expected[activation].texts.flat()) < 2e-5, 'texts');
}

const same = (a: Record<string, Tensor>, b: Record<string, Tensor>) => {
  assert.deepEqual(Object.keys(a).sort(), Object.keys(b).sort());
  for (const [name, value] of Object.entries(a)) assert.deepEqual(values(value), values(b[name]!), name);
};

describe('layouts of weights', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
  after(() => rmSync(folder, { recursive: true }));
  const at = (...parts: string[]) => join(folder, ...parts);
  const weights = fixture('layouts/hugging-face/pytorch_model.bin');

  it('of Hugging Face, from its folder: heads, activation, mean and deviation are those beside the weights', async () => {
    const { model, missing, unexpected } = await loadCheckpoint(fixture('layouts/hugging-face'));
    assert.deepEqual([missing, unexpected], [[], []]);
    assert.deepEqual(
      { ...model.config },
      { ...config, activation: 'gelu', image_mean: [0.5, 0.5, 0.5], image_std: [0.25, 0.25, 0.25] },
    );
    assert.deepEqual(preprocessing(model.config).std, [0.25, 0.25, 0.25]);
    agrees(model, 'gelu');
  });

  it('of open_clip with a text encoder of its own, and its configuration', async () => {
    const { model } = await loadCheckpoint(pathToFileURL(fixture('layouts/open-clip/open_clip_pytorch_model.bin')));
    assert.equal(model.config.activation, 'gelu');
    agrees(model, 'gelu');
  });

  it('of CLIP after torch.compile and Lightning, into a model of either activation', async () => {
    for (const activation of ['quick_gelu', 'gelu'] as const) {
      const model = createModel({ ...config, activation });
      const { metadata } = await loadCheckpoint(fixture('layouts/lightning/weights.pt'), { model });
      assert.equal(metadata.epoch, '4');
      agrees(model, activation);
    }
  });

  it('without a configuration beside them are CLIP’s, unless the activation is said', async () => {
    copyFileSync(weights, at('alone.bin'));
    await assert.rejects(loadCheckpoint(at('alone.bin')), /width of 16, no multiple of 64/);
    const model = createModel({ ...config });
    await loadCheckpoint(at('alone.bin'), { model });
    agrees(model, 'quick_gelu');
    writeFileSync(
      at('config.json'),
      JSON.stringify({ text_config: { num_attention_heads: 2 }, vision_config: { num_attention_heads: 2 } }),
    );
    agrees((await loadCheckpoint(at('alone.bin'))).model, 'quick_gelu');
    agrees((await loadCheckpoint(at('alone.bin'), { activation: 'gelu' })).model, 'gelu');
  });

  it('in several files with an index; an index cannot reach out of its folder', async () => {
    mkdirSync(at('sharded'));
    const { model } = await loadCheckpoint(fixture('layouts/hugging-face'));
    await saveCheckpoint(at('whole.safetensors'), { model, layout: 'hugging-face' });
    const { tensors } = readSafetensors(at('whole.safetensors'));
    const names = Object.keys(tensors);
    const weight_map = Object.fromEntries(names.map((name, i) => [name, `part-${i % 2}.safetensors`]));
    for (const part of [0, 1])
      await writeSafetensors(
        at('sharded', `part-${part}.safetensors`),
        Object.fromEntries(Object.entries(tensors).filter((_, i) => i % 2 === part)),
      );
    for (const name of ['config.json', 'preprocessor_config.json'])
      copyFileSync(fixture(`layouts/hugging-face/${name}`), at('sharded', name));
    const index = at('sharded', 'model.safetensors.index.json');
    writeFileSync(index, JSON.stringify({ metadata: {}, weight_map }));
    const sharded = await loadCheckpoint(at('sharded'));
    same(sharded.model.stateDict(), model.stateDict());
    agrees(sharded.model, 'gelu');
    for (const [broken, message] of [
      [{ ...weight_map, [names[0]!]: '../whole.safetensors' }, /expected the name of a file beside the index/],
      [{ ...weight_map, [names[0]!]: 'part-1.safetensors' }, /no logit_scale in part-1|no .* in part-1/],
      [{}, /without a weight_map/],
    ] as const) {
      writeFileSync(index, JSON.stringify({ weight_map: broken }));
      await assert.rejects(loadCheckpoint(index), message);
    }
  });

  it('tell under the official name what lacks, or does not fit', async () => {
    const { tensors } = readSafetensors(at('whole.safetensors'));
    const { 'text_model.encoder.layers.1.self_attn.k_proj.weight': gone, ...rest } = tensors;
    await writeSafetensors(at('lacking.safetensors'), rest);
    const into = { model: createModel(config) };
    await assert.rejects(
      loadCheckpoint(at('lacking.safetensors'), into),
      (error) =>
        error instanceof CheckpointError &&
        /missing: transformer\.transformer\.resblocks\.1\.attn\.in_proj_weight;/.test(error.message) &&
        /unexpected: text_model\.encoder\.layers\.1\.self_attn\.q_proj\.weight, /.test(error.message),
    );
    await writeSafetensors(at('odd.safetensors'), { ...tensors, 'text_projection.weight': gone! });
    await assert.rejects(
      loadCheckpoint(at('odd.safetensors'), into),
      /wrong shape: transformer\.text_projection: \[16, 16\] instead of/,
    );
  });

  for (const layout of ['openai', 'open-clip', 'hugging-face'] as const)
    it(`are written as ${layout} and read again, every bit`, async () => {
      const model = createModel({ ...config, vocab_size: 600, activation: 'gelu' }, { seed: 4 });
      const tokenizer = ClipTokenizer.train(['a red circle', 'a red square'], { vocabSize: 520 });
      mkdirSync(at(layout));
      await saveCheckpoint(at('own.safetensors'), { model, tokenizer });
      const { code, stderr } = await hopgrad(folder, [
        'convert',
        'own.safetensors',
        `${layout}/model.safetensors`,
        '--to',
        layout,
      ]);
      assert.equal(code, 0, stderr);
      const { tensors } = readSafetensors(at(layout, 'model.safetensors'));
      assert.ok(
        tensors.logit_scale && !Object.keys(tensors).some((name) => name.startsWith('transformer.transformer.')),
      );
      // As others read it: by names and the configuration beside, without what this package leaves in the file.
      await writeSafetensors(at(layout, 'model.safetensors'), tensors);
      const { model: back } = await loadCheckpoint(
        at(layout),
        layout === 'openai' ? { model: createModel({ ...model.config }) } : {},
      );
      same(back.stateDict(), model.stateDict());
      assert.equal(back.config.activation, 'gelu');
      if (layout !== 'hugging-face') return;
      const vocabulary = JSON.parse(readFileSync(at(layout, 'vocab.json'), 'utf8')) as Record<string, number>;
      assert.equal(Object.keys(vocabulary).length, tokenizer.vocabSize);
      assert.equal(vocabulary['<|endoftext|>'], tokenizer.endId);
      assert.equal(readFileSync(at(layout, 'merges.txt'), 'utf8').split('\n').length, tokenizer.merges.length + 2);
      const again = await hopgrad(folder, [
        'convert',
        'own.safetensors',
        `${layout}/other.safetensors`,
        '--to',
        layout,
      ]);
      assert.match(again.stderr, /config\.json, which is there already/);
    });

  it('refuse what they cannot hold', async () => {
    const resnet = { ...config, image_resolution: 32, vision_layers: [1, 1, 1, 1] as const, vision_patch_size: null };
    for (const [model, layout] of [
      [createModel({ ...resnet, vision_width: 4 }), 'hugging-face'],
      [createModel({ ...config, center: 'batch' }), 'openai'],
    ] as const)
      await assert.rejects(saveCheckpoint(at('x.safetensors'), { model, layout }), UsageError);
  });
});
