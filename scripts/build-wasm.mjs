// Compiles src/kernels/wasm/assembly to dist/kernels/wasm/hopgrad*.wasm, unless those are newer than every source.
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeCalls } from './wasm-calls.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const sources = join(root, 'src/kernels/wasm/assembly');
const folder = join(root, 'dist/kernels/wasm');

writeCalls(join(root, 'src/kernels/wasm'));

// Threads need a shared memory, which browsers give to isolated pages only; relaxed SIMD is newer than the rest.
const shared = ['--enable', 'threads', '--sharedMemory'];
const relaxed = ['--enable', 'relaxed-simd'];
const builds = { '': shared, '-relaxed': [...shared, ...relaxed], '-single': [], '-single-relaxed': relaxed };

const time = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const newest = Math.max(
  time(fileURLToPath(import.meta.url)),
  ...readdirSync(sources).map((name) => time(join(sources, name))),
);
mkdirSync(folder, { recursive: true });
// Addresses below memoryBase hold the job description, see pool.ts.
// --debug keeps the functions' names, for profiles. 235: of what generated.ts exports, one function is generic.
const common = [
  '--disableWarning',
  '235',
  '-O3',
  '--debug',
  '--noAssert',
  '--runtime',
  'stub',
  '--use',
  'abort=',
  '--enable',
  'simd',
  '--memoryBase',
  '8192',
];
const memory = ['--importMemory', '--noExportMemory', '--initialMemory', '1', '--maximumMemory', '65536'];
for (const [suffix, features] of Object.entries(builds)) {
  const output = join(folder, `hopgrad${suffix}.wasm`);
  if (time(output) > newest) continue;
  const { default: asc } = await import('assemblyscript/asc'); // here: loading the compiler takes a second
  const { error } = await asc.main(
    [join(sources, 'index.ts'), '--outFile', output, ...common, ...memory, ...features],
    { stdout: process.stdout, stderr: process.stderr },
  );
  if (error) {
    console.error(`build-wasm: ${error.message}`);
    process.exit(1);
  }
}
