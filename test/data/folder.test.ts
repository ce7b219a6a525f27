import { strict as assert } from 'node:assert';
import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DataError } from 'hopgrad';
import { folderSource, imagesSource } from '#src/data/folder.js';
import { Loader } from '#src/data/loader.js';
import type { Row } from '#src/data/source.js';
import { fixture } from '../helpers.js';
import { all, temporaryFolder } from './helpers.js';

describe('image folders', () => {
  const folder = temporaryFolder();
  const place = (path: string, from = 'photo.jpg') => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(fixture(`images/${from}`), join(folder, path));
  };
  place('pets/zebra/1.jpg');
  place('pets/cat/b.PNG', 'plain.png');
  place('pets/cat/deep/a.webp', 'tall.webp');
  place('pets/.hidden/c.jpg');
  place('pets/cat/.thumbnails/c.jpg');
  writeFileSync(join(folder, 'pets/cat/notes.txt'), 'no picture');
  writeFileSync(join(folder, 'pets/readme.md'), 'no class');

  it('number classes by sorted names and find pictures in any depth', async () => {
    const source = await folderSource(join(folder, 'pets'));
    assert.deepEqual(source.classNames, ['cat', 'zebra']);
    const rows = [...(source.rows({ seed: 0, epoch: 0, shuffle: false }) as Iterable<Row>)];
    assert.deepEqual(
      rows.map(({ index, name, label }) => [index, name.slice(folder.length), label]),
      [
        [0, '/pets/cat/b.PNG', 0],
        [1, '/pets/cat/deep/a.webp', 0],
        [2, '/pets/zebra/1.jpg', 1],
      ],
    );
  });

  it('become batches with labels', async () => {
    const loader = new Loader(await folderSource(join(folder, 'pets')), {
      batchSize: 2,
      transform: { size: 8 },
      workers: 0,
    });
    const batches = await all(loader.batches({ epoch: 0 }));
    assert.deepEqual(
      batches.map(({ labels, images }) => [[...labels], images.length]),
      [
        [[0, 0], 2 * 3 * 64],
        [[1], 3 * 64],
      ],
    );
  });

  it('without classes list every picture by path', async () => {
    const { paths, size } = await imagesSource(folder);
    assert.equal(size, 3);
    assert.deepEqual(
      paths,
      ['/pets/cat/b.PNG', '/pets/cat/deep/a.webp', '/pets/zebra/1.jpg'].map((path) => folder + path),
    );
  });

  it('follow links to classes and pictures, in circles too, and tell which formats are passed over', async () => {
    place('linked/cat/1.jpg');
    symlinkSync(join(folder, 'pets/zebra'), join(folder, 'linked/zebra'));
    symlinkSync(join(folder, 'linked'), join(folder, 'linked/cat/around'));
    symlinkSync(join(folder, 'pets/cat/b.PNG'), join(folder, 'linked/cat/2.png'));
    symlinkSync(join(folder, 'nowhere'), join(folder, 'linked/cat/3.png'));
    for (const name of ['a.bmp', 'b.HEIC', 'c.txt']) writeFileSync(join(folder, 'linked/cat', name), '');
    const told: string[] = [];
    const log = (message: string) => told.push(message);
    const source = await folderSource(join(folder, 'linked'), { log });
    assert.deepEqual(source.classNames, ['cat', 'zebra']);
    const rows = [...(source.rows({ seed: 0, epoch: 0, shuffle: false }) as Iterable<Row>)];
    assert.deepEqual(
      rows.filter(({ name }) => !name.includes('around')).map(({ name, label }) => [name.slice(folder.length), label]),
      [
        ['/linked/cat/1.jpg', 0],
        ['/linked/cat/2.png', 0],
        ['/linked/cat/3.png', 0],
        ['/linked/zebra/1.jpg', 1],
      ],
    );
    assert.match(told.join(), /2 pictures are passed over \(\.bmp \.heic\), the first is .*a\.bmp/);
    assert.equal((await imagesSource(join(folder, 'linked'), { log })).size, 4);
    rmSync(join(folder, 'linked'), { recursive: true });
  });

  it('refuse folders that are missing, empty or without classes', async () => {
    const refuses = (promise: Promise<unknown>, message: RegExp) =>
      assert.rejects(promise, (e: Error) => e instanceof DataError && message.test(e.message));
    mkdirSync(join(folder, 'half/full'), { recursive: true });
    mkdirSync(join(folder, 'half/empty'));
    place('half/full/a.jpg');
    await refuses(folderSource(join(folder, 'none')), /none/);
    await refuses(folderSource(join(folder, 'pets/cat/deep')), /no subfolders/);
    await refuses(folderSource(join(folder, 'half')), /no pictures in empty/);
    await refuses(imagesSource(join(folder, 'half/empty')), /without pictures/);
  });
});
