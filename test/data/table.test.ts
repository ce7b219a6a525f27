import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { DataError } from 'hopgrad';
import type { BadRow, Row } from '#src/data/source.js';
import { type TableOptions, tableSource } from '#src/data/table.js';
import { property } from '../helpers.js';
import { temporaryFolder } from './helpers.js';

describe('tables', () => {
  const folder = temporaryFolder();
  const write = (text: string | Uint8Array, name = 'pairs.tsv') => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const told: string[] = [];
  const read = async (text: string | Uint8Array, options?: TableOptions) => {
    told.length = 0;
    const source = await tableSource(write(text), { log: (message) => told.push(message), ...options });
    return [...(source.rows({ seed: 0, epoch: 0, shuffle: false }) as Iterable<Row | BadRow>)];
  };
  const outcome = (rows: (Row | BadRow)[]) => rows.map((row) => ('bad' in row ? row.bad : row.caption));

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
        name: `${folder}/pairs.tsv:2 (x.png)`,
        image: { path: '/pictures/x.png' },
        group: '/pictures/x.png',
        caption: 'red, "big"\nheart',
      },
    ]);
  });

  it('marks rows without caption or path, and short rows, as bad', async () => {
    const rows = await read('filepath\ttitle\na.png\t \n\tno picture\nb.png\nc.png\tgood\n');
    assert.deepEqual(outcome(rows), ['empty caption', 'no picture path', '1 columns instead of 2', 'good']);
    assert.match(told.join(), /3 of 4 rows cannot be used, the first in line 2: empty caption/);
  });

  it('between tabs takes captions as they are, quotation marks and all', async () => {
    const captions = ['"Hello," she said', '"open', 'a "5 inch" nail', '"whole"', '5"', '""'];
    const rows = await read(`filepath\ttitle\n${captions.map((caption) => `a.png\t${caption}\n`).join('')}`);
    assert.deepEqual(outcome(rows), captions);
    assert.deepEqual(told, []);
  });

  it('between tabs reads quotes where the text shows them, as pandas writes it, and says so', async () => {
    const rows = await read(
      'filepath\ttitle\na.png\t"""Hello,"" she said"\nb.png\t"two\nlines"\nc.png\tplain 5" nail\n',
    );
    assert.deepEqual(outcome(rows), ['"Hello," she said', 'two\nlines', 'plain 5" nail']);
    assert.match(told.join(), /its fields are quoted.*--csv-quotes off/);
    assert.match(told.join(), /1 quoted fields run over several lines \(the first in line 3\)/);
    const plain = await read('filepath\ttitle\na.png\t"""Hello,"" she said"\n', { quotes: false });
    assert.deepEqual(outcome(plain), ['"""Hello,"" she said"']);
  });

  it('names a row with a separator too many or a forgotten quotation mark, and loses no other', async () => {
    const rows = await read(
      'filepath,title\na.png,one, two\nb.png,"open\nc.png,good\nd.png,"closed" early\ne.png,"said ""so"""\nf.png,last',
      { separator: ',' },
    );
    assert.deepEqual(outcome(rows), [
      '3 columns instead of 2',
      'a quotation mark that is not closed, or closed too early',
      'good',
      'a quotation mark that is not closed, or closed too early',
      'said "so"',
      'last',
    ]);
    assert.match(told.join(), /3 of 6 rows cannot be used, the first in line 2: 3 columns instead of 2/);
  });

  it('reads lines that end in CR LF, LF or CR, mixed as well', async () => {
    assert.deepEqual(outcome(await read('filepath\ttitle\r\na\tx\nb\ty\r\nc\tz')), ['x', 'y', 'z']);
    assert.deepEqual(outcome(await read('filepath\ttitle\ra\tx\rb\ty\r')), ['x', 'y']);
    assert.deepEqual(outcome(await read('filepath\ttitle\na\tx\ry\nb\tz\n')), ['x\ry', 'z']);
  });

  it('reads UTF-8 and UTF-16 by themselves, guesses Windows-1252 aloud, and any other by name', async () => {
    const text = 'filepath\ttitle\nä.png\tgrößer “so” €\nb.png\tplain\n';
    const utf16 = Buffer.from(`\ufeff${text}`, 'utf16le');
    for (const bytes of [Buffer.from(text), Buffer.from(`\ufeff${text}`), utf16, Buffer.from(utf16).swap16()]) {
      const rows = await read(bytes);
      assert.deepEqual(outcome(rows), ['größer “so” €', 'plain']);
      assert.deepEqual((rows[0] as Row).image, { path: join(folder, 'ä.png') });
      assert.deepEqual(told, []);
    }
    const windows = Buffer.from(text.replace('“', '\x93').replace('”', '\x94').replace('€', '\x80'), 'latin1');
    assert.deepEqual(outcome(await read(windows)), ['größer “so” €', 'plain']);
    assert.match(told.join(), /1 rows are not UTF-8 and were read as Windows-1252 \(the first in line 2\); --encoding/);
    assert.deepEqual(outcome(await read(windows, { encoding: 'windows-1252' })), ['größer “so” €', 'plain']);
    assert.deepEqual(outcome(await read(windows, { encoding: 'utf-8' })), ['no utf-8', 'plain']);
    const japanese = Buffer.concat([Buffer.from('filepath\ttitle\na\t'), Buffer.from([0x94, 0x4c, 0x83, 0x7c, 0x0a])]);
    assert.deepEqual(outcome(await read(japanese, { encoding: 'shift_jis' })), ['猫ポ']);
    await assert.rejects(read(text, { encoding: 'klingon' }), /the encoding "klingon"; expected a name such as utf-8/);
  });

  it('shows no commands of names to the terminal', async () => {
    const rows = await read('filepath\ttitle\n\x1b[2Jx.png\tcaption\n\x1b]0;x\x07\t\n');
    assert.deepEqual(
      rows.map(({ name }) => name.slice(folder.length)),
      ['/pairs.tsv:2 (\\x1b[2Jx.png)', '/pairs.tsv:3 (\\x1b]0;x\\x07)'],
    );
    assert.deepEqual((rows[0] as Row).image, { path: join(folder, '\x1b[2Jx.png') });
  });

  for (const [name, text, message] of [
    [
      'a missing column',
      'filepath\tcaption\na\tb\n',
      /columns "filepath", "caption"; expected filepath and title.*--csv-caption-key/,
    ],
    ['the wrong separator', 'filepath,title\na,b\n', /separator seems to be ",", not tab/],
    ['bytes that are no text', 'filepath\ttitle\n\0\0\0', /no text \(a zero at character 16\)/],
    ['a line of megabytes', `filepath\ttitle\n${'x'.repeat(3e6)}`, /more than 1048576 bytes in line 2/],
    ['a header of megabytes', `${'x\t'.repeat(4e5)}\na\tb`, /^.{0,1000}$/],
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
      const text = [['filepath', 'title'].join(separator), ...lines, ''].join('\n');
      const rows = await read(text, { separator, quotes: true });
      assert.deepEqual(
        rows.map((row) => 'caption' in row && row.caption),
        pairs.map(([, caption]) => caption),
      );
    },
  );

  property(
    'agree with csv-parse on every table that it finds sound',
    fc.tuple(
      fc.array(fc.constantFrom('"', '""', ',', '\n', '\r\n', 'a', 'ß', ' ', '"a"', '"a,b"', '"x""y"', '"1\n2"'), {
        maxLength: 30,
      }),
      fc.boolean(),
    ),
    async ([parts, quotes]) => {
      const text = `filepath,title\n${parts.join('')}\nlast,row\n`;
      let expected: string[][];
      try {
        // Quotation marks inside unquoted fields are an error to it: then there is nothing to compare.
        const options = { delimiter: ',', quote: quotes ? ('"' as const) : false, record_delimiter: ['\r\n', '\n'] };
        expected = parse(text, { ...options, relax_column_count: true, skip_empty_lines: true });
      } catch {
        return;
      }
      const rows = await read(text, { separator: ',', quotes });
      const wanted = expected.slice(1).map(([path, caption, ...more], i) => {
        const { length } = expected[i + 1]!;
        if (length !== 2 || more.length) return `${length} columns instead of 2`;
        return !path ? 'no picture path' : caption!.trim() ? caption : 'empty caption';
      });
      assert.deepEqual(outcome(rows), wanted);
    },
    300,
  );
});
