// The frame of every page.
import { escapeHtml } from './markdown.mjs';

const sections = [
  { id: 'start', title: 'Start', url: 'index.html' },
  { id: 'chapters', title: 'Chapters', url: 'chapters/index.html' },
  { id: 'explorables', title: 'Explorables', url: 'explorables/index.html' },
  { id: 'guides', title: 'Guides', url: 'guides/index.html' },
  { id: 'api', title: 'API', url: 'api/index.html' },
];

/** The way from a page to the root of the site: links are relative, so that the site may lie in any folder. */
export const toRoot = (url) => '../'.repeat(url.split('/').length - 1);

/** Browsers load no modules from files: a page that needs some says so, in a script that is none. */
const asFile = (
  root,
) => `<p class="as-file" id="as-file" hidden>This page was opened as a file. Texts can be read so; searching, and what
computes, needs a server: <code>npm run site:serve</code>, or any other for this folder. <a href="${root}guides/index.html">Guides</a> and
<a href="${root}api/index.html">reference</a> are lists.</p>
<script>document.getElementById('as-file').hidden = location.protocol !== 'file:';</script>
`;

/**
 * @param url of the page, from the root of the site
 * @param sidebar pages beside this one, [{ title, url }]
 * @param scripts and styles: files of assets/ that the page needs
 */
export function layout({
  url,
  title,
  section,
  content,
  sidebar = [],
  scripts = [],
  styles = [],
  head = '',
  search = true,
  wide = false,
}) {
  const root = toRoot(url);
  const here = (to) => (to === url ? ' aria-current="page"' : '');
  const links = sections
    .map((one) => `<a href="${root}${one.url}"${one.id === section ? ' aria-current="true"' : ''}>${one.title}</a>`)
    .join('');
  const beside = sidebar.length
    ? `<nav class="beside" aria-label="In this part"><details open><summary>In this part</summary><ul>${sidebar
        .map((one) => `<li><a href="${root}${one.url}"${here(one.url)}>${escapeHtml(one.title)}</a></li>`)
        .join('')}</ul></details></nav>`
    : '';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}${section === 'start' ? '' : ' · hopgrad'}</title>
<link rel="icon" href="${root}assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="${root}assets/style.css">
${content.includes('class="katex') ? `<link rel="stylesheet" href="${root}assets/katex/katex.min.css">\n` : ''}${styles
  .map((name) => `<link rel="stylesheet" href="${root}assets/${name}">\n`)
  .join(
    '',
  )}${scripts.map((name) => `<script type="module" src="${root}assets/${name}"></script>\n`).join('')}${head}</head>
<body>
<a class="skip" href="#content">To the content</a>
<header class="top">
<a class="name" href="${root}index.html">hopgrad</a>
<nav aria-label="Parts of the site">${links}</nav>
<form action="${root}search.html" role="search"><input type="search" name="q" aria-label="Search this site" placeholder="Search"></form>
</header>
${scripts.length > 0 ? asFile(root) : ''}<div class="page${beside ? ' with-beside' : ''}${wide ? ' wide' : ''}">
${beside}
<main id="content"${search ? ` data-pagefind-body data-pagefind-filter="part:${section}"` : ''}>
${content}
</main>
</div>
<footer>
<a href="${root}developer.html">Developer page</a> · <a href="${root}equations.html">Equations</a> · <a href="${root}licences.html">Licences</a>
</footer>
</body>
</html>
`;
}
