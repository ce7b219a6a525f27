// `npm run site`: builds .build/site, static files that may be put anywhere, in any folder of any server.
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Eleventy } from '@11ty/eleventy';
import { build as bundle } from 'esbuild';
import * as pagefind from 'pagefind';
import { drawings } from '../scripts/drawings.mjs';
import { explorableData, explorableScripts, siteStyle } from '../scripts/explorables.mjs';
import { reference } from './api.mjs';
import { layout } from './layout.mjs';
import { Links, sourceUrl } from './links.mjs';
import { escapeHtml, highlight, markdown } from './markdown.mjs';
import { allPages } from './pages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const at = (...parts) => join(root, ...parts);
const require = createRequire(import.meta.url);
/** Beside the site: what it was made from, and what its build said. */
const stamp = at('.build/site.json');

function write(out, name, text) {
  mkdirSync(dirname(join(out, name)), { recursive: true });
  writeFileSync(join(out, name), text);
}

/** Scripts of the pages, in assets/: all beside one another, so that ../data is the data for every one of them. */
async function scripts(out) {
  const { entryPoints, plugin } = explorableScripts();
  await bundle({
    entryPoints: {
      start: at('web/start/index.js'),
      'start-worker': at('web/start/worker.js'),
      search: at('web/search.js'),
      developer: at('web/developer/index.js'),
      ...entryPoints,
    },
    outdir: join(out, 'assets'),
    entryNames: '[name]',
    chunkNames: 'part-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.svg': 'file', '.png': 'file', '.json': 'json' },
    plugins: [plugin],
    bundle: true,
    splitting: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    external: ['../pagefind/*'],
    logLevel: 'warning',
  });
}

function assets(out) {
  mkdirSync(join(out, 'assets/katex/fonts'), { recursive: true });
  write(out, 'assets/style.css', siteStyle());
  copyFileSync(at('site/icon.svg'), join(out, 'assets/icon.svg'));
  const katex = dirname(require.resolve('katex/dist/katex.min.css'));
  // Every browser that runs hopgrad reads woff2.
  const css = readFileSync(join(katex, 'katex.min.css'), 'utf8').replace(
    /,url\([^)]*\.(woff|ttf)\) format\("\w+"\)/g,
    '',
  );
  write(out, 'assets/katex/katex.min.css', css);
  for (const name of readdirSync(join(katex, 'fonts')))
    if (name.endsWith('.woff2')) copyFileSync(join(katex, 'fonts', name), join(out, 'assets/katex/fonts', name));
}

/** Pages through Eleventy. */
async function pages(out, all, links) {
  const input = at('.build/site-input');
  mkdirSync(input, { recursive: true });
  const byUrl = new Map(all.map((page) => [page.url, page]));
  const configure = (eleventy) => {
    eleventy.setLibrary('md', markdown);
    eleventy.setUseGitIgnore(false);
    eleventy.addTransform('frame', function (content) {
      const page = byUrl.get(this.page.url.replace(/\/$/, '/index.html').slice(1));
      return layout({ ...page, content: links.rewrite(content, page) });
    });
    for (const page of all)
      eleventy.addTemplate(page.url.replace(/html$/, 'md'), page.markdown, { permalink: page.url });
  };
  const eleventy = new Eleventy(input, out, {
    quietMode: true,
    configPath: null,
    config: (settings) => {
      configure(settings);
      settings.setQuietMode(true);
      return { markdownTemplateEngine: false, htmlTemplateEngine: false };
    },
  });
  await eleventy.write();
}

/** Texts of the repository, with lines to link to. */
function sources(out, paths) {
  for (const path of [...paths].sort()) {
    const language = /\.ts$/.test(path) ? 'typescript' : /\.m?js$/.test(path) ? 'javascript' : 'none';
    const lines = highlight(readFileSync(at(path), 'utf8').trimEnd(), language).split('\n');
    // A comment over several lines is one element: closed at the end of each, and opened again.
    let open = [];
    const html = lines.map((line, i) => {
      const start = open.join('');
      for (const [tag] of line.matchAll(/<span[^>]*>|<\/span>/g))
        open = tag === '</span>' ? open.slice(0, -1) : [...open, tag];
      return `<span class="line" id="L${i + 1}">${start}${line}${'</span>'.repeat(open.length)}</span>`;
    });
    const content = `<h1>${escapeHtml(path)}</h1>\n<pre class="source" tabindex="0"><code>${html.join('\n')}</code></pre>`;
    const url = sourceUrl(path);
    write(out, url, layout({ url, title: path, section: 'source', content, search: false, wide: true }));
  }
}

async function searchIndex(out) {
  const { index } = await pagefind.createIndex({ excludeSelectors: ['.katex-html', 'annotation', 'pre.source'] });
  const { errors } = await index.addDirectory({ path: out });
  if (errors.length > 0) throw new Error(errors.join('\n'));
  await index.writeFiles({ outputPath: join(out, 'pagefind') });
  await pagefind.close();
}

/**
 * Builds the site.
 * @returns what the documentation lacks: exports without a docstring, links that lead nowhere
 */
export async function buildSite(out = at('.build/site')) {
  rmSync(stamp, { force: true });
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const scriptsDone = scripts(out);
  const { folder, told } = await reference();
  const all = allPages(root, folder);
  const links = new Links(root, all);
  assets(out);
  await pages(out, all, links);
  await scriptsDone;
  for (const file of links.files) {
    mkdirSync(dirname(join(out, 'files', file)), { recursive: true });
    cpSync(at(file), join(out, 'files', file));
  }
  for (const name of readdirSync(at('src'), { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.ts') && !name.includes('generated')) links.sources.add(`src/${name}`);
  sources(out, links.sources);
  write(out, 'data/drawings.json', JSON.stringify(await drawings(96)));
  await explorableData(out);
  await searchIndex(out);
  return { told, broken: links.broken, pages: all.map(({ url }) => url) };
}

/** Of all that the site is made from; dist/ is made from src/. */
function digest() {
  const hash = createHash('sha256');
  const take = (path) => hash.update(path).update(readFileSync(at(path)));
  for (const folder of ['src', 'docs', 'study', 'web', 'site', 'scripts', 'examples'])
    for (const name of readdirSync(at(folder), { recursive: true, encoding: 'utf8' }).sort())
      if (!/node_modules|generated|public/.test(name) && statSync(at(folder, name)).isFile()) take(`${folder}/${name}`);
  for (const name of readdirSync(root)) if (/\.(md|json)$|^NOTICE$/.test(name)) take(name);
  for (const name of readdirSync(at('bench'))) if (name.endsWith('.md')) take(`bench/${name}`);
  return hash.digest('hex');
}

/** Builds the site unless it is there for these very files. @returns what buildSite does */
export async function siteIfChanged() {
  const now = digest();
  const last = existsSync(stamp) && existsSync(at('.build/site')) ? JSON.parse(readFileSync(stamp, 'utf8')) : null;
  if (last?.digest === now) return last.built;
  const built = await buildSite();
  writeFileSync(stamp, JSON.stringify({ digest: now, built }));
  return built;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const ifChanged = process.argv.includes('--if-changed'); // for the tests, which tell what is wrong themselves
  const { told, broken, pages: built } = await (ifChanged ? siteIfChanged : buildSite)();
  for (const line of [...told, ...broken.map((one) => `no such page or file: ${one}`)]) console.error(line);
  console.log(`${built.length} pages in .build/site`);
  if (broken.length > 0 && !ifChanged) process.exitCode = 1;
}
