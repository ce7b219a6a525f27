/** `hopgrad train` on ranks is that of one process: started by mpirun of both families and as threads, broken off, gone on with. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openSafetensors } from '#src/formats/safetensors.js';
import { main, makePictures, readRows } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';
import { mpich, needsLaunchers, open, run, threads, withoutBatchNorm } from './start.js';

const data = ['--train-data', 'pairs.tsv', '--model', 'tiny.json', '--batch-size', '4', '--no-report'];

describe('hopgrad train on ranks', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  before(async function () {
    needsLaunchers(this, 'mpirun.openmpi', 'mpirun.mpich');
    await makePictures(folder);
    const table = readFileSync(join(folder, 'pairs.tsv'), 'utf8').split('\n');
    table.splice(3, 0, 'squares/none.png\ta square that is not there');
    writeFileSync(join(folder, 'pairs.tsv'), table.join('\n'));
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(withoutBatchNorm));
    const { code, output } = await one('train', ...data, ...all, '--name', 'one');
    assert.equal(code, 0, output);
    whole = log('one');
    skipped = output.match(/skipped .*none\.png/g)?.length;
    assert.equal(whole.length, 6);
  });

  const start = (words: string[], env: Record<string, string> = {}, until?: (output: string) => void) =>
    run(folder, words, env, until);
  const one = (...args: string[]) => start([process.execPath, main, ...args]);

  interface Line {
    step: number;
    loss: number;
    gradNorm: number;
    samples: number;
    imageP1: number;
  }
  const log = (name: string) => readRows<Line>(join(folder, 'runs', name, 'log.jsonl'));
  /** Losses and what else the log tells are those of `expected`, to rounding in float32. */
  function sameLog(name: string, expected: Line[]): void {
    const found = log(name);
    assert.deepEqual(
      found.map(({ step, samples }) => [step, samples]),
      expected.map(({ step, samples }) => [step, samples]),
    );
    for (const [i, line] of found.entries())
      for (const key of ['loss', 'gradNorm', 'imageP1'] as const) {
        const bound = 1e-2 * Math.max(1, Math.abs(expected[i]![key]));
        assert.ok(Math.abs(line[key] - expected[i]![key]) < bound, `${name}, step ${line.step}, ${key}: ${line[key]}`);
      }
  }
  const weights = (name: string) => {
    const file = openSafetensors(join(folder, 'runs', name, 'model.safetensors'));
    file.close();
    return file.checksum;
  };

  // ε so large that Adam does not make steps of rounding where the gradient is almost 0, as it is in batches of four.
  const steady = ['--lr', '1e-3', '--eps', '1e-1', '--hopfield-from', '0.5'];
  const all = [
    '--val-data',
    'pairs.tsv',
    '--center',
    'batch',
    '--ema',
    '0.9',
    '--memory-size',
    '6',
    '--epochs',
    '2',
    ...steady,
  ];
  let whole: Line[];
  let skipped: number | undefined;

  it('comes to the same on 2 and 4, over Open MPI, MPICH and threads, around a picture that is missing', async () => {
    for (const [name, words] of [
      ['open2', [...open(2), main, 'train', ...data, ...all]],
      ['mpich4', [...mpich(4), main, 'train', ...data, ...all]],
      ['threads2', [process.execPath, main, 'train', ...data, ...all, ...threads(2)]],
    ] as const) {
      const { code, output } = await start([...words, '--name', name]);
      assert.equal(code, 0, output);
      sameLog(name, whole);
      assert.equal(output.match(/skipped .*none\.png/g)?.length, skipped, 'one rank speaks');
      assert.equal(output.match(/Written to/g)?.length, 1);
      const [own, expected] = [name, 'one'].map((run) =>
        readRows<{ loss: number; meanRecall: number }>(join(folder, 'runs', run, 'evaluations.jsonl')),
      );
      assert.ok(Math.abs(own!.at(-1)!.loss - expected!.at(-1)!.loss) < 2e-2);
    }
    assert.equal(weights('open2'), weights('threads2'), 'two ranks add up in one order, whatever carries the numbers');
  });

  it('stops in good order by a signal to one rank, and goes on with another number of ranks', async () => {
    let sent = false;
    const stopped = await start([...open(2), main, 'train', ...data, ...all, '--name', 'stopped'], {}, (output) => {
      if (sent || !output.includes('Training 1/6')) return;
      sent = true;
      const own = readdirSync('/proc').filter((pid) => {
        if (!/^\d+$/.test(pid)) return false;
        try {
          const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
          const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          return environment.includes('OMPI_COMM_WORLD_RANK=1\0') && words.includes('\0stopped\0');
        } catch {
          return false; // it has ended meanwhile, or is another's
        }
      });
      assert.equal(own.length, 1);
      process.kill(Number(own[0]), 'SIGINT');
    });
    assert.equal(stopped.code, 130, stopped.output);
    assert.match(stopped.output, /Stopped at step \d/);
    assert.ok(log('stopped').length < 6);
    const { code, output } = await start([process.execPath, main, 'train', '--resume', 'runs/stopped', ...threads(4)]);
    assert.equal(code, 0, output);
    sameLog('stopped', whole);
  });

  it('ends all ranks, naming the one that fails, hangs, or has other weights', async () => {
    const saboteur = join(folder, 'saboteur.mjs');
    writeFileSync(
      saboteur,
      `const { Trainer } = await import(${JSON.stringify(pathToFileURL(join(main, '../../train/trainer.js')).href)});
      const { run } = Trainer.prototype;
      const harm = {
        throws() { throw new Error('out of ink'); },
        dies: () => process.kill(process.pid, 'SIGKILL'),
        hangs() { for (;;); },
        differs({ model }) {
          const [name, value] = Object.entries(model.stateDict()).find(([name]) => name.endsWith('text_projection'));
          model.loadStateDict({ [name]: value.mul(1.001) }, { strict: false });
        },
      }[process.env.HARM];
      Trainer.prototype.run = function (options) {
        if (this.group.rank !== 1) return run.call(this, options);
        return run.call(this, { ...options, onStep: async (report) => {
          if (report.step === 2) harm(this);
          await options.onStep(report);
        } });
      };`,
    );
    const harmed = (how: string, launcher: string[]) => {
      const flags = ['--distributed-timeout', '2', '--check-ranks', '1', '--overwrite', '--name', 'harmed'];
      const words = [...launcher, '--import', pathToFileURL(saboteur).href, main, 'train', ...data, ...flags];
      return start(words, { HARM: how });
    };
    for (const [how, launcher, expected] of [
      ['throws', mpich(2), /rank 1: .*out of ink/],
      ['dies', open(2), /(rank|process) 1|on signal 9|waited 2 s for rank 1/i],
      ['hangs', open(2), /waited 2 s for rank 1;/],
      ['differs', open(2), /weights of rank 1 that are not those of rank 0 after step 2, in .*text_projection/],
    ] as const) {
      const { code, output } = await harmed(how, [...launcher]);
      assert.notEqual(code, 0, how);
      assert.match(output, expected, how);
    }
  });

  it('refuses what cannot be, before the work', async () => {
    for (const [args, expected] of [
      [['--batch-size', '5', ...threads(2)], /batches of 5 for 2 ranks; expected a multiple of 2/],
      [['--device', 'webgpu', ...threads(2)], /--device: webgpu on 2 ranks; expected wasm/],
      [['--ranks', '2'], /--ranks 2 with --distributed auto; expected --distributed threads/],
    ] as const) {
      const { code, output } = await one('train', ...data, ...args, '--name', 'refused');
      assert.notEqual(code, 0);
      assert.match(output, expected);
      assert.ok(!existsSync(join(folder, 'runs', 'refused', 'log.jsonl')));
    }
  });
});
