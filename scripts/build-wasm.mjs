// Compiles src/kernels/wasm/assembly to dist/kernels/wasm/hopgrad.wasm, unless that is newer than every source.
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sources = join(root, 'src/kernels/wasm/assembly');
const output = join(root, 'dist/kernels/wasm/hopgrad.wasm');

const time = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const newest = Math.max(...readdirSync(sources).map((name) => time(join(sources, name))));
if (time(output) > newest) process.exit(0);

mkdirSync(dirname(output), { recursive: true });
const flags = ['-O3', '--noAssert', '--runtime', 'stub', '--use', 'abort=', '--enable', 'simd'];
const memory = ['--importMemory', '--noExportMemory', '--initialMemory', '1', '--maximumMemory', '65536'];
const { error } = await asc.main([join(sources, 'index.ts'), '--outFile', output, ...flags, ...memory], {
  stdout: process.stdout,
  stderr: process.stderr,
});
if (error) {
  console.error(`build-wasm: ${error.message}`);
  process.exit(1);
}
