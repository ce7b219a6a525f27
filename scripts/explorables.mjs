// The scripts of the explorables, for the site and for pages of their own: `node scripts/explorables.mjs` builds
// .build/explorables, plain pages to work on them without the rest of the site, and serves them (PORT).
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { packDrawings } from './pack-drawings.mjs';
import { listen } from './web-server.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'web/explorables');
const has = (name, file) => existsSync(join(folder, name, file));

/** In which they are best read; others come after. */
const order = ['retrieval', 'saturation', 'world', 'training', 'gradients'];

/** Folders of web/explorables that are pages, in order. */
export const explorables = () =>
  [...new Set([...order, ...readdirSync(folder)])].filter((name) => has(name, 'index.ts'));

/** What esbuild is to make for them: explorable-NAME mounts one, NAME-worker is the worker of one that has one. */
export function explorableScripts() {
  const names = explorables();
  const workers = names.filter((name) => has(name, 'worker.ts'));
  return {
    entryPoints: {
      ...Object.fromEntries(names.map((name) => [`explorable-${name}`, `explorable:${name}`])),
      ...Object.fromEntries(workers.map((name) => [`${name}-worker`, join(folder, name, 'worker.ts')])),
    },
    plugin: {
      name: 'explorables',
      setup(bundle) {
        bundle.onResolve({ filter: /^explorable:/ }, ({ path }) => ({ path: path.slice(11), namespace: 'explorable' }));
        bundle.onLoad({ filter: /.*/, namespace: 'explorable' }, ({ path }) => ({
          contents: `import { mount } from './index.ts'; mount(document.getElementById('explorable'));`,
          resolveDir: join(folder, path),
        }));
      },
    },
  };
}

/** The style sheet of the site. */
export const siteStyle = () =>
  ['frame', 'text'].map((name) => readFileSync(join(root, `site/style/${name}.css`), 'utf8')).join('');

/** The data of the explorables, beside those of the site. */
export const explorableData = (out) => packDrawings(join(out, 'data/drawings.bin'));

/** A page for one explorable: the words of its page.md as they are written. */
function page(name) {
  const words = readFileSync(join(folder, name, 'page.md'), 'utf8').replace(
    /[&<]/g,
    (sign) => `&#${sign.charCodeAt()};`,
  );
  const place = '<main id="explorable"></main>';
  const [before, after = ''] = words.split('{{explorable}}');
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="assets/style.css">
<link rel="stylesheet" href="assets/explorable-${name}.css"><script type="module" src="assets/explorable-${name}.js"></script>
<body class="page" style="max-width: 62rem"><h1>${name}</h1><div style="white-space: pre-wrap">${before}</div>${place}<div style="white-space: pre-wrap">${after}</div>
`;
}

/** Builds the plain pages. @returns their folder */
export async function buildExplorables(out = join(root, '.build/explorables')) {
  mkdirSync(join(out, 'assets'), { recursive: true });
  const { entryPoints, plugin } = explorableScripts();
  const made = build({
    entryPoints,
    plugins: [plugin],
    ...{ outdir: join(out, 'assets'), entryNames: '[name]', chunkNames: 'part-[hash]' },
    ...{ bundle: true, splitting: true, minify: true, sourcemap: true },
    ...{ format: 'esm', platform: 'browser', target: 'es2022', logLevel: 'warning' },
  });
  writeFileSync(join(out, 'assets/style.css'), siteStyle());
  for (const name of explorables()) writeFileSync(join(out, `${name}.html`), page(name));
  if (!existsSync(join(out, 'data/drawings.bin'))) await explorableData(out);
  await made;
  return out;
}

/** Serves the plain pages. @returns the address and a function that stops the server */
export const serveExplorables = (out, { port = 0 } = {}) => listen({ port, fileOf: (path) => join(out, path) });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serveExplorables(await buildExplorables(), { port: Number(process.env.PORT ?? 8090) });
  console.log(
    explorables()
      .map((name) => `${url}${name}.html`)
      .join('\n'),
  );
}
