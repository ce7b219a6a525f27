// The API reference as Markdown: TypeDoc reads the docstrings of src/, in a process and with a TypeScript of its own.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify, stripVTControlCharacters } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..');
const folder = join(root, '.build/api');

/** Of all that the reference is made from. */
function digest() {
  const hash = createHash('sha256');
  const sources = readdirSync(join(root, 'src'), { recursive: true }).filter((name) => name.endsWith('.ts'));
  for (const name of sources.sort()) hash.update(name).update(readFileSync(join(root, 'src', name)));
  for (const name of ['typedoc.json', 'typedoc-options.mjs', 'package.json', 'api.mjs'])
    hash.update(readFileSync(join(here, name)));
  return hash.digest('hex');
}

/**
 * Writes .build/api unless it is there for these very sources.
 * @returns its folder, and what TypeDoc says of exports without a docstring and of links that lead nowhere
 */
export async function reference() {
  const [now, stamp] = [digest(), join(folder, 'digest')];
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== now) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const require = createRequire(import.meta.url);
    const typedoc = join(dirname(require.resolve('typedoc/package.json')), 'bin/typedoc');
    const options = ['--options', join(here, 'typedoc.json'), '--out', join(folder, 'pages')];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [typedoc, ...options], { cwd: here });
    // Members of types that are written in place are described where these are.
    const told = stripVTControlCharacters(`${stdout}${stderr}`)
      .split('\n')
      .filter((line) => /^\[(warning|error)\] (?!Found )/.test(line) && !/__type\.|an @param with name/.test(line));

    writeFileSync(join(folder, 'told.json'), JSON.stringify(told));
    writeFileSync(stamp, now);
  }
  return { folder: join(folder, 'pages'), told: JSON.parse(readFileSync(join(folder, 'told.json'), 'utf8')) };
}
