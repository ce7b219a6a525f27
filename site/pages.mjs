// All pages of the site but the sources: what each is made from, where it lies, what stands beside it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, posix } from 'node:path';
import { explorables } from '../scripts/explorables.mjs';
import { chapterText } from './chapter.mjs';
import { equationsPage } from './equations.mjs';

/** Guides in the order in which they are read; a page of docs/ that is not listed comes last. */
const guides = [
  ['README.md', 'Overview'],
  'docs/tour.md',
  'docs/pitfalls.md',
  'docs/training.md',
  'docs/data.md',
  'docs/evaluation.md',
  'docs/report.md',
  'docs/experiments.md',
  'docs/search.md',
  'docs/run-folder.md',
  'docs/weights.md',
  'docs/onnx.md',
  'docs/bundlers.md',
  'docs/own-kernel.md',
  'docs/scale.md',
  'docs/fuzzing.md',
  'docs/limits.md',
  'docs/ops.md',
  'docs/coverage.md',
  'ARCHITECTURE.md',
  'bench/RESULTS.md',
  'bench/RESULTS-gpu.md',
  'study/README.md',
  'study/RESULTS.md',
  'CHANGELOG.md',
];

const titleOf = (text, otherwise) => /^# (.+)$/m.exec(text)?.[1].replaceAll('`', '') ?? otherwise;

function guidePages(root) {
  const listed = guides.map((guide) => (Array.isArray(guide) ? guide : [guide]));
  const more = readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md') && !listed.some(([source]) => source === `docs/${name}`))
    .map((name) => [`docs/${name}`]);
  return [...listed, ...more]
    .filter(([source]) => existsSync(join(root, source)))
    .map(([source, named]) => {
      const markdown = readFileSync(join(root, source), 'utf8');
      const folder = posix.dirname(source).replace('docs', '').replace('.', '');
      const name = [folder, basename(source, '.md').toLowerCase()].filter(Boolean).join('-');
      return {
        url: `guides/${name}.html`,
        title: named ?? titleOf(markdown, name),
        section: 'guides',
        source,
        markdown,
      };
    });
}

function chapterPages(root, apiUrl) {
  const study = join(root, 'study');
  const names = JSON.parse(readFileSync(join(study, 'results/index.json'), 'utf8'));
  return names.map((name, i) => {
    const { title, markdown } = chapterText(study, name, (id) => {
      const url = apiUrl(id);
      return url && `../${url}`;
    });
    const numbered = `${i + 1}. ${title}`;
    return { url: `chapters/${name}.html`, title: numbered, section: 'chapters', source: `study/${name}.md`, markdown };
  });
}

/** Explorables: web/explorables/NAME/index.ts, which exports mount(element), and page.md with a title and words. */
function explorablePages(root) {
  const folder = join(root, 'web/explorables');
  return explorables().map((name) => {
    const file = join(folder, name, 'page.md');
    const text = existsSync(file) ? readFileSync(file, 'utf8') : `# ${name}\n`;
    const place = '<div class="explorable" id="explorable"></div>';
    const markdown = text.includes('{{explorable}}')
      ? text.replace('{{explorable}}', `\n${place}\n`)
      : `${text}\n\n${place}\n`;
    return {
      url: `explorables/${name}.html`,
      title: titleOf(text, name),
      section: 'explorables',
      source: `web/explorables/${name}/page.md`,
      markdown,
      scripts: [`explorable-${name}.js`],
      styles: [`explorable-${name}.css`],
      wide: true,
    };
  });
}

function apiPages(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md'));
  return files.map((name) => {
    const markdown = readFileSync(join(folder, name), 'utf8');
    const title =
      name === 'index.md' ? 'All modules' : titleOf(markdown, name).replace(/\\(.)/g, '$1').replace('()', '');
    return { url: `api/${name.replace(/\.md$/, '.html')}`, title, section: 'api', source: `api:${name}`, markdown };
  });
}

/** The first sentence under a page's title, links as words; none where the page begins otherwise. */
function firstSentence(markdown) {
  const blocks = markdown.split(/\n{2,}/);
  const paragraph = blocks[blocks.findIndex((block) => block.startsWith('# ')) + 1]?.replaceAll('\n', ' ') ?? '';
  const [sentence = ''] = /^[A-Z`].*?[.:](?=\s|$)/.exec(paragraph) ?? [];
  return sentence.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/:$/, '.');
}

/** Links to pages, each with what it is about if its text begins so. */
function list(pages, words) {
  const items = pages.map(({ title, url, markdown }) => {
    const about = firstSentence(markdown);
    return `- [${title}](${posix.basename(url)})${about && `\\\n  ${about}`}`;
  });
  return `${words}\n\n${items.join('\n')}\n`;
}

/**
 * @param root of the repository
 * @param api folder of the reference as Markdown
 * @returns [{ url, title, section, source, markdown, sidebar?, scripts?, styles? }]
 */
export function allPages(root, api) {
  const reference = apiPages(api);
  const named = new Map(reference.map(({ url }) => [basename(url, '.html'), url]));
  const apiUrl = (name) => named.get(name);
  const chapters = chapterPages(root, apiUrl);
  const explorables = explorablePages(root);
  const guideList = guidePages(root);
  const fixed = readdirSync(join(root, 'site/pages')).map((name) => {
    const text = readFileSync(join(root, 'site/pages', name), 'utf8');
    const { head, body } = /^(?<head>\{[\s\S]*?\n\})\n(?<body>[\s\S]*)$/.exec(text).groups;
    const url = name.replace(/\.md$/, '.html');
    return { url, section: '', source: `site/pages/${name}`, ...JSON.parse(head), markdown: body };
  });
  const indexes = [
    {
      url: 'chapters/index.html',
      title: 'Chapters',
      section: 'chapters',
      markdown: list(
        chapters,
        '# Chapters\n\nThe mathematics of CLOOB as programs that measure it. Every number, table and figure of these pages was written by the program whose code stands beside it (`npm run study`).',
      ),
    },
    {
      url: 'explorables/index.html',
      title: 'Explorables',
      section: 'explorables',
      markdown: list(explorables, '# Explorables\n\nPages to try things on. Each keeps its state in the address.'),
    },
    {
      url: 'guides/index.html',
      title: 'Guides',
      section: 'guides',
      markdown: list(
        guideList.map((page) => ({ ...page, markdown: '' })),
        '# Guides\n\nHow to use hopgrad, and how it is made.',
      ),
    },
  ].map((page) => ({ ...page, source: `site/${page.url}` }));
  const beside = {
    chapters: [...chapters, { title: 'Equations', url: 'equations.html' }],
    explorables,
    guides: guideList,
    api: reference.filter(({ url }) => /(^api|\/)index\.html$/.test(url) && !url.includes('namespaces')),
  };
  const equations = equationsPage(root, apiUrl, chapters);
  return [...fixed, ...indexes, equations, ...chapters, ...explorables, ...guideList, ...reference].map((page) => ({
    ...page,
    sidebar: beside[page.section] ?? [],
  }));
}
