/** The commands that evaluate and search, on data as people have it: several captions a picture, shards, transparency. */

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { readSafetensors } from 'hopgrad/models/cloob';
import { pack } from 'tar-stream';
import { readIndex } from '#src/cli/picture-index.js';
import { loadSharp } from '#src/data/sharp.js';
import { all } from '../data/helpers.js';
import { hopgrad, makePictures, makeWeights, readRows, tinyConfig } from './helpers.js';

const model = ['--checkpoint', 'tiny.safetensors'];

describe('hopgrad, evaluating and searching', function () {
  this.timeout(900_000); // seconds each on an idle machine
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-evaluate-'));
    await makePictures(folder);
    await makeWeights(join(folder, 'tiny.safetensors'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const run = (...args: string[]) => hopgrad(folder, [...args, ...model]);
  /** The JSON that a command prints. */
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(...args, '--json');
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };

  it('several captions a picture: one picture, any of its captions is right, and no recall is lost by it', async () => {
    const names = ['red', 'green', 'blue', 'yellow'];
    const lines = names.map((name) => `squares/${name}/0.png\ta ${name} square`);
    writeFileSync(join(folder, 'once.tsv'), `filepath\ttitle\n${lines.join('\n')}\n`);
    mkdirSync(join(folder, 'copies'), { recursive: true });
    const again = names.map((name) => {
      copyFileSync(join(folder, `squares/${name}/0.png`), join(folder, 'copies', `${name}.png`));
      return `copies/${name}.png\ta ${name} square`;
    });
    writeFileSync(join(folder, 'twice.tsv'), `filepath\ttitle\n${[...lines, ...again, ...lines].join('\n')}\n`);
    const [once, twice] = [await json('eval', '--val-data', 'once.tsv'), await json('eval', '--val-data', 'twice.tsv')];
    assert.deepEqual([once.pairs, twice.pairs], [4, 12]);
    for (const way of ['imageToText', 'textToImage']) assert.deepEqual(twice[way], once[way], way);
    const { stdout } = await run('eval', '--val-data', 'twice.tsv');
    assert.match(stdout, /12 pairs[\s\S]*4 pictures, 4 captions: any caption of a picture is right/);
  });

  it('transparent pictures are seen on white, unless another background is asked for', async () => {
    const sharp = await loadSharp();
    const clear = { r: 0, g: 0, b: 0, alpha: 0 };
    const dot = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="4" height="8" fill="#d00"/></svg>',
    );
    const picture = () =>
      sharp({ create: { width: 8, height: 8, channels: 4, background: clear } }).composite([{ input: dot }]);
    mkdirSync(join(folder, 'clear'), { recursive: true });
    await picture().png().toFile(join(folder, 'clear/a.png'));
    await picture().flatten({ background: '#fff' }).png().toFile(join(folder, 'clear/b.png'));
    await picture().flatten({ background: '#000' }).png().toFile(join(folder, 'clear/c.png'));
    const vectors = async (...flags: string[]) => {
      const { code, stderr } = await run('embed', 'clear', ...flags);
      assert.equal(code, 0, stderr);
      const rows = (await readSafetensors(join(folder, 'embeddings.safetensors'))).tensors.embeddings!;
      return [0, 1, 2].map((i) => [...rows.slice([[i, i + 1]]).dataSync()]);
    };
    const [a, b, c] = await vectors();
    assert.deepEqual(a, b);
    assert.notDeepEqual(a, c);
    for (const background of ['#000000', 'none']) {
      const [dark, , black] = await vectors('--background', background);
      assert.deepEqual(dark, black, background);
    }
    assert.match((await run('embed', 'clear', '--background', 'mauve')).stderr, /white, black, #rrggbb/);
  });

  it('a training lays transparent pictures on its --background, SVG too, and so does all that uses its weights', async () => {
    const sharp = await loadSharp();
    const half = ['#d00', '#0d0', '#00d', '#dd0'].map(
      (fill) =>
        `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="4" height="8" fill="${fill}"/></svg>`,
    );
    mkdirSync(join(folder, 'see-through'));
    for (const [i, svg] of half.entries()) {
      const path = (kind: string) => join(folder, 'see-through', `${i}${kind}`);
      writeFileSync(path('.svg'), svg);
      writeFileSync(path('-black.svg'), svg.replace('<rect', '<rect width="8" height="8"/><rect'));
      await sharp(Buffer.from(svg)).png().toFile(path('.png'));
      await sharp(Buffer.from(svg)).flatten({ background: '#000' }).png().toFile(path('-black.png'));
    }
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(tinyConfig));
    const train = async (kind: string, background: string) => {
      const rows = half.map((_, i) => `see-through/${i}${kind}\ta square number ${i}`);
      const table = `${kind.replace('.', '')}.tsv`;
      writeFileSync(join(folder, table), `filepath\ttitle\n${rows.join('\n')}\n`);
      const small = ['--model', 'tiny.json', '--batch-size', '4', '--steps', '2', '--workers', '0'];
      const args = ['train', '--train-data', table, ...small, '--name', `on-${kind}`, '--background', background];
      const { code, stderr } = await hopgrad(folder, args);
      assert.equal(code, 0, stderr);
      return readRows(join(folder, 'runs', `on-${kind}`, 'log.jsonl'));
    };
    for (const kind of ['.png', '.svg']) {
      const clear = await train(kind, kind === '.png' ? '#000000' : 'black');
      assert.deepEqual(clear, await train(`-black${kind}`, 'white'), kind);
    }
    const vectors = async (...args: string[]) => {
      const { code, stderr } = await hopgrad(folder, ['embed', 'see-through', '--workers', '0', ...args]);
      assert.equal(code, 0, stderr);
      const { vectors, dim, pictures } = readIndex(join(folder, 'embeddings.safetensors'));
      const names = pictures.map(({ name }) => basename(name));
      return (name: string) => [...vectors.subarray(names.indexOf(name) * dim, (names.indexOf(name) + 1) * dim)];
    };
    const own = await vectors('--checkpoint', 'runs/on-.png');
    assert.deepEqual(own('1.png'), own('1-black.png'));
    assert.deepEqual(own('1.svg'), own('1-black.svg'));
    const convert = ['convert', 'runs/on-.png', 'pink.safetensors', '--background', '#ffc0cb'];
    assert.equal((await hopgrad(folder, convert)).code, 0);
    const pink = await vectors('--checkpoint', 'pink.safetensors');
    assert.notDeepEqual(pink('1.png'), pink('1-black.png'));
    const asked = await vectors('--checkpoint', 'runs/on-.png', '--background', '#ffc0cb');
    assert.deepEqual(pink('1.svg'), asked('1.svg'));
    const retrieval = ['eval', '--checkpoint', 'runs/on-.png', '--json', '--workers', '0', '--val-data'];
    const [a, b] = await Promise.all(['png.tsv', '-blackpng.tsv'].map((t) => hopgrad(folder, [...retrieval, t])));
    assert.deepEqual(JSON.parse(a!.stdout).imageToText, JSON.parse(b!.stdout).imageToText);
  });

  it('contact sheets hold the pictures of tables, shards and folders, wherever the sheet and they are', async () => {
    const tar = pack();
    for (const name of ['red', 'green'])
      for (const [end, body] of [
        ['png', readFileSync(join(folder, `squares/${name}/0.png`))],
        ['txt', `a ${name} square`],
      ] as const)
        tar.entry({ name: `${name}.${end}` }, body);
    tar.finalize();
    writeFileSync(join(folder, 'pictures.tar'), Buffer.concat((await all(tar)) as Buffer[]));
    mkdirSync(join(folder, 'elsewhere'), { recursive: true });
    for (const data of ['pairs.tsv', 'pictures.tar', 'squares', join(folder, 'squares')]) {
      assert.equal((await run('embed', data)).code, 0);
      const found = await hopgrad(join(folder, 'elsewhere'), [
        'search',
        'red',
        '--index',
        '../embeddings.safetensors',
        '--top',
        '2',
        '--html',
        'sheet.html',
      ]);
      assert.equal(found.code, 0, found.stderr);
      const sheet = readFileSync(join(folder, 'elsewhere/sheet.html'), 'utf8');
      const images = [...sheet.matchAll(/src="data:image\/webp;base64,([^"]+)"/g)].map(([, text]) =>
        Buffer.from(text!, 'base64'),
      );
      assert.equal(images.length, 2, data);
      const sharp = await loadSharp();
      for (const image of images) assert.equal((await sharp(image).metadata()).width, 24);
    }
    renameSync(join(folder, 'squares'), join(folder, 'moved'));
    const lost = await run('search', 'red', '--html', 'sheet.html');
    renameSync(join(folder, 'moved'), join(folder, 'squares'));
    assert.equal(lost.code, 1);
    assert.doesNotMatch(lost.stderr, /^\s+at /m);
  });

  it('zero-shot takes shards with class numbers, and classes of one name as one', async () => {
    const tar = pack();
    ['red', 'green', 'blue'].forEach((name, label) => {
      tar.entry({ name: `${name}.png` }, readFileSync(join(folder, `squares/${name}/0.png`)));
      tar.entry({ name: `${name}.cls` }, String(label));
    });
    tar.finalize();
    writeFileSync(join(folder, 'classes.tar'), Buffer.concat((await all(tar)) as Buffer[]));
    writeFileSync(join(folder, 'names.txt'), 'red square\ngreen square\nblue square\n');
    writeFileSync(join(folder, 'same.txt'), 'square\nsquare\nsquare\n');
    const zeroShot = (...flags: string[]) => json('zero-shot', '--val-data', 'classes.tar', ...flags);
    const named = await zeroShot('--class-names', 'names.txt', '--templates', 'imagenet');
    assert.deepEqual([named.pictures, named.templates.length], [3, 80]);
    const same = await zeroShot('--class-names', 'same.txt', '--limit', '2');
    assert.deepEqual([same.pictures, same.accuracy[1], same.chance[1]], [2, 1, 1]);
    assert.match((await run('zero-shot', '--val-data', 'classes.tar')).stderr, /give the names with --class-names/);
    writeFileSync(join(folder, 'few.txt'), 'red square\ngreen square\n');
    const few = await run('zero-shot', '--val-data', 'classes.tar', '--class-names', 'few.txt');
    assert.match(few.stderr, /class 2 of .*blue.*expected classes 0 … 1/);
    for (const limit of ['-1', '0', '1.5']) {
      const wrong = await run('zero-shot', '--val-data', 'squares', '--limit', limit);
      assert.deepEqual([wrong.code, /\n\s+at /.test(wrong.stderr)], [2, false], limit);
    }
  });

  it('stats tells how the embeddings lie, in a table and as JSON', async () => {
    const told = await json('stats', '--val-data', 'pairs.tsv', '--limit', '8');
    assert.deepEqual([told.pairs, told.pictures.eigenvalues.length, told.partnerProbability.count], [8, 8, 8]);
    for (const side of [told.pictures, told.captions]) {
      assert.ok(side.uniformity <= 0 && side.ajne > 0 && side.ajne <= 2);
      assert.ok(side.effectivePatterns >= 1 && side.effectivePatterns <= 8);
    }
    const { stdout } = await run('stats', '--val-data', 'pairs.tsv');
    assert.match(stdout, /12 pairs of pairs\.tsv[\s\S]*uniformity[\s\S]*Ajne[\s\S]*99 %[\s\S]*p₁/);
  });
});
