// Writes over stubs in dist/ what pages cannot read from files beside the code once a bundler has moved it: the WebAssembly
// builds and CLIP's merges as compressed text, and gpu.js's browser build, which runs in Node as well, as a module.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url);
const read = (path) => readFileSync(new URL(path, import.meta.url));
function write(path, text) {
  writeFileSync(new URL(path, dist), text);
  rmSync(new URL(`${path}.map`, dist), { force: true });
}

mkdirSync(new URL('kernels/wasm/embedded/', dist), { recursive: true });
const modules = readdirSync(new URL('kernels/wasm/', dist))
  .filter((name) => name.endsWith('.wasm'))
  .map((name) => name.slice(0, -'.wasm'.length));
for (const name of modules) {
  const packed = gzipSync(read(`../dist/kernels/wasm/${name}.wasm`), { level: 9 }).toString('base64');
  write(`kernels/wasm/embedded/${name}.js`, `export const packed = '${packed}';\n`);
}
const entries = modules.map((name) => `  '${name}': () => import('./embedded/${name}.js'),\n`);
write('kernels/wasm/embedded.js', `export const embedded = {\n${entries.join('')}};\n`);

const merges = read('../src/models/cloob/clip-merges.txt.gz').toString('base64');
write('models/cloob/clip-merges.js', `export const packed = '${merges}';\n`);

const gpuJs = readFileSync(createRequire(import.meta.url).resolve('gpu.js/dist/gpu-browser.js'), 'utf8');
write(
  'kernels/gpu/gpujs.js',
  `const module = { exports: {} };\nconst exports = module.exports;\n${gpuJs}\nexport default module.exports;\n`,
);

// What the page of a report is made of. A script must not close the element that it stands in.
const script = (path) =>
  read(path)
    .toString()
    .replaceAll('</script', '<\\/script')
    .replace(/\n?\/\/# sourceMappingURL=.*/, '');
const require = createRequire(import.meta.url);
const uplot = (name) => readFileSync(require.resolve(`uplot/dist/${name}`), 'utf8');
const parts = {
  uplotScript: uplot('uPlot.iife.min.js').replaceAll('</script', '<\\/script'),
  uplotStyle: uplot('uPlot.min.css'),
  chartsScript: script('../dist/report/charts.js'),
  reportStyle: read('../src/report/report.css').toString(),
};
const exported = Object.entries(parts).map(([name, text]) => `export const ${name} = ${JSON.stringify(text)};\n`);
write('report/embedded.js', exported.join(''));
