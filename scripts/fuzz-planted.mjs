// npm run fuzz -- --planted [--grep pow]: puts each fault of test/fuzz/planted.ts into a copy of hopgrad by itself, and
// tells which random program finds it first: of the suite's tests of single steps, of its tests of many, or of `--times` (50)
// as many programs of single steps. In the copy, the same file runs the programs: see `find`.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import Mocha from 'mocha';

const root = fileURLToPath(new URL('..', import.meta.url));
const copy = join(root, '.build/planted');
const run = (...args) => spawnSync(process.execPath, args, { cwd: copy, encoding: 'utf8', maxBuffer: 2 ** 28 });

/** A copy of this folder as far as it is built, tested and changed. */
function prepare() {
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  for (const name of ['package.json', 'tsconfig.json', 'scripts', 'web', '.build/test'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules')); // pages ask for packages, too
}

/** The copy with one fault. */
function plant({ changes }) {
  for (const name of ['src', 'dist']) {
    rmSync(join(copy, name), { recursive: true, force: true });
    cpSync(join(root, name), join(copy, name), { recursive: true, preserveTimestamps: true });
  }
  for (const { file, text, instead, after = '' } of changes) {
    const path = join(copy, 'src', file);
    const whole = readFileSync(path, 'utf8');
    const from = whole.indexOf(text, whole.indexOf(after));
    writeFileSync(path, whole.slice(0, from) + instead + whole.slice(from + text.length));
  }
  const { status, stdout, stderr } = run('scripts/build.mjs');
  if (status !== 0) throw new Error(`a planted fault does not compile:\n${stdout}${stderr}`);
}

/** The first program that finds the fault, as { title, program } with its number in the test; or null. `grep` chooses tests. */
function search(times, grep = '') {
  const { stdout, stderr } = run('scripts/fuzz-planted.mjs', '--find', String(times), grep);
  const line = stdout.split('\n').find((text) => text.startsWith('found '));
  if (!line) throw new Error(`the programs did not run:\n${stdout}${stderr}`);
  return JSON.parse(line.slice('found '.length));
}

/** What `search` runs in the copy. */
async function find(times, grep) {
  process.env.HOPGRAD_FUZZ_TIMES = times;
  const mocha = new Mocha({ bail: true, reporter: 'min', timeout: 0, grep: grep || undefined });
  for (const name of ['derivatives', 'devices', 'limits']) mocha.addFile(`.build/test/fuzz/${name}.test.js`);
  await mocha.loadFilesAsync();
  let found = null;
  mocha
    .run(() => {
      console.log(`\nfound ${JSON.stringify(found)}`);
      process.exit(0); // threads of the wasm device
    })
    .on('fail', (test, error) => {
      const program = Number(/Property failed after (\d+) tests/.exec(error.message)?.[1]);
      if (!program) {
        console.error(error); // not a program: the copy is not what it is meant to be
        process.exit(1);
      }
      found = { title: `${test.fullTitle()}${times > 1 ? `, ${times} times as many` : ''}`, program };
    });
}

/** Tests whose programs are of several steps, or of a step by chance, on the devices that Node has without an adapter. */
const mixed = 'mean the same on reference|broadcasts over many axes|at and beyond the edges|up to 3 steps';

export async function planted({ times = 50, grep = '' }) {
  const { faults } = await import(pathToFileURL(join(root, '.build/test/fuzz/planted.js')).href);
  prepare();
  let unseen = 0;
  console.log('| fault | programs until it is found | the test that finds it |\n| --- | --- | --- |');
  for (const fault of faults.filter(({ name }) => new RegExp(grep).test(name))) {
    plant(fault);
    const alone = `: (${fault.steps})$`;
    const found = search(1, alone) ?? search(1, mixed) ?? search(times, alone);
    if (!found) unseen++;
    console.log(`| ${fault.name} | ${found?.program ?? 'not found'} | ${found?.title ?? ''} |`);
  }
  rmSync(copy, { recursive: true, force: true });
  return unseen;
}

if (process.argv[2] === '--find') await find(process.argv[3], process.argv[4]);
