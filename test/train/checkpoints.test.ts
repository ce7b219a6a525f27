/** Checkpoints on the disk: damage is noticed, the newest few are kept, nothing is mixed, one process at a time. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckpointError, DataError, DomainError, HopgradError, Random } from 'hopgrad';
import { readSafetensors, writeSafetensors } from 'hopgrad/models/cloob';
import {
  findResumePoint,
  listCheckpoints,
  openCheckpoint,
  removeLeftovers,
  writeCheckpoint,
} from '#src/train/checkpoints.js';
import { lockFolder } from '#src/train/lock.js';
import { checkRecord, type RunRecord, readRecord } from '#src/train/record.js';
import { RunFolder } from '#src/train/run-folder.js';
import { type TrainingFacts, verifyTraining } from '#src/train/state.js';
import { temporaryFolder } from '../data/helpers.js';
import { losses, makeTrainer, record } from './helpers.js';

describe('checkpoints', () => {
  const root = temporaryFolder();
  const trainer = makeTrainer();
  let run: RunFolder;
  /** Two checkpoints, after steps 1 and 2. */
  before(async () => {
    run = new RunFolder(join(root, 'run'));
    run.writeJson('manifest.json', record(trainer));
    for (const step of [1, 2]) {
      await losses(trainer, step);
      await writeCheckpoint(run, trainer, { record: record(trainer), keep: 3 });
    }
  });
  let copies = 0;
  const copy = () => {
    const path = join(root, `copy-${copies++}`);
    cpSync(run.path, path, { recursive: true });
    return new RunFolder(path);
  };
  const names = (folder: RunFolder) => listCheckpoints(folder).map((path) => basename(path));
  const at = (folder: RunFolder) => findResumePoint(folder).checkpoint?.facts.position.step;

  it('go on from the newest, and show its weights', () => {
    assert.deepEqual(names(run), ['step-00000002', 'step-00000001']);
    assert.equal(at(run), 2);
    const [newest] = listCheckpoints(run);
    assert.deepEqual(readFileSync(run.model), readFileSync(join(newest!, 'model.safetensors')));
    assert.deepEqual(readRecord(run.record), record(trainer));
  });

  it('are refused by name for 50 flipped bits, and the one before is offered and used', () => {
    const random = new Random(Number(process.env.HOPGRAD_SEED ?? 1));
    const folder = copy();
    const [newest, older] = listCheckpoints(folder) as [string, string];
    for (let i = 0; i < 50; i++) {
      const file = join(newest, random.pick(['model.safetensors', 'training.safetensors']));
      const whole = readFileSync(file);
      const bytes = Uint8Array.from(whole);
      // Half of the flips in the first kilobytes: the header is a small part of the file.
      const bit = random.int(8 * (i % 2 ? bytes.length : Math.min(bytes.length, 4096)));
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(file, bytes);
      assert.throws(
        () => openCheckpoint(newest, folder),
        (error: Error) =>
          error instanceof CheckpointError &&
          error.message.includes(file) &&
          error.message.includes(`${older} is whole`),
        `bit ${bit} of ${file}`,
      );
      const { checkpoint, passedOver } = findResumePoint(folder);
      assert.equal(checkpoint!.path, older);
      assert.ok(passedOver.length === 1 && passedOver[0]!.includes(file), passedOver.join());
      writeFileSync(file, whole);
    }
    assert.equal(at(folder), 2);
  });

  it('are refused when all are damaged, or cut off', () => {
    const folder = copy();
    for (const path of listCheckpoints(folder)) {
      const file = join(path, 'training.safetensors');
      writeFileSync(file, readFileSync(file).subarray(0, -1));
    }
    assert.throws(
      () => findResumePoint(folder),
      /all of whose checkpoints are damaged: .*step-00000002.*step-00000001/,
    );
  });

  it('are never mixed from two steps', () => {
    const folder = copy();
    const [newest, older] = listCheckpoints(folder) as [string, string];
    cpSync(join(older, 'model.safetensors'), join(newest, 'model.safetensors'));
    assert.throws(() => verifyTraining(newest), /the weights that training.safetensors beside it belongs to/);
    assert.equal(at(folder), 1);
  });

  it('are as many as asked for, and a damaged one is replaced', async () => {
    const folder = copy();
    await writeCheckpoint(folder, trainer, { record: record(trainer), keep: 1 });
    assert.deepEqual(names(folder), ['step-00000002']);
    const file = join(listCheckpoints(folder)[0]!, 'model.safetensors');
    writeFileSync(file, 'nothing');
    await writeCheckpoint(folder, trainer, { record: record(trainer), keep: 1 });
    assert.equal(at(folder), 2);
  });

  it('begin anew from the record when there is none yet, and leave nothing of interrupted writes', () => {
    const folder = copy();
    rmSync(folder.checkpoints, { recursive: true });
    assert.equal(findResumePoint(folder).checkpoint, null);
    mkdirSync(join(folder.checkpoints, 'step-00000003.partial'), { recursive: true });
    writeFileSync(`${folder.record}.partial`, '{');
    assert.equal(findResumePoint(folder).checkpoint, null);
    removeLeftovers(folder);
    assert.deepEqual(readdirSync(folder.checkpoints), []);
    assert.equal(existsSync(`${folder.record}.partial`), false);
  });

  it('do not hold numbers that are not finite', async () => {
    const folder = copy();
    const broken = makeTrainer();
    await losses(broken, 3);
    const [parameter] = broken.model.parameters();
    parameter!.storage.device.copyInto(parameter!.storage, parameter!.mul(Infinity).storage);
    await assert.rejects(writeCheckpoint(folder, broken, { record: record(broken), keep: 1 }), DomainError);
    assert.deepEqual(names(folder), ['step-00000002', 'step-00000001'], 'the older ones stay');
    assert.equal(at(folder), 2);
  });

  /** A checkpoint whose facts were changed by someone who keeps the checksums right. */
  const forged = async (change: (facts: Record<string, unknown>) => void) => {
    const folder = copy();
    const [newest] = listCheckpoints(folder);
    const file = join(newest!, 'training.safetensors');
    const { tensors, metadata } = readSafetensors(file);
    const facts = JSON.parse(metadata.training!) as Record<string, unknown>;
    change(facts);
    await writeSafetensors(file, tensors, { training: JSON.stringify(facts) });
    return () => verifyTraining(newest!);
  };

  it('are refused for facts that make no sense, every mistake at once', async () => {
    const many = await forged((facts) => {
      const { position, record: r } = facts as unknown as TrainingFacts;
      Object.assign(position, { step: 'x', epoch: -3 });
      Object.assign(r.options, { epochs: 1e300, loss: 'nope', lrScheduler: 'nope' });
      Object.assign(r.settings, { keepCheckpoints: 0 });
    });
    assert.throws(many, (error: Error) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(error.message, /6 mistakes/);
      for (const part of [
        /position.step/,
        /position.epoch/,
        /--epochs 1e\+300/,
        /--loss nope/,
        /--lr-scheduler nope/,
        /--keep-checkpoints 0/,
      ])
        assert.match(error.message, part);
      return true;
    });
    const newer = await forged((facts) => Object.assign(facts, { version: 3 }));
    assert.throws(newer, /version 3, by a newer hopgrad/);
    const none = await forged((facts) => {
      for (const key of Object.keys(facts)) delete facts[key];
    });
    assert.throws(none, CheckpointError);
  });

  it('are refused beyond the end of the training', async () => {
    const { restoreTraining } = await import('#src/train/state.js');
    const [newest] = listCheckpoints(run);
    const facts = verifyTraining(newest!);
    const position = { ...facts.position, step: 7 };
    assert.throws(() => restoreTraining(newest!, makeTrainer(), { ...facts, position }), /at most the 6 steps/);
  });

  it('have records that are checked, and early ones are refused by name', () => {
    const good = record(trainer);
    const check = (change: Partial<Record<keyof RunRecord, unknown>>) => checkRecord({ ...good, ...change }, 'a.json');
    assert.deepEqual(check({}), good);
    assert.throws(() => check({ version: 2 }), /a.json of version 2, by a newer hopgrad/);
    assert.throws(() => check({ sessions: [], data: {} }), /3 mistakes: data.train: .*data.val: .*sessions: /);
    assert.throws(() => check({ surprise: 1 } as object), /surprise/);
    const folder = copy();
    writeFileSync(folder.record, JSON.stringify({ method: 'CLOOB', options: good.options, steps: 6 }));
    assert.throws(() => readRecord(folder.record), /early hopgrad 0.1.0/);
    writeFileSync(folder.record, '{"format": ');
    assert.throws(
      () => readRecord(folder.record),
      (error: Error) => error instanceof HopgradError && /manifest.json/.test(error.message),
    );
  });

  it('are written by one process at a time: a folder is locked until its process ends', async () => {
    const folder = copy();
    const release = await lockFolder(folder.path);
    await assert.rejects(
      lockFolder(folder.path),
      (error: Error) => error instanceof DataError && /another process/.test(error.message),
    );
    const other = await lockFolder(run.path);
    other();
    release();
    await new Promise((resolve) => setTimeout(resolve, 10));
    (await lockFolder(folder.path))();
  });

  it('are not kept out by the lock of a folder that is gone, whose number the next one has', async function () {
    const parent = temporaryFolder();
    const gone = join(parent, 'gone');
    mkdirSync(gone);
    const { ino } = statSync(gone);
    const release = await lockFolder(gone);
    rmSync(gone, { recursive: true });
    const next = Array.from({ length: 200 }, (_, i) => join(parent, `${i}`)).find((path) => {
      mkdirSync(path);
      return statSync(path).ino === ino;
    });
    if (!next) {
      release();
      this.skip(); // this file system gives no number twice
    }
    setTimeout(release, 300); // as the process that made the folder ends
    (await lockFolder(next!))();
  });

  it('can be cleared without touching what is not the run’s', () => {
    const folder = copy();
    writeFileSync(join(folder.path, 'notes.txt'), 'mine');
    assert.ok(folder.used);
    folder.clear();
    assert.equal(folder.used, false);
    assert.deepEqual(readdirSync(folder.path), ['notes.txt']);
    assert.ok(statSync(join(run.path, 'manifest.json')).isFile());
  });
});
