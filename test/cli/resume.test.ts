/** Runs that are stopped, killed, started twice or unlucky: what is on the disk is always a run that goes on. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Random } from 'hopgrad';
import { hopgrad, main, makePictures, readRows, tinyConfig } from './helpers.js';

describe('hopgrad train, stopped and resumed', function () {
  this.timeout(900_000);
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-resume-'));
    await makePictures(folder);
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(tinyConfig));
    const [head, ...rows] = readFileSync(join(folder, 'pairs.tsv'), 'utf8').trim().split('\n');
    const many = Array.from({ length: 300 }, () => rows).flat();
    writeFileSync(join(folder, 'many.tsv'), `${[head, ...many].join('\n')}\n`);
  });
  after(() => rmSync(folder, { recursive: true }));

  const run = (...args: string[]) => hopgrad(folder, args);
  const small = ['train', '--train-data', 'pairs.tsv', '--model', 'tiny.json', '--batch-size', '4', '--workers', '0'];
  const file = (name: string, path: string) => join(folder, 'runs', name, path);
  const log = (name: string) => readRows(file(name, 'log.jsonl'));
  const same = (name: string, expected: string) => {
    assert.deepEqual(log(name), log(expected));
    const weights = (of: string) => readFileSync(file(of, 'model.safetensors'));
    assert.ok(weights(name).equals(weights(expected)), 'the weights differ');
  };
  /** Stops a run by a signal after some steps. */
  const stop = (signal: NodeJS.Signals, args: string[]) => {
    let sent = false;
    return hopgrad(folder, args, (stderr) => (/Training [1-9]/.test(stderr) && !sent && (sent = true) ? signal : null));
  };

  it('goes on by the printed command, pasted, to the same bits; the folder is all it needs', async () => {
    const args = [...small, '--val-data', 'pairs.tsv', '--steps', '60', '--hopfield-from', '20'];
    assert.equal((await run(...args, '--name', 'whole')).code, 0);
    const stopped = await stop('SIGINT', [...args, '--logs', 'my runs', '--name', "it's"]);
    assert.equal(stopped.code, 130, stopped.stderr);
    const command = /Stopped at step \d+. Go on with: (npx hopgrad train --resume .*)\n/.exec(stopped.stdout)![1]!;
    // npx of a project that has hopgrad
    mkdirSync(join(folder, 'bin'), { recursive: true });
    const npx = join(folder, 'bin', 'npx');
    writeFileSync(npx, `#!/bin/sh\nshift\nexec '${process.execPath}' '${main}' "$@"\n`);
    chmodSync(npx, 0o755);
    const env = { ...process.env, HOPGRAD_THREADS: '1', PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}` };
    const output = execFileSync('sh', ['-c', command], { cwd: folder, env, encoding: 'utf8', stdio: 'pipe' });
    assert.match(output, /12 pairs[\s\S]*picture → caption/);
    mkdirSync(file('', ''), { recursive: true });
    renameSync(join(folder, 'my runs', "it's"), file('pasted', ''));
    same('pasted', 'whole');
    const { sessions, settings } = JSON.parse(readFileSync(file('pasted', 'manifest.json'), 'utf8'));
    assert.equal(sessions.length, 2);
    assert.equal(settings.workers, 0);
    assert.match(sessions[0].command, /^npx hopgrad train --train-data pairs.tsv .* --name 'it'\\''s'$/);
  });

  it('knows its data by what they are, not by what they are called', async () => {
    const elsewhere = await run('train', '--resume', 'runs/whole', '--train-data', './pairs.tsv');
    assert.equal(elsewhere.code, 0, elsewhere.stderr);
    const columns = await run('train', '--resume', 'runs/whole', '--csv-caption-key', 'filepath');
    assert.equal(columns.code, 2);
    assert.match(columns.stderr, /--csv-caption-key cannot be changed by --resume/);
    const other = await run('train', '--resume', 'runs/whole', '--train-data', 'many.tsv');
    assert.equal(other.code, 1);
    assert.match(other.stderr, /many.tsv/);
  });

  it('remembers how its table is read', async () => {
    const read = ['--csv-separator', '\\t', '--csv-quotes', 'off', '--encoding', 'utf-8'];
    const begun = await run(...small, '--steps', '2', ...read, '--name', 'read');
    assert.equal(begun.code, 0, begun.stderr);
    const resumed = await run('train', '--resume', 'runs/read');
    assert.equal(resumed.code, 0, resumed.stderr);
    const other = await run('train', '--resume', 'runs/read', '--csv-quotes', 'on', '--encoding', 'latin1');
    assert.equal(other.code, 2);
    assert.match(other.stderr, /--csv-quotes, --encoding cannot be changed by --resume/);
  });

  it('finds its pictures elsewhere', async () => {
    mkdirSync(join(folder, 'here'));
    cpSync(join(folder, 'squares'), join(folder, 'here', 'squares'), { recursive: true });
    const args = [...small, '--val-data', 'pairs.tsv', '--img-folder', 'here'];
    const begun = await run(...args, '--steps', '2', '--name', 'moved');
    assert.equal(begun.code, 0, begun.stderr);
    renameSync(join(folder, 'here'), join(folder, 'there'));
    const lost = await run('train', '--resume', 'runs/moved', '--steps', '4');
    assert.equal(lost.code, 1);
    assert.match(lost.stderr, /of 12 rows .* cannot be used[\s\S]*--img-folder/);
    const found = await run('train', '--resume', 'runs/moved', '--steps', '4', '--img-folder', 'there');
    assert.equal(found.code, 0, found.stderr);
    const again = await run('train', '--resume', 'runs/moved', '--steps', '6'); // it remembers
    assert.equal(again.code, 0, again.stderr);
    assert.equal(log('moved').length, 6);
  });

  it('stays prolonged when it is killed before another checkpoint', async () => {
    assert.equal((await run(...small, '--steps', '2', '--name', 'longer')).code, 0);
    const killed = await hopgrad(folder, ['train', '--resume', 'runs/longer', '--steps', '200'], (stderr) =>
      /Training [3-9]/.test(stderr) ? 'SIGKILL' : null,
    );
    assert.equal(killed.code, null, killed.stderr);
    assert.equal(readdirSync(file('longer', 'checkpoints')).length, 1);
    const resumed = await stop('SIGINT', ['train', '--resume', 'runs/longer']);
    assert.match(resumed.stderr, /Continuing at step 2 of 200/);
    writeFileSync(file('longer', 'manifest.json'), '{');
    const without = await stop('SIGINT', ['train', '--resume', 'runs/longer']);
    assert.match(without.stderr, /Passed over, as it is damaged: .*manifest.json[\s\S]*of 200/);
  });

  it('that comes to no step leaves nothing, and an earlier run of its name as it was', async () => {
    const broken = ['filepath\ttitle', ...Array.from({ length: 12 }, (_, i) => `missing-${i}.png\tnothing`)];
    writeFileSync(join(folder, 'broken.tsv'), `${broken.join('\n')}\n`);
    const args = ['train', '--train-data', 'broken.tsv', ...small.slice(3), '--steps', '1', '--name'];
    const late = [...args, 'failed', '--report-to', 'tensorboard'];
    assert.equal((await run(...late)).code, 1);
    assert.equal(existsSync(file('failed', '')), false);
    const elsewhere = ['--train-data', 'nowhere.tsv', '--steps', '1', '--logs', 'new/and/deep'];
    assert.equal((await run('train', ...elsewhere)).code, 1);
    assert.equal(existsSync(join(folder, 'new')), false);
    assert.equal((await run(...small, '--steps', '2', '--name', 'kept')).code, 0);
    const before = log('kept');
    const early = [...small, '--pretrained', 'pairs.tsv', '--name', 'kept', '--overwrite'];
    assert.equal((await run(...early)).code, 1);
    assert.deepEqual(log('kept'), before);
    assert.ok(existsSync(file('kept', 'model.safetensors')));
  });

  it('leaves nothing either when it is stopped while its data are opened', async () => {
    const child = spawn(process.execPath, [main, 'train', '--name', 'early', '--cache', 'fresh'], { cwd: folder });
    child.stdout.on('data', (text) => {
      if (/hopgrad train:/.test(String(text))) child.kill('SIGINT'); // the emoji are not drawn yet
    });
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 130);
    assert.equal(existsSync(file('early', '')), false);
  });

  it('saves when the system or a closing terminal tells it to stop', async () => {
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      const stopped = await stop(signal, [...small, '--steps', '400', '--name', signal]);
      assert.equal(stopped.code, code, stopped.stderr);
      assert.match(stopped.stdout, /Stopped at step/);
      assert.equal(readdirSync(file(signal, 'checkpoints')).length, 1);
    }
  });

  it('stops in the evaluation too, and evaluates when it goes on', async () => {
    const args = [...small, '--val-data', 'many.tsv', '--steps', '2', '--name', 'evaluating'];
    const stopped = await hopgrad(folder, args, (stderr) =>
      /Evaluating \d/.test(stderr) && !/saved/.test(stderr) ? 'SIGINT' : null,
    );
    assert.equal(stopped.code, 130, stopped.stderr);
    assert.match(stopped.stderr, /Stopped. The training is saved; evaluate it with: npx hopgrad train --resume/);
    assert.equal(existsSync(file('evaluating', 'results.json')), false);
    const resumed = await run('train', '--resume', 'latest', '--val-data', 'pairs.tsv');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.ok(existsSync(file('evaluating', 'results.json')));
  });

  const kills = Number(process.env.HOPGRAD_KILLS ?? 4);
  it(`goes on to the same bits after ${kills} kills at random moments`, async function () {
    const saving = ['--save-steps', '1', '--keep-checkpoints', '2', '--ema', '0.9', '--layer-decay', '0.8'];
    const args = [...small, '--steps', String(12 * kills), ...saving];
    assert.equal((await run(...args, '--name', 'unbroken')).code, 0);
    const random = new Random(Number(process.env.HOPGRAD_SEED ?? 1));
    let killed = 0;
    for (let i = 0; killed < kills && i < 20 * kills; i++) {
      const words = existsSync(file('killed', 'manifest.json'))
        ? ['train', '--resume', 'runs/killed']
        : [...args, '--name', 'killed', '--overwrite'];
      const child = spawn(process.execPath, [main, ...words], {
        cwd: folder,
        env: { ...process.env, HOPGRAD_THREADS: '1' },
      });
      let stderr = '';
      const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
      await new Promise<void>((begun) => {
        child.stderr.on('data', (chunk) => {
          stderr += chunk;
          if (/Training|Continuing/.test(stderr)) begun();
        });
        void ended.then(() => begun());
      });
      await new Promise((wait) => setTimeout(wait, 250 * random.uniform()));
      child.kill('SIGKILL');
      const code = await ended;
      if (code === null) killed++;
      else assert.equal(code, 0, stderr);
      assert.doesNotMatch(stderr, /Passed over/, 'a kill leaves nothing half');
      if (code === 0) break;
    }
    this.test!.title = `goes on to the same bits after ${killed} kills at random moments`; // it may have ended before the last
    assert.ok(killed >= Math.min(kills, 3), `${killed} kills`);
    const last = await run('train', '--resume', 'runs/killed');
    assert.equal(last.code, 0, last.stderr);
    same('killed', 'unbroken');
    assert.deepEqual(
      readdirSync(file('killed', '')).filter((name) => name.endsWith('.partial')),
      [],
    );
    assert.equal(readdirSync(file('killed', 'checkpoints')).length, 2);
  });

  it('trains on when nobody reads what it says', async () => {
    const child = spawn(process.execPath, [main, ...small, '--steps', '5', '--name', 'unread'], { cwd: folder });
    child.stdout.destroy();
    child.stderr.destroy();
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
    assert.equal(log('unread').length, 5);
  });

  it('is in its folder alone', async () => {
    let second: ReturnType<typeof run> | null = null;
    const args = [...small, '--steps', '100000', '--name', 'locked'];
    const outcome = await hopgrad(folder, args, (stderr, child) => {
      if (/Training [1-9]/.test(stderr))
        second ??= run('train', '--resume', 'runs/locked').finally(() => child.kill('SIGINT'));
      return null;
    });
    const refused = await second!;
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /another process is training/);
    assert.equal(outcome.code, 130);
  });
  it('saves no weights that are not finite, and says so', async () => {
    const { code, stderr } = await run(...small, '--steps', '1', '--lr', '1e38', '--warmup', '0', '--name', 'infinite');
    assert.equal(code, 1);
    assert.match(stderr, /not finite/);
    assert.equal(existsSync(file('infinite', 'model.safetensors')), false);
  });

  it('keeps what has the name, unless it is told to overwrite', async () => {
    const before = readFileSync(file('whole', 'log.jsonl'), 'utf8');
    const refused = await run(...small, '--steps', '1', '--name', 'whole');
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /--overwrite/);
    assert.equal(readFileSync(file('whole', 'log.jsonl'), 'utf8'), before);
    const replaced = await run(...small, '--steps', '1', '--name', 'whole', '--overwrite');
    assert.equal(replaced.code, 0, replaced.stderr);
    assert.equal(log('whole').length, 1);
  });
});
