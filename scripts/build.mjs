// Builds dist/: the WebAssembly kernels, the TypeScript, what stands in modules instead of files, the kernels' texts,
// one file for pages.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const run = (script, ...args) => execFileSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });

if (process.argv.includes('--fresh')) {
  // Nothing of sources that have gone; the WebAssembly builds are made again when theirs are newer.
  const old = existsSync(join(root, 'dist')) ? readdirSync(join(root, 'dist'), { recursive: true }) : [];
  for (const name of old) if (/\.(js|map|ts|gz)$/.test(name)) rmSync(join(root, 'dist', name));
}
if (existsSync(join(root, 'scripts/build-wasm.mjs'))) run(join(root, 'scripts/build-wasm.mjs'));
run(join(dirname(require.resolve('typescript/package.json')), 'bin/tsc'), '-p', root);
run(join(root, 'scripts/build-embedded.mjs'));
run(join(root, 'scripts/build-descriptions.mjs'));
run(join(root, 'scripts/build-texts.mjs'));
run(join(root, 'scripts/build-single-file.mjs'));
