/** `hopgrad report`: a page of one run, or of several side by side. */
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { writeReport } from '../report/write.js';
import { UsageError } from '../tensor/errors.js';
import { reportFile } from '../train/run-folder.js';
import { folderOf } from './runs.js';
import { version } from './version.js';

interface ReportFlags {
  logs: string;
  output?: string;
}

/** Enters `hopgrad report`. */
export function addReportCommand(program: Command): void {
  program
    .command('report')
    .description(
      'write a page of a run, also while it is trained, or of several side by side: curves, pictures, tables',
    )
    .argument('[runs...]', 'names, folders, or latest (default: latest)')
    .option('--logs <folder>', 'folder of all runs', 'runs')
    .option('--output <file>', 'the page (default: report.html in the run’s folder, of several in --logs)')
    .action(report);
}

async function report(runs: string[], { logs, output }: ReportFlags): Promise<void> {
  const folders = (runs.length > 0 ? runs : ['latest']).map((run) => folderOf(run, logs));
  if (new Set(folders.map((folder) => resolve(folder))).size < folders.length)
    throw new UsageError('report', { received: `one run twice: ${runs.join(', ')}`, expected: 'different ones' });
  const path = output ?? (folders.length > 1 ? join(logs, reportFile) : null);
  console.log(`Report: ${await writeReport(folders, path, version)}`);
}
