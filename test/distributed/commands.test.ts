/** Commands on ranks come to what one process does, on pictures of which one is broken: classifying, probing, training from a cache, passing over a step. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readSafetensors } from 'hopgrad/models/cloob';
import { colours, main, makePictures, makeWeights, readRows } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';
import { mpich, needsLaunchers, open, run, threads, withoutBatchNorm } from './start.js';

describe('commands on ranks', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  before(async function () {
    needsLaunchers(this, 'mpirun.openmpi', 'mpirun.mpich');
    await makePictures(folder);
    await makeWeights(join(folder, 'tiny.safetensors'));
    // Parts of the ranks that are of two sizes: one of nine pictures cannot be read. The others are for measuring.
    for (const name of Object.keys(colours)) {
      mkdirSync(join(folder, 'others', name), { recursive: true });
      if (name !== 'red') renameSync(join(folder, 'squares', name, '2.png'), join(folder, 'others', name, '2.png'));
    }
    renameSync(join(folder, 'squares/red/1.png'), join(folder, 'others/red/1.png'));
    writeFileSync(join(folder, 'squares/red/1.png'), 'not a picture');
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(withoutBatchNorm));
  });

  async function done(words: string[], env: Record<string, string> = {}): Promise<string> {
    const { code, output } = await run(folder, words, env);
    assert.equal(code, 0, output);
    return output;
  }
  const one = (...args: string[]) => done([process.execPath, main, ...args]);
  const json = (output: string) => JSON.parse(output.slice(output.indexOf('{\n'), output.lastIndexOf('}') + 1));
  const model = ['--checkpoint', 'tiny.safetensors', '--json', '--max-bad-share', '0.5'];

  it('zero-shot and probe: the same classes, accuracies and penalty', async () => {
    const zeroShot = ['zero-shot', '--val-data', 'squares', ...model];
    const probe = ['probe', '--train-data', 'squares', '--val-data', 'others', ...model];
    const [classified, probed] = [json(await one(...zeroShot)), json(await one(...probe))];
    assert.deepEqual([classified.pictures, probed.pictures, probed.tested], [8, 8, 4]);
    assert.deepEqual(json(await done([...open(2), main, ...zeroShot])), classified);
    assert.deepEqual(json(await one(...zeroShot, ...threads(3))), classified);
    assert.deepEqual(json(await done([...mpich(4), main, ...probe])), probed);
  });

  const log = (name: string) =>
    readRows<{ step: number; loss?: number; skipped?: string }>(join(folder, 'runs', name, 'log.jsonl'));
  function sameLog(name: string, expected: string): void {
    const [found, other] = [log(name), log(expected)];
    assert.equal(found.length, 6);
    for (const [i, line] of found.entries()) {
      const { step, skipped } = other[i]!;
      // In which op it began is told in one process only.
      assert.deepEqual([line.step, line.skipped], [step, skipped?.replace(/; it began in .*/, '')]);
      if (line.loss !== undefined)
        assert.ok(Math.abs(line.loss - other[i]!.loss!) < 1e-3, `step ${line.step}: ${line.loss} ${other[i]!.loss}`);
    }
  }
  const train = ['train', '--train-data', 'pairs.tsv', '--batch-size', '4', '--no-report', '--eps', '1e-2', '--steps'];
  const badRows = ['--max-bad-share', '0.6'];

  it('train --lock-image --cache-embeddings: all learn from one cache what one process does', async () => {
    const flags = [...train, '6', ...badRows, '--pretrained', 'tiny.safetensors', '--lock-image', '--cache-embeddings'];
    const alone = await one(...flags, '--loss', 'dcl', '--cache', 'cache-1', '--name', 'locked');
    const output = await done([
      ...mpich(4),
      main,
      ...flags,
      '--loss',
      'dcl',
      '--cache',
      'cache-4',
      '--name',
      'locked4',
    ]);
    sameLog('locked4', 'locked');
    const files = (name: string) => readdirSync(join(folder, name), { recursive: true }).sort();
    assert.deepEqual(files('cache-4'), files('cache-1'));
    const skipped = (text: string) => text.match(/skipped .*\.png.*/g)?.sort();
    assert.deepEqual(skipped(output), skipped(alone), 'one rank speaks');
    assert.ok(skipped(output)!.length > 0);
  });

  it('train --on-nan skip: a pixel that is infinite on one rank is passed over by all, and kept with the whole batch', async () => {
    const saboteur = join(folder, 'saboteur.mjs');
    writeFileSync(
      saboteur,
      `const { Loader } = await import(${JSON.stringify(pathToFileURL(join(main, '../../data/loader.js')).href)});
      const { batches } = Loader.prototype;
      Loader.prototype.batches = async function* (place) {
        for await (const batch of batches.call(this, place)) {
          const at = batch.names.findIndex((name) => name.includes('green/0.png'));
          if (place.epoch === 0 && at >= 0) batch.images[at * 192] = Infinity;
          yield batch;
        }
      };`,
    );
    const flags = ['--import', pathToFileURL(saboteur).href, main, ...train, '6', ...badRows, '--model', 'tiny.json'];
    const rest = ['--loss', 'siglip', '--on-nan', 'skip', '--name'];
    await done([process.execPath, ...flags, ...rest, 'skips']);
    await done([...open(2), ...flags, ...rest, 'skips2']);
    sameLog('skips2', 'skips');
    assert.equal(log('skips2').filter(({ skipped }) => skipped).length, 1);
    const kept = async (name: string) =>
      (await readSafetensors(join(folder, 'runs', name, 'not-finite/batch.safetensors'))).tensors.images!;
    const [own, expected] = [await kept('skips2'), await kept('skips')];
    assert.deepEqual(own.shape, [4, 3, 8, 8]);
    const sorted = (x: typeof own) => Array.from(x.dataSync()).sort((a, b) => a - b);
    assert.deepEqual(sorted(own), sorted(expected));
  });
});
