/** What a training starts from: weights of another one, sizes by flags, and what is said about captions that are cut. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import { ClipTokenizer, createModel, saveCheckpoint } from 'hopgrad/models/cloob';
import { resolveTrainOptions } from '#src/cli/train-flags.js';
import { listSource, type Row } from '#src/data/source.js';
import { presets, type TrainOptions } from '#src/train/options.js';
import { checkRecord } from '#src/train/record.js';
import { cutNote, startConfig, startModel } from '#src/train/start.js';
import { tinyConfig } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';
import { values } from '../helpers.js';
import { makeTrainer, record } from './helpers.js';

const words = (...captions: string[]) =>
  listSource(
    'words',
    captions.map((caption, index): Row => ({ index, name: caption, image: { path: caption }, caption })),
  );

describe('the start of a training', () => {
  const folder = temporaryFolder();
  const sizes = join(folder, 'tiny.json');
  const weights = join(folder, 'weights.safetensors');
  const tokenizer = ClipTokenizer.train(['red green blue', 'yellow'], { vocabSize: 520 });
  const other = createModel(tinyConfig, { seed: 7, initInvTau: 5 });
  before(async () => {
    writeFileSync(sizes, JSON.stringify(tinyConfig));
    await saveCheckpoint(weights, { model: other, tokenizer });
  });
  const options = (given: Partial<TrainOptions>): TrainOptions => ({ ...presets.pairs, model: sizes, ...given });
  const start = async (given: Partial<TrainOptions>) => {
    const told: string[] = [];
    const { model, tokenizer } = await startModel(options(given), words('some caption', 'another'), (t) =>
      told.push(t),
    );
    return { model, tokenizer, told: told.join() };
  };
  /** Names of the tensors of a model that are those of the weights. */
  const taken = (model: typeof other) => {
    const theirs = other.stateDict();
    return Object.entries(model.stateDict())
      .filter(([name, tensor]) => JSON.stringify(values(tensor)) === JSON.stringify(values(theirs[name]!)))
      .map(([name]) => name);
  };

  it('has the sizes, the weights and the tokenizer of --pretrained, and τ⁻¹ of its own', async () => {
    const { model, tokenizer: found, told } = await start({ model: 'pretrained', pretrained: weights });
    const names = Object.keys(other.stateDict());
    assert.deepEqual(
      taken(model),
      names.filter((name) => name !== 'logit_inv_tau'),
    );
    assert.match(
      told,
      new RegExp(`^Starting from .*weights.safetensors: ${names.length - 1} of ${names.length - 1} tensors$`),
    );
    assert.deepEqual(found.toJSON(), tokenizer.toJSON());
    assert.ok(Math.abs(Math.exp(values(model.logit_inv_tau)[0]!) - 30) < 1e-3);
    assert.deepEqual({ ...(await startConfig(options({ model: 'pretrained', pretrained: weights }))) }, model.config);
  });

  it('takes what fits other sizes, and names the rest', async () => {
    const { model, told } = await start({ pretrained: weights, contextLength: 9, vocabSize: 530 });
    assert.deepEqual([model.config.context_length, model.config.vocab_size], [9, 530]);
    const missing = ['transformer.positional_embedding', 'transformer.token_embedding.weight'];
    const fits = taken(model);
    for (const name of missing) {
      assert.ok(!fits.includes(name) && told.includes(name), `${name}: ${told}`);
    }
    assert.ok(fits.includes('visual.conv1.weight'));
    assert.match(told, /initialised anew: .*\(\[9,8\], \[6,8\] there\)/);
    const large = await start({ pretrained: weights, imageSize: 16 });
    assert.match(large.told, /initialised anew: visual.attnpool.positional_embedding/);
    await assert.rejects(
      start({ pretrained: weights, model: 'emoji-vit' }),
      (e: Error) => e instanceof DataError && /of which nothing fits the model: .* and \d+ more/.test(e.message),
    );
  });

  it('by flags: --pretrained names the sizes unless --model does', () => {
    const resolved = (flags: object) => resolveTrainOptions(flags, { ownData: true });
    assert.equal(resolved({ pretrained: weights }).model, 'pretrained');
    assert.equal(resolved({ pretrained: weights, model: 'small-64' }).model, 'small-64');
    assert.equal(resolved({ pretrained: 'https://x/y' }).pretrained, 'https://x/y');
    assert.throws(() => resolved({ model: 'pretrained' }), /--model pretrained; expected --pretrained with it/);
    assert.throws(() => resolved({ imageSize: 0 }), /--image-size 0/);
  });

  it('says how many captions are cut, and the length that holds them', async () => {
    const note = (source: Parameters<typeof cutNote>[1], contextLength = 8) =>
      cutNote({ tokenizer, model: createModel({ ...tinyConfig, context_length: contextLength }) }, source, 1);
    const long = 'red green blue yellow red green blue yellow';
    const length = tokenizer.encode(long).length + 2;
    assert.equal(
      await note(words('red', 'blue', 'green', long)),
      `25 % of 4 captions are longer than the 8 tokens that the model reads, and are cut there; --context-length ${length} would hold 99 % of them whole`,
    );
    assert.equal(await note(words('red', long), length), null);
    assert.match((await note(words(long), length - 1))!, /^100 % of 1 captions/);
  });

  it('is the default in records that were written before there was a choice', () => {
    const now = record(makeTrainer());
    const { pretrained, imageSize, contextLength, ...options } = now.options;
    assert.deepEqual([pretrained, imageSize, contextLength], [null, null, null]);
    assert.deepEqual(checkRecord({ ...now, options }, 'manifest.json'), now);
    assert.throws(
      () => checkRecord({ ...now, options: { ...options, imageSize: -1 } }, 'manifest.json'),
      /image-size -1/,
    );
  });
});
