/** Models of CLOOB in ONNX Runtime, and their tokenizers in Hugging Face's own: train here, serve anywhere. */
import assert from 'node:assert/strict';
import { init, randn, type Tensor, tensor } from 'hopgrad';
import { ClipTokenizer, createModel } from 'hopgrad/models/cloob';
import { cloobToOnnx } from 'hopgrad/onnx';
import { UsageError } from '#src/tensor/errors.js';
import { needRuntime, runtime, tokenizers } from './runtime.js';

const text = {
  context_length: 12,
  vocab_size: 49408,
  transformer_width: 16,
  transformer_heads: 2,
  transformer_layers: 2,
};
const configs = {
  'a residual network, centred': {
    ...{ embed_dim: 8, image_resolution: 32, vision_layers: [1, 1, 1, 1], vision_width: 8, vision_heads: 4 },
    ...text,
    center: 'batch',
  },
  'a vision transformer, exact GELU': {
    ...{
      embed_dim: 8,
      image_resolution: 32,
      vision_layers: 2,
      vision_width: 16,
      vision_patch_size: 8,
      vision_heads: 2,
    },
    ...text,
    activation: 'gelu',
  },
} as const;

const texts = [
  'a photo of a cat',
  "It's 3 dogs, and café – don't!",
  'Grüße aus 東京 🙂',
  'THE QUICK brown foxes jump over everything that there is on the way to the river',
  '½ ①',
];

describe('cloobToOnnx', function () {
  this.timeout(300_000);
  before(async function () {
    needRuntime.call(this);
    await init({ device: 'wasm' });
  });

  for (const [what, config] of Object.entries(configs))
    it(`${what}: the embeddings of ONNX Runtime are ours, for any batch`, async () => {
      const onnx = await runtime();
      const tokenizer = await ClipTokenizer.official();
      const model = createModel(config as never, { seed: 3 });
      // Statistics that are not those of a fresh model.
      model.train();
      for (let i = 0; i < 3; i++) model.encodeImage(randn([4, 3, 32, 32], { seed: i }));
      const files = await cloobToOnnx(model, tokenizer);
      assert.ok(model.training && model.visual.training, 'still in training mode');
      model.eval();
      const session = (name: string) => onnx.InferenceSession.create(files[name] as Uint8Array);
      const [vision, words] = [await session('onnx/vision_model.onnx'), await session('onnx/text_model.onnx')];
      const close = (actual: ArrayLike<number>, expected: Tensor) => {
        const of = expected.dataSync();
        assert.equal(actual.length, of.length);
        for (const [i, x] of of.entries()) assert.ok(Math.abs(x - actual[i]!) < 1e-4, `${x} ${actual[i]}`);
      };
      for (const batch of [1, 3]) {
        const pictures = randn([batch, 3, 32, 32], { seed: 10 + batch });
        const pixel_values = new onnx.Tensor('float32', pictures.dataSync(), pictures.shape);
        close((await vision.run({ pixel_values })).image_embeds!.data, model.encodeImage(pictures));
        const ids = tokenizer.tokenize(texts.slice(0, batch), { contextLength: 12 });
        const expected = model.encodeText(tensor(ids, { shape: [batch, 12] }));
        // Whatever follows the end token: zeros, or the end token again as transformers.js pads.
        const padded = ids.map((id, i) => (id === 0 && i % 12 > 0 ? tokenizer.endId : id));
        for (const form of [ids, padded]) {
          const input_ids = new onnx.Tensor('int64', BigInt64Array.from(form, BigInt), [batch, 12]);
          close((await words.run({ input_ids })).text_embeds!.data, expected);
        }
      }
    });

  it('writes a tokenizer that gives our ids', async () => {
    const { Tokenizer } = await tokenizers();
    const tokenizer = await ClipTokenizer.official();
    const files = await cloobToOnnx(createModel(configs['a vision transformer, exact GELU'] as never), tokenizer);
    const theirs = new Tokenizer(
      JSON.parse(files['tokenizer.json'] as string),
      JSON.parse(files['tokenizer_config.json'] as string),
    );
    for (const words of texts) {
      const ours = [tokenizer.startId, ...tokenizer.encode(words), tokenizer.endId];
      assert.deepEqual([...theirs.encode(words).ids], ours, words);
    }
  });

  it('writes how pictures are prepared, and needs a tokenizer', async () => {
    const model = createModel({
      ...configs['a residual network, centred'],
      vocab_size: 515,
      image_mean: [0.1, 0.2, 0.3],
    } as never);
    const files = await cloobToOnnx(model, ClipTokenizer.fromMerges(['a b</w>']));
    const pictures = JSON.parse(files['preprocessor_config.json'] as string);
    assert.deepEqual([pictures.image_mean, pictures.crop_size], [[0.1, 0.2, 0.3], { height: 32, width: 32 }]);
    assert.equal(JSON.parse(files['config.json'] as string).model_type, 'clip');
    await assert.rejects(cloobToOnnx(model, null), UsageError);
  });
});
