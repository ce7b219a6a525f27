/** Checkpoints: both directions, the official layouts, inferred sizes, and errors that list everything. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CheckpointError, DataError, memory, noGrad, type Tensor, tensor } from 'hopgrad';
import {
  ClipTokenizer,
  type CloobConfig,
  type CloobModel,
  checkpointBytes,
  createModel,
  loadCheckpoint,
  preprocessing,
  readSafetensors,
  saveCheckpoint,
  writeSafetensors,
} from 'hopgrad/models/cloob';
import { fixture, relativeError, values } from '../../helpers.js';

/** Heads are 64 wide, as shapes imply. */
const vit: CloobConfig = {
  embed_dim: 16,
  image_resolution: 8,
  vision_layers: 1,
  vision_width: 64,
  vision_patch_size: 4,
  context_length: 8,
  vocab_size: 600,
  transformer_width: 64,
  transformer_heads: 1,
  transformer_layers: 1,
};
const resnet: CloobConfig = {
  ...vit,
  image_resolution: 64,
  vision_layers: [1, 2, 1, 1],
  vision_width: 4,
  vision_patch_size: null,
};

const same = (a: Record<string, Tensor>, b: Record<string, Tensor>) => {
  assert.deepEqual(Object.keys(a), Object.keys(b));
  for (const [name, value] of Object.entries(a)) assert.deepEqual(value.dataSync(), b[name]!.dataSync(), name);
};

/** CLIP's own names: the text encoder's members beside `visual`. */
const clipName = (name: string) =>
  name === 'logit_inv_tau' ? 'logit_scale' : name.startsWith('transformer.') ? name.slice('transformer.'.length) : name;
const renamed = (state: Record<string, Tensor>, rename: (name: string) => string) =>
  Object.fromEntries(Object.entries(state).map(([name, value]) => [rename(name), value]));

/** Entries and embeddings as load_checkpoint.py found them. */
function agrees(model: CloobModel, official: Official): void {
  for (const [name, value] of Object.entries(model.stateDict())) {
    const [sum, magnitude] = official.sums[name]!;
    const own = values(value).reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(own - sum) < 1e-9 * Math.max(1, magnitude), name);
    assert.deepEqual(official.shapes[name], name === 'logit_inv_tau' ? [] : value.shape, name);
  }
  const side = model.config.image_resolution;
  const pixels = Float32Array.from({ length: 3 * side * side }, (_, i) => (i % 17) / 8 - 1);
  const tokens = Int32Array.from({ length: model.config.context_length }, (_, i) => i);
  noGrad(() => {
    const image = model.encodeImage(tensor(pixels, { shape: [1, 3, side, side] }));
    const text = model.encodeText(tensor(tokens, { shape: [1, tokens.length] }));
    assert.ok(relativeError(values(image), official.image) < 1e-5);
    assert.ok(relativeError(values(text), official.text) < 1e-5);
  });
}

interface Official {
  sums: Record<string, [number, number]>;
  shapes: Record<string, number[]>;
  image: number[];
  text: number[];
}

describe('checkpoints', () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
    path = join(folder, 'model.safetensors');
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const config of [vit, resnet])
    it(`gives back a ${typeof config.vision_layers === 'number' ? 'vit' : 'resnet'} with tokenizer and metadata`, async () => {
      const model = createModel(config, { seed: 5 });
      const tokenizer = ClipTokenizer.train(['red heart', 'red star', 'red car'], { vocabSize: 520 });
      await saveCheckpoint(path, { model, tokenizer, metadata: { epoch: '3' } });
      const bytes = await checkpointBytes({ model, tokenizer, metadata: { epoch: '3' } });
      assert.ok(readFileSync(path).equals(bytes), 'the bytes for pages are those of the file');
      const back = await loadCheckpoint(path);
      same(back.model.stateDict(), model.stateDict());
      const { mean, std, background } = preprocessing(config);
      const pictures = { image_mean: mean, image_std: std, image_background: background };
      assert.deepEqual(back.model.config, { ...config, ...pictures }, 'what it expects of pictures is written too');
      assert.deepEqual(back.tokenizer!.toJSON(), tokenizer.toJSON());
      assert.equal(back.metadata.epoch, '3');
      const other = createModel(config, { seed: 6, dtype: 'float64', device: 'reference' });
      const into = await loadCheckpoint(path, { model: other });
      assert.equal(into.model, other);
      for (const [name, value] of Object.entries(other.stateDict()))
        assert.deepEqual(values(value), values(model.stateDict()[name]!), name);
    });

  for (const config of [vit, resnet])
    it(`infers the sizes of a ${typeof config.vision_layers === 'number' ? 'vit' : 'resnet'} from plain weights of either layout`, async () => {
      const model = createModel(config, { seed: 7 });
      for (const rename of [(name: string) => name, clipName, (name: string) => `module.${name}`]) {
        await writeSafetensors(path, renamed(model.stateDict(), rename));
        const back = await loadCheckpoint(path);
        assert.deepEqual(back.model.config, config);
        same(back.model.stateDict(), model.stateDict());
      }
    });

  it('reads a checkpoint of the official training code: half precision, prefix, facts', async () => {
    const { model, metadata, tokenizer } = await loadCheckpoint(fixture('torch-official-half.pt'));
    assert.deepEqual(model.config, vit);
    assert.deepEqual({ epoch: metadata.epoch, name: metadata.name }, { epoch: '3', name: 'tiny' });
    assert.equal(tokenizer, null);
    // torch_checkpoints.py gives the i-th entry in PyTorch's order these values; parameters come before modules there,
    // as here, so that only the class of i is open: it is read off the first element.
    const seeds = Object.values(model.stateDict()).map((value) => {
      const data = values(value);
      const seed = data[0]! * 64 + 128;
      assert.ok(data.every((x, k) => x === (((7 * k + seed) % 256) - 128) / 64));
      return seed;
    });
    assert.deepEqual(
      seeds.sort((a, b) => a - b),
      seeds.map((_, i) => i),
    );
  });

  it('lists everything that does not fit in one error and leaves the model as it was', async () => {
    const model = createModel(vit, { seed: 1 });
    const { logit_inv_tau: _, ...state } = createModel(vit, { seed: 2 }).stateDict();
    await writeSafetensors(path, { ...state, 'visual.proj': tensor([[1, 2]]), extra: tensor([1]) });
    const before = values(model.stateDict()['visual.conv1.weight']!);
    await assert.rejects(loadCheckpoint(path, { model }), (error: Error) => {
      assert.ok(error instanceof CheckpointError);
      for (const part of ['missing: logit_inv_tau', 'unexpected: extra', 'visual.proj: [1, 2] instead of [64, 16]'])
        assert.ok(error.message.includes(part), error.message);
      return true;
    });
    assert.deepEqual(values(model.stateDict()['visual.conv1.weight']!), before);
    await writeSafetensors(path, { ...state, extra: tensor([1]) });
    await loadCheckpoint(path, { model, strict: false });
    assert.deepEqual(values(model.stateDict()['visual.conv1.weight']!), values(state['visual.conv1.weight']!));
  });

  it('tells what matched when not strict, and refuses a file of which nothing does', async () => {
    const model = createModel(vit, { seed: 1 });
    const { logit_inv_tau: _, ...state } = createModel(vit, { seed: 2 }).stateDict();
    await writeSafetensors(path, { ...state, extra: tensor([1]) });
    const { matched, missing, unexpected } = await loadCheckpoint(path, { model, strict: false });
    assert.deepEqual(matched.sort(), Object.keys(state).sort());
    assert.deepEqual([missing, unexpected], [['logit_inv_tau'], ['extra']]);
    await writeSafetensors(path, { w: tensor([1]), 'encoder.layer.0': tensor([1]) });
    await assert.rejects(
      loadCheckpoint(path, { model, strict: false }),
      (error: Error) => error instanceof CheckpointError && /no name matches/.test(error.message),
    );
  });

  it('reads bytes, a Blob, a Response, a file URL and an address alike', async () => {
    const model = createModel(vit, { seed: 3 });
    await saveCheckpoint(path, { model });
    const bytes = new Uint8Array(readFileSync(path));
    const torch = readFileSync(fixture('torch-official-half.pt'));
    const { model: half } = await loadCheckpoint(fixture('torch-official-half.pt'));
    const server = createServer((request, response) => {
      response.statusCode = request.url === '/model' ? 200 : 404;
      response.end(bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
    try {
      for (const input of [
        ...[bytes, bytes.buffer, new Blob([bytes]), new Response(bytes), pathToFileURL(path), pathToFileURL(path).href],
        ...[new URL(`${address}/model`), `${address}/model`],
      ])
        same((await loadCheckpoint(input)).model.stateDict(), model.stateDict());
      for (const input of [new Uint8Array(torch), new Blob([torch])])
        same((await loadCheckpoint(input)).model.stateDict(), half.stateDict());
      await assert.rejects(loadCheckpoint(`${address}/none`), /none: 404/);
      await assert.rejects(loadCheckpoint(new Response('', { status: 500 })), /a Response: 500/);
    } finally {
      server.close();
    }
    for (const [input, message] of [
      [new Float32Array(1e7), /Float32Array of 40000000 bytes; expected a path, a URL, bytes/],
      [{ path }, /an object with path; expected a path/],
      [undefined, /undefined; expected a path/],
      [new Uint8Array(5e6), /5000000 bytes: not a zip archive/],
    ] as const)
      await assert.rejects(loadCheckpoint(input as never), (error: Error) => {
        assert.ok(error instanceof DataError && error.message.length < 300, String(error.stack));
        assert.match(error.message, message);
        return true;
      });
  });

  it('refuses files without a model', async () => {
    await writeSafetensors(path, { w: tensor([1]) });
    await assert.rejects(loadCheckpoint(path), CheckpointError);
    await writeSafetensors(path, createModel(vit).stateDict(), { config: '{' });
    await assert.rejects(loadCheckpoint(path), CheckpointError);
    await writeSafetensors(path, createModel({ ...vit, transformer_width: 32 }).stateDict());
    await assert.rejects(loadCheckpoint(path), /no multiple of 64/);
    for (const name of ['torch-layouts.pt', 'torch-harmful.pt', 'torch-legacy.pt', 'torch-layouts.json'])
      await assert.rejects(loadCheckpoint(fixture(name)), DataError);
  });

  it('stores half precision where asked', async () => {
    const model = createModel(vit, { seed: 9 });
    await saveCheckpoint(path, { model, floats: 'F16' });
    const { model: back } = await loadCheckpoint(path);
    for (const [name, value] of Object.entries(model.stateDict()))
      assert.ok(relativeError(values(back.stateDict()[name]!), values(value)) < 2 ** -11, name);
  });

  it('needs no memory beside the model to load', async () => {
    const model = createModel(vit, { seed: 1 });
    await saveCheckpoint(path, { model });
    const live = memory().liveBytes;
    const storages = memory().storages;
    await loadCheckpoint(path, { model });
    assert.deepEqual([memory().liveBytes <= live, memory().storages <= storages], [true, true]);
  });

  it('the official definition loads saved models strictly and embeds alike (where PyTorch is installed)', async function () {
    this.timeout(120_000);
    const models = [vit, resnet].map((config) => createModel(config, { seed: 4 }).eval());
    const paths = models.map((_, i) => join(folder, `${i}.safetensors`));
    for (const [i, model] of models.entries()) await saveCheckpoint(paths[i]!, { model });
    const answer = ['python3', '/usr/bin/python3']
      .map((python) => spawnSync(python, ['-B', fixture('load_checkpoint.py'), ...paths], { encoding: 'utf8' }))
      .find(({ status, error }) => !error && status !== 3);
    if (!answer) this.skip();
    assert.equal(answer.status, 0, answer.stderr);
    for (const [i, official] of JSON.parse(answer.stdout).entries()) agrees(models[i]!, official);
  });

  it('is plain safetensors with the official names', async () => {
    const model = createModel(vit, { seed: 4 });
    await saveCheckpoint(path, { model });
    const bytes = readFileSync(path);
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString());
    assert.equal(header.__metadata__.format, 'pt');
    assert.deepEqual(header.logit_inv_tau.shape, []);
    assert.deepEqual(Object.keys(header).slice(1), Object.keys(model.stateDict()));
    assert.deepEqual(Object.keys(readSafetensors(path).tensors), Object.keys(model.stateDict()));
  });
});
