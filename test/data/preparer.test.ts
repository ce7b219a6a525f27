/** Threads that decode: how they end. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadSharp } from '#src/data/sharp.js';
import { temporaryFolder } from './helpers.js';

describe('Preparer', () => {
  const folder = temporaryFolder();

  it('closes while the answer of a thread is on its way, and the process lives until it has', async () => {
    const sharp = await loadSharp();
    const image = join(folder, 'a.png');
    await sharp({ create: { width: 9, height: 9, channels: 3, background: 'red' } })
      .png()
      .toFile(image);
    const script = `
      import { Preparer } from '${new URL('../../../dist/data/preparer.js', import.meta.url)}';
      const preparer = new Preparer(1);
      const job = { image: { path: ${JSON.stringify(image)} }, transform: { size: 8 } };
      await preparer.run(job);
      const late = preparer.run(job).catch(({ message }) => message);
      await new Promise(setImmediate);
      const start = performance.now();
      while (performance.now() - start < 500); // the thread answers while nobody listens
      await preparer.close();
      console.log('closed;', await late);`;
    writeFileSync(join(folder, 'close.mjs'), script);
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'close.mjs')], { encoding: 'utf8' });
    assert.match(stdout, /^closed; Preparer: close, with pictures under way/, stderr);
    assert.equal(status, 0);
  });
});
