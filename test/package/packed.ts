/** The package as npm packs it. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  bin: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  exports: Record<string, { default: string } | string>;
};

/** Runs a program to its end. @returns what it prints @throws with its output when it fails */
export const run = (command: string, args: string[], cwd: string) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/**
 * Installs what a package.json asks for in its folder. Where the registry cannot be reached the suite is skipped by name,
 * except where everything is checked.
 */
export function installOrSkip(this: Mocha.Context, folder: string, asked: object): void {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, ...asked }));
  try {
    run('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--prefer-offline'], folder);
  } catch (error) {
    const told = String((error as { stderr: string }).stderr);
    if (process.env.CI || !/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH/.test(told)) throw error;
    console.log('    skipped: the registry cannot be reached');
    this.skip();
  }
}

export interface Packed {
  /** A temporary folder; `package` in it is the package unpacked. */
  folder: string;
  archive: string;
  /** Its files. */
  names: string[];
  remove(): void;
}

/** Packs a checkout without dist, except that the WebAssembly is there, which takes long to compile. */
export function pack(): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-package-'));
  const checkout = join(folder, 'checkout');
  for (const name of run('git', ['ls-files', '--cached', '--others', '--exclude-standard'], root).trim().split('\n'))
    if (!/^(test|study|web)\//.test(name) && existsSync(join(root, name)))
      cpSync(join(root, name), join(checkout, name), { recursive: true });
  const wasm = 'dist/kernels/wasm';
  for (const name of readdirSync(join(root, wasm)).filter((file) => file.endsWith('.wasm')))
    cpSync(join(root, wasm, name), join(checkout, wasm, name), { recursive: true });
  writeFileSync(join(checkout, 'dist/left-over.js'), '');
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));
  const told = run('npm', ['pack', '--json', '--pack-destination', folder], checkout);
  const [{ filename, files }] = JSON.parse(told.slice(told.indexOf('[\n'))); // the build may speak first
  const archive = join(folder, filename);
  run('tar', ['-xzf', archive, '-C', folder], folder);
  return {
    folder,
    archive,
    names: files.map(({ path }: { path: string }) => path),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
