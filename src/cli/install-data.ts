/** `hopgrad data`: installs data that is too large to come with the package. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Argument, type Command } from 'commander';
import { type IconSource, iconFolder, iconPackage, iconSources, loadIcons } from '../data/icons.js';
import { DataError } from '../tensor/errors.js';

/** Enters `hopgrad data`. */
export function addDataCommand(program: Command): void {
  program
    .command('data')
    .description(
      'install data to train on, into the folder for prepared data, and tell who made them and under which licence',
    )
    .addArgument(new Argument('<name>', 'icons: sets of icons with names, some 70 MB').choices(['icons']))
    .option('--cache <folder>', 'folder for prepared data', '.cache')
    .action((_: string, { cache }: { cache: string }) => installIcons(iconFolder(cache)));
}

async function installIcons(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  // A package of its own: npm would look for one above, and change it.
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify({ name: 'hopgrad-icons', private: true })}\n`);
  const packages = iconSources.map(({ set, version }) => `${iconPackage(set)}@${version}`);
  await npm(folder, [
    'install',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--save-exact',
    '--loglevel=error',
    ...packages,
  ]);
  const { concepts, drawings, found } = loadIcons(folder); // also checks the licences
  const table = new Table({ head: ['set', 'drawings', 'licence', 'by', 'for'], style: { head: [], border: [] } });
  const use = ({ held }: IconSource) =>
    held === 'test' ? 'tests only' : held === 'validation' ? 'training, validation' : 'training';
  for (const source of iconSources) {
    const count = drawings.filter(({ style }) => style === source.set).length;
    table.push([source.set, { content: String(count), hAlign: 'right' }, source.licence, source.by, use(source)]);
  }
  console.log(table.toString());
  console.log(
    `${iconSources.length} sets in ${folder}: ${found} icons, of which ${drawings.length} drawings of ${concepts.length} concepts are left, sizes and weights folded. ` +
      'Doubles among them are left out when they are drawn. Train on them: npx hopgrad train --train-data icons',
  );
}

/** Runs npm in a folder. @throws DataError when it fails; what it says has been shown */
function npm(folder: string, words: readonly string[]): Promise<void> {
  const failed = (why: string) =>
    new DataError('data', {
      received: `npm in ${folder}: ${why}`,
      expected: 'the packages to install',
      hint: 'Is the npm registry within reach?',
    });
  return new Promise((resolve, reject) => {
    const onWindows = process.platform === 'win32';
    const child = spawn(onWindows ? 'npm.cmd' : 'npm', words, {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: onWindows,
    });
    child.on('error', (error) => reject(failed(error.message)));
    child.on('close', (code) => (code === 0 ? resolve() : reject(failed(`exit code ${code}`))));
  });
}
