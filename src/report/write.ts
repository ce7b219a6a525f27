/** From folders of runs to the file of their report. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from '../tensor/errors.js';
import { reportFile, writeWhole } from '../train/run-folder.js';
import { reportHtml } from './page.js';
import { readRun } from './run-data.js';

/**
 * Writes the report of some runs, also while they are trained.
 * @param folders of the runs
 * @param path of the page; null: report.html in the folder of the only run
 * @returns the path
 * @throws DataError, CheckpointError for runs that cannot be read, or a path that cannot be written
 */
export async function writeReport(folders: readonly string[], path: string | null, version: string): Promise<string> {
  const runs = [];
  for (const folder of folders) runs.push(await readRun(folder));
  const target = path ?? join(folders[0]!, reportFile);
  const page = reportHtml(runs, { date: new Date(), version });
  try {
    if (statSync(target, { throwIfNoEntry: false })?.isDirectory()) throw new Error('is a folder');
    writeWhole(target, page);
  } catch (error) {
    throw new DataError('report', {
      received: `${target}: ${(error as Error).message}`,
      expected: 'a writable file',
      hint: 'Name another with --output.',
    });
  }
  return target;
}
