/** The checkpoints of a run: a folder each, complete or not there at all; the newest few are kept. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckpointError, DataError, HopgradError } from '../tensor/errors.js';
import type { Learner } from './learner.js';
import { type RunRecord, readRecord } from './record.js';
import { type RunFolder, sync } from './run-folder.js';
import { bestWeightsOf, isCheckpoint, saveTraining, type TrainingFacts, verifyTraining, weightsOf } from './state.js';
import type { Trainer } from './trainer.js';

const nameOf = (step: number) => `step-${String(step).padStart(8, '0')}`;

/** Folders of the checkpoints of a run, the newest first. */
export function listCheckpoints(folder: RunFolder): string[] {
  if (!existsSync(folder.checkpoints)) return [];
  const names = readdirSync(folder.checkpoints).filter((name) => /^step-\d+$/.test(name));
  const step = (name: string) => Number(name.slice('step-'.length));
  return names.sort((a, b) => step(b) - step(a)).map((name) => join(folder.checkpoints, name));
}

/**
 * Writes a checkpoint, then drops all but the newest `keep`. Its folder gets its name when everything in it is on the disk.
 * @throws DataError when it cannot be written, DomainError for weights that are not finite; the older ones stay
 */
export async function writeCheckpoint(
  folder: RunFolder,
  trainer: Trainer<Learner>,
  { record, keep }: { record: RunRecord; keep: number },
): Promise<void> {
  if (!folder.writes) return;
  const path = join(folder.checkpoints, nameOf(trainer.position.step));
  if (!(existsSync(path) && isWhole(path))) {
    const partial = `${path}.partial`;
    try {
      rmSync(path, { recursive: true, force: true }); // damaged: it was passed over
      mkdirSync(partial, { recursive: true });
      folder.syncLog();
      await saveTraining(partial, trainer, record);
      sync(partial);
      renameSync(partial, path);
      sync(folder.checkpoints);
    } catch (error) {
      rmSync(partial, { recursive: true, force: true });
      if (error instanceof HopgradError) throw error;
      throw new DataError('checkpoint', {
        received: `${path}: ${(error as Error).message}`,
        expected: 'a writable folder',
      });
    }
  }
  folder.showModel(bestWeightsOf(path));
  for (const old of listCheckpoints(folder).slice(keep)) rmSync(old, { recursive: true, force: true });
}

/**
 * Keeps the weights of now as the best so far: weights only, since nobody goes on from there. Others may read the file at any
 * moment: it is the old one or the new one.
 * @throws DataError when it cannot be written, DomainError for weights that are not finite
 */
export async function writeBest(folder: RunFolder, learner: Learner, metadata: Record<string, string>): Promise<void> {
  if (!folder.writes) return;
  folder.make(folder.best);
  await learner.save(weightsOf(folder.best), metadata, { finite: true });
  sync(folder.best);
}

function isWhole(path: string): boolean {
  try {
    verifyTraining(path);
    return true;
  } catch {
    return false;
  }
}

/** Removes what interrupted writes have left. */
export function removeLeftovers(folder: RunFolder): void {
  if (!folder.writes) return;
  for (const at of [folder.path, folder.checkpoints, folder.best])
    for (const name of existsSync(at) ? readdirSync(at) : [])
      if (name.endsWith('.partial')) rmSync(join(at, name), { recursive: true, force: true });
}

/** Where a run goes on: its record, and a checkpoint; null when none was written, and it begins anew. */
export interface ResumePoint {
  record: RunRecord;
  checkpoint: { path: string; facts: TrainingFacts } | null;
  /** Why newer checkpoints, or the record, are not used. */
  passedOver: string[];
}

/**
 * The record of a checkpoint, or that of the run where it tells of later sessions: it was prolonged, or its data moved, and it was
 * killed before another checkpoint. A run can do without its record: a damaged one is passed over.
 */
function newest(own: RunRecord, folder: RunFolder, passedOver: string[]): RunRecord {
  if (!existsSync(folder.record)) return own;
  try {
    const { sessions, ...rest } = readRecord(folder.record);
    const goesOn = sessions[0]!.date === own.sessions[0]!.date && sessions.length > own.sessions.length;
    return goesOn ? { ...rest, sessions } : own;
  } catch (error) {
    if (!(error instanceof HopgradError)) throw error;
    passedOver.push(error.received);
    return own;
  }
}

/**
 * The newest checkpoint of a run that is whole.
 * @throws CheckpointError, DataError when there are checkpoints and all are damaged, or no record
 */
export function findResumePoint(folder: RunFolder): ResumePoint {
  const passedOver: string[] = [];
  for (const path of listCheckpoints(folder))
    try {
      const facts = verifyTraining(path);
      return { record: newest(facts.record, folder, passedOver), checkpoint: { path, facts }, passedOver };
    } catch (error) {
      if (!(error instanceof HopgradError)) throw error;
      passedOver.push(error.received);
    }
  if (passedOver.length > 0)
    throw new CheckpointError('resume', {
      received: `${folder.path}, all of whose checkpoints are damaged: ${passedOver.join('; ')}`,
      expected: 'a whole one',
      hint: 'Begin again with --overwrite.',
    });
  return { record: readRecord(folder.record), checkpoint: null, passedOver };
}

/**
 * One checkpoint, by its folder.
 * @throws CheckpointError, DataError that name what is wrong with it, and the newest other one that is whole
 */
export function openCheckpoint(path: string, folder: RunFolder): ResumePoint {
  if (!isCheckpoint(path))
    throw new DataError('resume', { received: `${path} without training.safetensors`, expected: 'a checkpoint' });
  try {
    const facts = verifyTraining(path);
    const passedOver: string[] = [];
    return { record: newest(facts.record, folder, passedOver), checkpoint: { path, facts }, passedOver };
  } catch (error) {
    if (!(error instanceof HopgradError)) throw error;
    const other = listCheckpoints(folder).find((one) => basename(one) !== basename(path) && isWhole(one));
    throw new CheckpointError('resume', {
      received: error.received,
      ...(error.expected && { expected: error.expected }),
      hint: other ? `${other} is whole: resume that, or the run.` : 'There is no other whole checkpoint.',
    });
  }
}
