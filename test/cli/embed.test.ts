/** Folders as they live: embedded once, then only what is new; interrupted, broken, and searched by words and pictures. */
import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noGrad, Random, tensor } from 'hopgrad';
import { loadCheckpoint } from 'hopgrad/models/cloob';
import { Finder } from '#src/cli/finder.js';
import { type PictureIndex, readIndex } from '#src/cli/picture-index.js';
import { hopgrad, makePictures, makeWeights } from './helpers.js';

describe('hopgrad embed and search', function () {
  this.timeout(300_000);
  let folder: string;
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-embed-'));
    await makePictures(folder);
    await makeWeights(join(folder, 'tiny.safetensors'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const run = (...args: string[]) => hopgrad(folder, [...args, '--checkpoint', 'tiny.safetensors']);
  const embed = async (...args: string[]) => {
    const { code, stdout, stderr } = await run('embed', ...args, '--workers', '0');
    assert.equal(code, 0, stderr);
    return { stdout, stderr };
  };
  const index = (): PictureIndex => readIndex(join(folder, 'embeddings.safetensors'));
  const vectorsByName = ({ pictures, vectors, dim }: PictureIndex) =>
    Object.fromEntries(pictures.map(({ name }, at) => [name, [...vectors.subarray(at * dim, (at + 1) * dim)]]));

  it('embeds what is new or changed, forgets what is gone, and comes to the vectors of embedding all', async () => {
    assert.match((await embed('squares')).stdout, /^12 pictures as vectors of 8/);
    const before = vectorsByName(index());
    assert.match((await embed('./squares')).stdout, /^12 pictures \(0 of them new or changed\)/);
    assert.deepEqual(vectorsByName(index()), before);
    const at = (name: string) => join(folder, 'squares', name);
    copyFileSync(at('blue/0.png'), at('red/0.png'));
    utimesSync(at('red/0.png'), 1e9, 1e9);
    copyFileSync(at('green/2.png'), at('green/new.png'));
    rmSync(at('yellow/1.png'));
    assert.match((await embed('squares')).stdout, /^12 pictures \(2 of them new or changed\)/);
    const after = vectorsByName(index());
    assert.deepEqual(after['squares/red/0.png'], before['squares/blue/0.png']);
    assert.ok(!('squares/yellow/1.png' in after) && 'squares/green/new.png' in after);
    assert.deepEqual(
      index().pictures.map(({ row }) => row),
      Array.from({ length: 12 }, (_, i) => i),
    );
    assert.match((await embed('squares', '--fresh')).stdout, /^12 pictures as/);
    assert.deepEqual(vectorsByName(index()), after);
    const dark = await embed('squares', '--background', '#000000');
    assert.match(dark.stderr, /showed them pictures otherwise: all anew/);
    assert.match(dark.stdout, /^12 pictures as/);
  });

  it('names broken pictures, keeps the others, and tries the broken ones again', async () => {
    const picture = join(folder, 'squares/red/0.png');
    const whole = readFileSync(picture);
    writeFileSync(picture, whole.subarray(0, 60));
    const { stdout, stderr } = await embed('squares');
    assert.match(stderr, /skipped squares\/red\/0\.png: /);
    assert.match(stdout, /^11 pictures as[\s\S]*1 could not be read/);
    assert.deepEqual(
      index().broken.map(({ name }) => name),
      ['squares/red/0.png'],
    );
    assert.match((await embed('squares')).stdout, /^11 pictures \(0 of them new[\s\S]*1 could not be read/);
    writeFileSync(picture, whole);
    assert.match((await embed('squares')).stdout, /^12 pictures \(1 of them new or changed\)/);
    assert.deepEqual(index().broken, []);
    for (const color of ['red', 'green']) writeFileSync(join(folder, `squares/${color}/1.png`), 'no picture');
    const bad = await run('embed', 'squares');
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /2 of 12 rows of squares cannot be used/);
    assert.equal(index().pictures.length, 10);
  });

  it('goes on after Ctrl-C where it stopped', async () => {
    mkdirSync(join(folder, 'many'));
    const files = readdirSync(join(folder, 'squares'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.png'),
    );
    for (let i = 0; i < 1500; i++)
      copyFileSync(join(folder, 'squares', files[i % 12]!), join(folder, 'many', `${i}.png`));
    const stop = () =>
      hopgrad(folder, ['embed', 'many', '--checkpoint', 'tiny.safetensors', '--workers', '0'], (stderr) =>
        /pictures \d+\/1500/.test(stderr) && !/Stopping/.test(stderr) ? 'SIGINT' : null,
      );
    const stopped = await stop();
    assert.equal(stopped.code, 130, stopped.stderr);
    const part = index();
    assert.ok(!part.complete && part.pictures.length > 0 && part.pictures.length < 1500, `${part.pictures.length}`);
    assert.match((await run('search', 'red')).stderr, /only part of its pictures/);
    const rest = 1500 - part.pictures.length;
    assert.match((await embed('many')).stdout, new RegExp(`^1500 pictures \\(${rest} of them new or changed\\)`));
    const whole = index();
    assert.ok(whole.complete);
    const [some, all] = [vectorsByName(part), vectorsByName(whole)];
    for (const [name, vector] of Object.entries(some)) assert.deepEqual(all[name], vector);
    for (let i = 0; i < 1200; i++) utimesSync(join(folder, 'many', `${i}.png`), 1e9, 1e9); // changed since
    assert.equal((await stop()).code, 130);
    const again = index();
    assert.ok(!again.complete);
    assert.deepEqual([again.pictures.length, Object.keys(vectorsByName(again)).length], [1500, 1500]);
  });

  it('does not write over a file that is no index', async () => {
    const before = readFileSync(join(folder, 'tiny.safetensors'));
    const { code, stderr } = await run('embed', 'squares', '--output', 'tiny.safetensors');
    assert.equal(code, 1);
    assert.match(stderr, /tiny\.safetensors is no index of pictures/);
    assert.deepEqual(readFileSync(join(folder, 'tiny.safetensors')), before);
    await embed('squares');
    const path = join(folder, 'embeddings.safetensors');
    writeFileSync(path, readFileSync(path).subarray(0, -40));
    const damaged = await run('embed', 'squares');
    assert.deepEqual(
      [damaged.code, /bytes of tensors; expected.*--fresh/.test(damaged.stderr)],
      [1, true],
      damaged.stderr,
    );
    assert.match((await embed('squares', '--fresh')).stdout, /^12 pictures as/);
  });

  it('does not pass over an index that is named beside pictures to embed now', async () => {
    const { code, stderr } = await run('search', 'red', '--images', 'squares', '--index', 'embeddings.safetensors');
    assert.equal(code, 2);
    assert.match(stderr, /--images squares and --index embeddings.safetensors; expected one of them/);
  });

  it('finds by words, by a picture, by both, and by a picture of the index, as a sum of products finds', async () => {
    await embed('squares');
    const path = join(folder, 'tiny.safetensors');
    const { model, tokenizer } = await loadCheckpoint(path);
    const ready = { path, model: model.eval(), tokenizer: tokenizer!, label: 'model', step: null };
    const at = index().pictures.findIndex(({ name }) => name === 'squares/blue/1.png');
    const dim = 8;
    const own = index().vectors.subarray(at * dim, (at + 1) * dim);
    const ids = tensor(tokenizer!.tokenize(['red'], { contextLength: 6 }), { shape: [1, 6], dtype: 'int32' });
    const text = norm(noGrad(() => model.encodeText(ids)).dataSync());
    const random = new Random(5);
    const vectors = Array.from({ length: 40 }, () => norm(Float32Array.from({ length: dim }, () => random.normal())));
    const pictures = vectors.map((_, row) => ({ name: `${row}`, row, stamp: '' }));
    const finder = new Finder({ ...index(), vectors: Float32Array.from(vectors.flat()), pictures }, ready);
    const picture = { path: join(folder, 'squares/blue/1.png') };
    const both = norm(own.map((x, i) => x + text[i]!));
    for (const [query, vector, left] of [
      [{ words: 'red' }, text],
      [{ picture }, own],
      [{ words: 'red', picture }, both],
      [{ like: 7 }, vectors[7]!, 7],
    ] as const) {
      const expected = vectors
        .map((v, place) => ({ at: place, cosine: v.reduce((sum, x, i) => sum + x * vector[i]!, 0) }))
        .filter((each) => each.at !== left)
        .sort((a, b) => b.cosine - a.cosine)
        .slice(0, 9);
      const found = await finder.find(query, 9);
      assert.deepEqual(
        found.map((match) => match.at),
        expected.map((each) => each.at),
        JSON.stringify(query),
      );
      found.forEach(({ similarity }, i) => {
        assert.ok(Math.abs(similarity - expected[i]!.cosine) < 1e-5);
      });
    }
    const told = await run('search', 'a red square', '--picture', 'squares/blue/1.png', '--top', '3');
    assert.match(told.stdout, /"a red square" \+ squares\/blue\/1\.png[\s\S]*squares\//);
    const wrong = await run('search', '--picture', 'pairs.tsv');
    assert.deepEqual([wrong.code, /expected a picture to search with/.test(wrong.stderr)], [1, true], wrong.stderr);
  });
});

function norm(vector: ArrayLike<number>): number[] {
  const length = Math.hypot(...Array.from(vector));
  return Array.from(vector, (x) => x / length);
}
