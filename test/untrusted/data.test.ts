/** Data of strangers: tables, shards, idx files, pictures, and paths that lead to what is no file. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { fixture, property } from '../helpers.js';
import { bytesOf, mutate, mutations, readerProcess } from './readers.js';

/** A tar header of one file, with a right sum. `change` works on the block before. */
function tarHeader(name: string, size: number, type = '0', change?: (block: Buffer) => void): Buffer {
  const block = Buffer.alloc(512);
  block.write(name.slice(0, 100));
  block.write('0000644\0', 100);
  block.write('0000000\0'.repeat(2), 108);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0        ', 136);
  block.write(type, 156);
  block.write('ustar\x0000', 257);
  change?.(block);
  block.fill(' ', 148, 156);
  block.write(
    `${block
      .reduce((a, b) => a + b, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return block;
}
const padded = (data: Uint8Array) => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
const tarEnd = Buffer.alloc(1024);

describe('data of strangers', () => {
  const { survives, refuses } = readerProcess();
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
  after(() => rmSync(folder, { recursive: true }));
  const place = (name: string, bytes: Uint8Array) => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const pipe = join(folder, 'pipe.png');
  execFileSync('mkfifo', [pipe]);

  it('opens no pipe, device or folder', async () => {
    for (const path of [pipe, '/dev/zero', folder])
      for (const reader of ['image', 'tsv', 'jsonl', 'coco', 'torch'])
        await refuses(reader, path, /a (pipe|device|folder); expected/);
    assert.equal((await survives('tar', pipe)).result, '0 rows, 1 bad');
    assert.equal((await survives('tar', '/dev/zero')).result, '0 rows, 1 bad');
  });

  const sample = Buffer.concat([
    tarHeader('1.jpg', 600),
    padded(Buffer.alloc(600, 7)),
    tarHeader('1.txt', 5),
    padded(Buffer.from('words')),
  ]);
  it('the builders of this test make shards that are read', async () => {
    const { result } = await survives('tar', Buffer.concat([sample, tarEnd]));
    assert.equal(result, '1 rows, 0 bad');
  });

  const sizes: Record<string, (block: Buffer) => void> = {
    'no number': (block) => block.write('zzzzzzzzzzz', 124),
    'a negative number': (block) => block.fill(0xff, 124, 136),
    '2⁹⁴': (block) => block.fill(0x80, 124, 125).fill(0xff, 125, 136),
    'octal digits without end': (block) => block.write('777777777777', 124),
    nothing: (block) => block.fill(0, 124, 136),
  };
  for (const [what, change] of Object.entries(sizes))
    for (const type of ['0', '5', 'x', 'g', 'L', 'K', 'S'])
      it(`reads what precedes a shard's file of type ${type} whose size is ${what}`, async () => {
        const { result, error } = await survives(
          'tar',
          Buffer.concat([sample, tarHeader('2.jpg', 0, type, change), sample, tarEnd]),
        );
        assert.equal(error, undefined);
        assert.match(result!, /^[12] rows, [01] bad$/);
      });

  for (const [what, record] of [
    ['lengths below zero', '-5 path=x\n-9 size=1\n'],
    ['a size that is no number', '14 size=1e300\n'],
    ['a size beyond everything', '26 size=99999999999999999\n'],
    ['names of what objects have', '21 __proto__=polluted\n30 constructor.prototype=1234\n'],
  ] as const)
    it(`survives extended headers with ${what}`, async () => {
      const text = Buffer.from(record);
      await survives('tar', Buffer.concat([tarHeader('x', text.length, 'x'), padded(text), sample, tarEnd]));
    });

  it('refuses shards and idx files that grow a thousandfold', async () => {
    const size = 400e6;
    const shard = gzipSync(Buffer.concat([tarHeader('1.jpg', size), Buffer.alloc(size), tarEnd]), { level: 1 });
    const { result } = await survives('tgz', shard, 300);
    assert.equal(result, '0 rows, 1 bad');
    const idx = Buffer.concat([Buffer.of(0, 0, 8, 1, 0x17, 0xd7, 0x84, 0), Buffer.alloc(size)]);
    await refuses('idx', gzipSync(idx, { level: 1 }), /grows beyond \d+ bytes/);
  });

  it('refuses idx files that are none', async () => {
    for (const bytes of [
      Buffer.of(0x1f, 0x8b),
      Buffer.concat([gzipSync(Buffer.alloc(100)), Buffer.alloc(9)]),
      gzipSync(Buffer.alloc(100)).subarray(0, 20),
      Buffer.of(0, 0, 8, 255),
      Buffer.of(0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255),
      Buffer.of(0, 0, 8),
    ])
      await refuses('idx', bytes, /idx|whole file/);
  });

  /** A PNG of grey pixels, all 0. */
  function png(width: number, height: number): Buffer {
    const chunk = (type: string, data: Uint8Array) => {
      const body = Buffer.concat([Buffer.from(type), data]);
      const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(data.length);
      sum.writeUInt32BE(crc32(body));
      return Buffer.concat([length, body, sum]);
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width);
    header.writeUInt32BE(height, 4);
    header[8] = 8;
    return Buffer.concat([
      Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
      chunk('IHDR', header),
      chunk('IDAT', deflateSync(Buffer.alloc((width + 1) * height))),
      chunk('IEND', new Uint8Array()),
    ]);
  }

  it('refuses pictures of endless sides and files that are too large', async () => {
    assert.equal((await survives('image', png(100, 3))).result, '100 × 3');
    await refuses('image', png(1, 9_999_999), /1 × 9999999 pixels; expected sides of at most 65535/);
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="1000000000" height="1"/>`;
    await refuses('image', Buffer.from(svg), /./);
    const large = place('large.png', new Uint8Array());
    execFileSync('truncate', ['-s', '3G', large]);
    await refuses('image', large, /3221225472 bytes; expected at most/);
  });

  it('reads no file that a drawing names', async () => {
    const secret = place('secret.png', png(4, 4));
    const svg = `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://${join(folder, 'none.txt')}">]>
      <svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="8" height="8">
      <image xlink:href="file://${secret}" width="8" height="8"/><text>&x;</text></svg>`;
    await survives('image', Buffer.from(svg));
  });

  const table = Buffer.from('filepath\ttitle\na.png\tone\r\nb.png\t"two ""and"" more"\n\tno path\nc.png\tgrößer\n');
  property(
    'survive any damage: tables between tabs',
    mutations,
    async (m) => void (await survives('tsv', mutate(table, m))),
    60,
  );
  const comma = Buffer.from(table.toString().replaceAll('\t', ','));
  property(
    'survive any damage: tables with commas',
    mutations,
    async (m) => void (await survives('csv', mutate(comma, m))),
    60,
  );

  const jsonl = Buffer.from('{"filepath":"a.png","title":["one","größer"]}\n{"filepath":"b.png","title":"two"}\n');
  property(
    'survive any damage: JSON lines',
    mutations,
    async (m) => void (await survives('jsonl', mutate(jsonl, m))),
    60,
  );
  const images = [9, 25].map((id) => ({ id, file_name: `${id}.jpg` }));
  const annotations = [9, 25, 9].map((image_id, id) => ({ image_id, id, caption: `größer ${id}` }));
  const coco = Buffer.from(JSON.stringify({ images, annotations }));
  property('survive any damage: COCO', mutations, async (m) => void (await survives('coco', mutate(coco, m))), 60);

  it('reads JSON of any depth, and refuses more values than memory holds', async () => {
    await refuses('jsonl', Buffer.from('['.repeat(1e6)), /without a line that is a JSON object/);
    await refuses('coco', Buffer.from('['.repeat(1e6)), /nested 1000000 deep; expected/);
    await refuses(
      'coco',
      Buffer.from(`{"a":[${'{},'.repeat(1e7)}{}]}`),
      /of 20000003 values, nested 3 deep; expected at most/,
    );
    const wide = Array.from({ length: 1e5 }, (_, i) => `"k${i}":0`).join();
    const { error } = await survives('jsonl', Buffer.from(`{${wide}}`));
    assert.ok(error!.length < 3000, error!.slice(0, 100));
  });

  const shard = readFileSync(fixture('webdataset/shard-000.tar'));
  property('survive any damage: shards', mutations, async (m) => void (await survives('tar', mutate(shard, m))), 40);
  property(
    'survive any damage: packed shards',
    mutations,
    async (m) => void (await survives('tgz', mutate(gzipSync(shard), m))),
    40,
  );
  property(
    'survive any damage of headers with right sums',
    fc.array(
      fc.record({ type: fc.constantFrom(...'0152xgLKS\0A'), at: fc.nat(511), value: fc.nat(255), size: fc.nat(2000) }),
      { minLength: 1, maxLength: 5 },
    ),
    async (files) => {
      const parts = files.flatMap(({ type, at, value, size }, i) => [
        tarHeader(`${i}.${i % 2 ? 'txt' : 'jpg'}`, size, type, (block) => {
          block[at] = value;
        }),
        padded(Buffer.alloc(size, ' 9 path=x\n')),
      ]);
      const { error } = await survives('tar', Buffer.concat([...parts, sample, tarEnd]));
      assert.equal(error, undefined);
    },
    100,
  );

  const idx = bytesOf(0, 0, 8, 3, Buffer.of(0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4), new Uint8Array(24));
  const lines = Buffer.from('a photo of a {}.\r\na drawing of the {name}\n\na {} at night');
  for (const reader of ['templates', 'classes'] as const)
    property(
      `survive any damage: ${reader}`,
      mutations,
      async (m) => void (await survives(reader, mutate(lines, m))),
      60,
    );

  it('tells of long lines shortly', async () => {
    await refuses(
      'templates',
      Buffer.from('no place '.repeat(100_000)),
      /in line 1 of .*prompts\.txt; expected a place/,
    );
    await refuses('templates', Buffer.from('\n \r\n'), /no template/);
  });

  const npy = Buffer.from(JSON.parse(readFileSync(fixture('npy.json'), 'utf8')).fortran.file, 'base64');
  property('survive any damage: npy', mutations, async (m) => void (await survives('npy', mutate(npy, m))), 60);
  property('survive any damage: idx', mutations, async (m) => void (await survives('idx', mutate(idx, m))), 60);
  property(
    'survive any damage: packed idx',
    mutations,
    async (m) => void (await survives('idx', mutate(gzipSync(idx), m))),
    40,
  );

  for (const name of ['photo.jpg', 'plain.png', 'tall.webp'])
    property(
      `survive any damage: ${name}`,
      mutations,
      async (m) => void (await survives('image', mutate(readFileSync(fixture(`images/${name}`)), m))),
      25,
    );
});
