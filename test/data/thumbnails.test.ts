/** Small pictures for pages: of what is there, of what is broken, of what is gone. */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import sharp from 'sharp';
import type { Source } from '#src/data/source.js';
import { dataUri, thumbnail, thumbnailsOfRows } from '#src/data/thumbnails.js';
import { temporaryFolder } from './helpers.js';

describe('thumbnails', () => {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  const picture = () => sharp({ create: { width: 40, height: 20, channels: 3, background: '#c04020' } });

  it('are WebP within a square, and never larger than the picture', async () => {
    const bytes = await picture().png().toBuffer();
    for (const [side, width, height] of [
      [10, 10, 5],
      [400, 40, 20],
    ] as const) {
      const small = await thumbnail({ bytes }, { side });
      assert.ok(small instanceof Buffer);
      const found = await sharp(small).metadata();
      assert.deepEqual([found.format, found.width, found.height], ['webp', width, height]);
      assert.match(dataUri(small), /^data:image\/webp;base64,UklGR/); // RIFF
    }
  });

  it('of files that are no pictures, or no files, are the reason why there is none', async () => {
    writeFileSync(path('text.png'), 'no picture');
    const reason = async (name: string) => {
      const found = await thumbnail({ path: path(name) }, { side: 10 });
      assert.ok(found instanceof DataError);
      return found.received;
    };
    assert.match(await reason('text.png'), /unsupported image format/);
    assert.match(await reason('missing.png'), /no such file/);
    if (process.platform === 'win32') return;
    execFileSync('mkfifo', [path('pipe.png')]);
    assert.match(await reason('pipe.png'), /a pipe/);
  });

  it('of rows come by their numbers, with a reason for every other, and no row is read after the last', async () => {
    const bytes = await picture().png().toBuffer();
    let read = 0;
    const source: Source = {
      name: 'five rows',
      size: 5,
      async *rows() {
        for (let i = 4; i >= 0; i--) {
          read++;
          if (i === 3) yield { index: i, name: `row ${i}`, bad: 'a file cut short' };
          else yield { index: i, name: `row ${i}`, image: { bytes: i === 2 ? new Uint8Array(9) : bytes } };
        }
      },
    };
    const found = await thumbnailsOfRows(source, [4, 3, 2, 4], { side: 10 });
    assert.deepEqual([...found.keys()].sort(), [2, 3, 4]);
    assert.equal(read, 3);
    assert.ok(found.get(4) instanceof Buffer);
    assert.equal((found.get(3) as DataError).received, 'a file cut short');
    assert.match((found.get(2) as DataError).received, /unsupported image format/);
    const gone = await thumbnailsOfRows(source, [7], { side: 10 });
    assert.equal((gone.get(7) as DataError).received, 'not in five rows any more');
  });
});
