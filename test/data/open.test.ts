import { strict as assert } from 'node:assert';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { DataError } from 'hopgrad';
import { openData, openSource, sameData } from '#src/data/open.js';
import { fixture } from '../helpers.js';
import { temporaryFolder } from './helpers.js';

describe('opening data by name', () => {
  const folder = temporaryFolder();
  const images = fixture('images');
  mkdirSync(join(folder, 'folder.tar'));
  writeFileSync(
    join(folder, 'pairs.tsv'),
    `title\tfilepath\nwaves\t${images}/photo.jpg\nmore, waves\t${images}/plain.png\n`,
  );
  writeFileSync(join(folder, 'pairs.csv'), `title,filepath\n"more, waves",${images}/plain.png\n`);
  writeFileSync(join(folder, 'pairs.txt'), `title|filepath\nwaves|${images}/plain.png\n`);

  it('tells tables, shards, folders and labelled sets apart', async () => {
    const size = async (...args: Parameters<typeof openSource>) => (await openSource(...args)).size;
    assert.equal(await size(join(folder, 'pairs.tsv')), 2);
    assert.equal(await size(join(folder, 'pairs.csv')), 1);
    assert.equal(await size(join(folder, 'pairs.txt'), { columns: { separator: '|' } }), 1);
    assert.equal(await size(`${fixture('webdataset')}/shard-{000..001}.tar`), undefined);
    assert.equal(await size(`${fixture('webdataset')}/shard-{000.tar,001.tar}`, { samples: 12 }), 12);
    assert.ok((await size(images))! > 10);
    assert.equal(await size('mnist'), 10_000);
    assert.equal(await size('mnist', { split: 'train' }), 60_000);
    const { classNames } = await openSource(join(images, '..'), { classes: true }).catch((e: DataError) => ({
      classNames: [e.received],
    }));
    assert.match(classNames![0]!, /no pictures in .*webdataset/);
  });

  it('refuses what is neither', async () => {
    for (const path of ['nothing', join(folder, 'pairs.parquet')])
      await assert.rejects(
        openSource(path),
        (e: Error) => e instanceof DataError && /a folder of pictures, shards/.test(e.message),
      );
    await assert.rejects(openSource(join(folder, 'folder.tar')), /without pictures/); // a folder, whatever its name
  });

  it('remembers data so that they open again, from anywhere, and tells when they have changed', async () => {
    const path = join(folder, 'pairs.tsv');
    const { spec } = await openData({ path: relative('.', path) });
    assert.deepEqual(JSON.parse(JSON.stringify(spec)), spec);
    assert.deepEqual([spec.path, spec.rows], [path, 2]);
    assert.deepEqual((await openData(spec)).spec, spec);

    const copy = join(folder, 'copy.tsv');
    copyFileSync(path, copy);
    assert.ok(sameData(spec, (await openData({ path: copy })).spec), 'wherever it lies');
    const columns = { imageColumn: 'title', captionColumn: 'filepath' };
    assert.ok(!sameData(spec, (await openData({ path, columns })).spec), 'other captions');
    assert.ok(
      sameData(spec, (await openData({ path, columns: { captionColumn: 'title' } })).spec),
      'the default, said',
    );
    writeFileSync(copy, readFileSync(path, 'utf8').replace('waves', 'sands'));
    assert.ok(!sameData(spec, (await openData({ path: copy })).spec), 'other words');
    await assert.rejects(openData({ ...spec, path: copy }), /copy\.tsv, which has changed since the run began/);
  });

  it('knows folders and shards by their files, parts of a named set by their rows', async () => {
    const make = (name: string, files: Record<string, number>) => {
      for (const [file, length] of Object.entries(files)) {
        mkdirSync(dirname(join(folder, name, file)), { recursive: true });
        writeFileSync(join(folder, name, file), 'x'.repeat(length));
      }
      return openData({ path: join(folder, name), classes: true });
    };
    const one = await make('one', { 'a/1.png': 3, 'b/2.png': 4 });
    assert.ok(sameData(one.spec, (await make('same', { 'a/1.png': 3, 'b/2.png': 4 })).spec));
    assert.ok(!sameData(one.spec, (await make('longer', { 'a/1.png': 3, 'b/2.png': 5 })).spec));
    assert.ok(!sameData(one.spec, (await make('renamed', { 'a/1.png': 3, 'c/2.png': 4 })).spec));
    const shards = `${fixture('webdataset')}/shard-{000..001}.tar`;
    const [both, first] = [
      await openData({ path: shards }),
      await openData({ path: shards.replace('{000..001}', '000') }),
    ];
    assert.ok(!sameData(both.spec, first.spec));
    assert.deepEqual((await openData(both.spec)).spec, both.spec);
    const parts = await Promise.all((['t10k', 'train'] as const).map((split) => openData({ path: 'mnist', split })));
    assert.ok(!sameData(parts[0]!.spec, parts[1]!.spec));
  });
});
