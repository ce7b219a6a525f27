import { strict as assert } from 'node:assert';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import { openSource } from '#src/data/open.js';
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
});
