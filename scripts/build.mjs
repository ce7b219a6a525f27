// Builds dist/: the WebAssembly kernels, the TypeScript, the kernels' texts, the vocabulary.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const run = (script, ...args) => execFileSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });

if (existsSync(join(root, 'scripts/build-wasm.mjs'))) run(join(root, 'scripts/build-wasm.mjs'));
run(join(dirname(require.resolve('typescript/package.json')), 'bin/tsc'), '-p', root);
run(join(root, 'scripts/build-texts.mjs'));
cpSync(join(root, 'src/models/cloob/clip-merges.txt.gz'), join(root, 'dist/models/cloob/clip-merges.txt.gz'));
