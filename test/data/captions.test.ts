import { strict as assert } from 'node:assert';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { DataError } from 'hopgrad';
import { cocoSource } from '#src/data/coco.js';
import { type JsonLinesOptions, jsonLinesSource } from '#src/data/json-lines.js';
import { openData, openSource, sameData } from '#src/data/open.js';
import type { BadRow, Row } from '#src/data/source.js';
import { property } from '../helpers.js';
import { all, temporaryFolder } from './helpers.js';

const inOrder = { seed: 0, epoch: 0, shuffle: false };
const outcome = (rows: (Row | BadRow)[]) => rows.map((row) => ('bad' in row ? row.bad : row.caption));
const refused = (message: RegExp) => (e: Error) => e instanceof DataError && message.test(e.message);

describe('captions in JSON lines', () => {
  const folder = temporaryFolder();
  const told: string[] = [];
  const read = async (text: string | Uint8Array, options?: JsonLinesOptions) => {
    told.length = 0;
    const path = join(folder, 'pairs.jsonl');
    writeFileSync(path, text);
    const source = await jsonLinesSource(path, { log: (message) => told.push(message), ...options });
    return all(source.rows(inOrder));
  };

  it('makes a row of each caption; those of one picture are a group; other keys are passed over', async () => {
    const rows = await read(
      '{"id":1,"filepath":"a/cat.jpg","title":"a cat"}\n\n{"filepath":"/dog.jpg","title":["a dog","it sleeps"]}\r\n',
    );
    const row = (index: number, mark: string, file: string, caption: string) => {
      const path = file.startsWith('/') ? file : join(folder, file);
      return { index, name: `${folder}/pairs.jsonl${mark} (${file})`, image: { path }, group: path, caption };
    };
    assert.deepEqual(rows, [
      row(0, ':1', 'a/cat.jpg', 'a cat'),
      row(1, ':3, caption 1', '/dog.jpg', 'a dog'),
      row(2, ':3, caption 2', '/dog.jpg', 'it sleeps'),
    ]);
    assert.deepEqual(told, []);
  });

  it('takes other keys and another folder', async () => {
    const [row] = await read('{"file_name":"x.png","text":"größer"}', {
      imageColumn: 'file_name',
      captionColumn: 'text',
      folder: '/pictures',
    });
    assert.deepEqual([(row as Row).image, (row as Row).caption], [{ path: '/pictures/x.png' }, 'größer']);
  });

  it('names every line that is none of this as a bad row, and loses no other', async () => {
    const lines = [
      '{"filepath":"a.png","title":"first"}',
      '{"filepath":"b.png","title":',
      '["a.png","x"]',
      'null',
      '{"filepath":"b.png"}',
      '{"filepath":7,"title":"x"}',
      '{"filepath":"","title":"x"}',
      '{"filepath":"b.png","title":"  "}',
      '{"filepath":"b.png","title":[]}',
      '{"filepath":"b.png","title":["good",null]}',
      '{"__proto__":{"filepath":"b.png","title":"x"}}',
      '{"filepath":"c.png","title":"last"}',
    ];
    const rows = await read(Buffer.concat([Buffer.from(lines.join('\n')), Buffer.from([10, 0xff, 0xfe])]));
    const [unfinished, ...others] = outcome(rows).toSpliced(0, 1);
    assert.match(unfinished!, /^no JSON \(.*\)$/);
    assert.deepEqual(others, [
      'no JSON object',
      'no JSON object',
      'title undefined, no text',
      'filepath 7, no path',
      'no picture path',
      'empty caption',
      'no caption',
      'good',
      'title null, no text',
      'filepath undefined, no path',
      'last',
      'no UTF-8',
    ]);
    assert.match(told.join(), /11 of 14 rows cannot be used, the first in line 2: no JSON/);
  });

  it('refuses other keys, JSON over several lines, and what is no text', async () => {
    await assert.rejects(
      read('{"image":"a","caption":"b"}'),
      refused(/the keys "image", "caption"; expected filepath and title.*--csv-img-key/),
    );
    await assert.rejects(read('[\n{\n"filepath":\n"a.png"\n}\n]'), refused(/without a line that is a JSON object/));
    await assert.rejects(read('{"filepath":"\0"}'), refused(/no text/));
    await assert.rejects(jsonLinesSource(join(folder, 'none.jsonl')), refused(/none\.jsonl/));
  });

  property(
    'give back any captions',
    fc.array(fc.tuple(fc.string({ minLength: 1 }), fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1 })), {
      minLength: 1,
      maxLength: 6,
    }),
    async (pictures) => {
      const rows = await read(
        pictures.map(([file, title]) => `${JSON.stringify({ filepath: file, title })}\n`).join(''),
      );
      const wanted = pictures.flatMap(([, title]) => title.map((text) => (text.trim() ? text : 'empty caption')));
      assert.deepEqual(outcome(rows), wanted);
    },
  );
});

describe('captions of COCO', () => {
  const folder = temporaryFolder();
  const coco = {
    info: { year: 2017 },
    images: [
      { id: 9, file_name: '000000000009.jpg', height: 8, width: 8 },
      { id: 25, file_name: '000000000025.jpg', height: 8, width: 8 },
    ],
    annotations: [
      { image_id: 25, id: 1, caption: 'a giraffe ' },
      { image_id: 9, id: 2, caption: 'some food' },
      { image_id: 25, id: 3, caption: 'two giraffes' },
    ],
  };
  const write = (value: unknown, name = 'annotations/captions_val2017.json') => {
    mkdirSync(join(folder, 'annotations'), { recursive: true });
    writeFileSync(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value));
    return join(folder, name);
  };
  const put = (at: string) => {
    mkdirSync(join(folder, at), { recursive: true });
    writeFileSync(join(folder, at, '000000000009.jpg'), '');
  };

  it('finds the pictures where the published archives put them, and makes a row of each caption', async () => {
    const path = write(coco);
    await assert.rejects(cocoSource(path), refused(/000000000009\.jpg is not in .*val2017.*--img-folder/));
    assert.equal((await cocoSource(path, { folder: '/elsewhere' })).size, 3);
    for (const at of ['images/val2017', 'val2017', 'annotations']) {
      put(at);
      const rows = (await all((await openSource(path)).rows(inOrder))) as Row[];
      const file = (name: string) => join(folder, at, name);
      assert.deepEqual(
        rows.map(({ index, name, group, caption }) => [index, name, group, caption]),
        [
          [0, `${path}#1 (000000000025.jpg)`, file('000000000025.jpg'), 'a giraffe '],
          [1, `${path}#2 (000000000009.jpg)`, file('000000000009.jpg'), 'some food'],
          [2, `${path}#3 (000000000025.jpg)`, file('000000000025.jpg'), 'two giraffes'],
        ],
      );
    }
  });

  it('counts annotations that cannot be used as bad rows', async () => {
    put('annotations');
    const told: string[] = [];
    const ugly = [{ image_id: 4, caption: 'x' }, { image_id: 9 }, { image_id: 9, caption: ' ' }, null, 7];
    const path = write({ ...coco, annotations: [...coco.annotations, ...ugly] });
    const source = await cocoSource(path, { log: (message) => told.push(message) });
    assert.deepEqual(outcome(await all(source.rows(inOrder))).slice(3), [
      'image_id 4 of no picture',
      'caption undefined, no text',
      'empty caption',
      'image_id undefined of no picture',
      'image_id undefined of no picture',
    ]);
    assert.match(told.join(), /5 of 8 rows cannot be used, the first in annotation 4: image_id 4 of no picture/);
  });

  it('refuses other JSON', async () => {
    for (const [value, message] of [
      ['{', /is no JSON/],
      [[], /no list of images/],
      [{ images: [], annotations: [{ caption: 'x' }] }, /without names of pictures/],
      [{ ...coco, annotations: [{ image_id: 9, bbox: [1, 2, 3, 4] }] }, /no annotations with captions.*\.jsonl/],
    ] as const)
      await assert.rejects(cocoSource(write(value)), refused(message));
  });

  it('is remembered and compared like every other data', async () => {
    put('annotations');
    const { spec } = await openData({ path: write(coco) });
    assert.deepEqual([spec.rows, spec.digest.length], [3, 64]);
    assert.ok(sameData(spec, (await openData(spec)).spec));
    await assert.rejects(openData({ ...spec, path: write({ ...coco, info: {} }) }), refused(/has changed/));
  });
});
