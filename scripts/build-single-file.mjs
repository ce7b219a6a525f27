// Writes dist/hopgrad.js: hopgrad in one file for `<script type="module">`, with nothing beside it to be found or served.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const modules = { nn: 'nn/index', cloob: 'models/cloob/index', data: 'data/page' };
const named = Object.entries(modules).map(([name, path]) => `export * as ${name} from './${path}.js';`);
await build({
  stdin: {
    contents: ["export * from './index.js';", ...named].join('\n'),
    resolveDir: fileURLToPath(new URL('../dist/', import.meta.url)),
  },
  outfile: fileURLToPath(new URL('../dist/hopgrad.js', import.meta.url)),
  ...{ bundle: true, minify: true, format: 'esm', platform: 'browser', logLevel: 'warning', allowOverwrite: true },
});
