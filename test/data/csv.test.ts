import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { DataError } from 'hopgrad';
import type { BadRow, Row } from '#src/data/source.js';
import { type TableOptions, tableSource } from '#src/data/table.js';
import { property } from '../helpers.js';
import { temporaryFolder } from './helpers.js';

describe('tables', () => {
  const folder = temporaryFolder();
  const write = (text: string, name = 'pairs.tsv') => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const read = async (text: string, options?: TableOptions) => [
    ...((await tableSource(write(text), options)).rows({ seed: 0, epoch: 0, shuffle: false }) as Iterable<
      Row | BadRow
    >),
  ];

  it('has the official defaults: tab, filepath, title; paths start from the table', async () => {
    const rows = await read('title\tid\tfilepath\na cat, asleep\t7\timages/cat.jpg\na "5 inch" nail\t8\t/nail.png\n');
    assert.deepEqual(rows, [
      {
        index: 0,
        name: `${folder}/pairs.tsv:2 (images/cat.jpg)`,
        image: { path: `${folder}/images/cat.jpg` },
        group: `${folder}/images/cat.jpg`,
        caption: 'a cat, asleep',
      },
      {
        index: 1,
        name: `${folder}/pairs.tsv:3 (/nail.png)`,
        image: { path: '/nail.png' },
        group: '/nail.png',
        caption: 'a "5 inch" nail',
      },
    ]);
  });

  it('takes separator, columns and folder as named; quotes hold separators and line breaks; a byte order mark is no column', async () => {
    const rows = await read('\uFEFFpath,words\r\nx.png,"red, ""big""\nheart"\r\n', {
      separator: ',',
      imageColumn: 'path',
      captionColumn: 'words',
      folder: '/pictures',
    });
    assert.deepEqual(rows, [
      {
        index: 0,
        name: `${folder}/pairs.tsv:3 (x.png)`,
        image: { path: '/pictures/x.png' },
        group: '/pictures/x.png',
        caption: 'red, "big"\nheart',
      },
    ]);
  });

  it('marks rows without caption or path, and short rows, as bad', async () => {
    const rows = await read('filepath\ttitle\na.png\t \n\tno picture\nb.png\nc.png\tgood\n');
    assert.deepEqual(
      rows.map((row) => ('bad' in row ? row.bad : row.caption)),
      ['empty caption', 'no picture path', 'empty caption', 'good'],
    );
  });

  for (const [name, text, message] of [
    [
      'a missing column',
      'filepath\tcaption\na\tb\n',
      /columns "filepath", "caption"; expected filepath and title.*--csv-caption-key/,
    ],
    ['the wrong separator', 'filepath,title\na,b\n', /separator seems to be ",", not tab/],
    ['open quotes', 'filepath\ttitle\na\t"b\nc\td\n', /[Qq]uote/],
    ['an empty table', 'filepath\ttitle\n', /no rows/],
    ['an empty file', '', /no rows/],
  ] as const)
    it(`refuses ${name}`, async () => {
      await assert.rejects(tableSource(write(text)), (e: Error) => e instanceof DataError && message.test(e.message));
    });

  it('refuses a missing file by name', async () => {
    await assert.rejects(
      tableSource(join(folder, 'none.tsv')),
      (e: Error) => e instanceof DataError && /none\.tsv/.test(e.message),
    );
  });

  const field = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((text) => text.trim() !== '');
  property(
    'give back any paths and captions, quoted by the usual rule',
    fc.tuple(fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 8 }), fc.constantFrom(',', '\t', ';', '|')),
    async ([pairs, separator]) => {
      const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
      const lines = pairs.map(([path, caption]) => [quote(`/x/${path}`), quote(caption)].join(separator));
      const rows = await read([['filepath', 'title'].join(separator), ...lines, ''].join('\n'), { separator });
      assert.deepEqual(
        rows.map((row) => 'caption' in row && row.caption),
        pairs.map(([, caption]) => caption),
      );
    },
  );
});
