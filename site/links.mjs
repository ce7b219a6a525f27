// Links between files of the repository become links between pages; whatever leads nowhere is collected.
import { existsSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { toRoot } from './layout.mjs';

/** Files of the repository that get a page of their text. */
const shown = /\.(ts|js|mjs|json|py|txt|css|html|yml)$|^LICENSE$|^NOTICE$/;
export const sourceUrl = (path) => `source/${path}.html`;

export class Links {
  /** Where a link led nowhere, one line each. */
  broken = [];
  /** Files of the repository that pages link to as texts. */
  sources = new Set();
  /** Files of the repository that pages show, as pictures. */
  files = new Set();

  /** @param pages all of the site, with url and source */
  constructor(root, pages) {
    this.root = root;
    this.bySource = new Map(pages.map(({ url, source }) => [source, url]));
    this.urls = new Set(pages.map(({ url }) => url));
  }

  /** The links of a page's HTML, as they must be where it lies. */
  rewrite(html, { url, source }) {
    // Code that is wider than the page scrolls, by keys as well.
    return html.replaceAll('<pre>', '<pre tabindex="0">').replace(/ (href|src)="([^"]*)"/g, (all, attribute, link) => {
      const target = this.target(link, url, source);
      return target === undefined ? all : ` ${attribute}="${target}"`;
    });
  }

  target(link, url, source) {
    if (link === '' || link.startsWith('#') || /^(https?|mailto|data):/.test(link)) return undefined;
    const [path, anchor] = link.split('#');
    const hash = anchor === undefined ? '' : `#${anchor}`;
    const file = path.startsWith('repository:')
      ? path.slice('repository:'.length)
      : source.startsWith('api:')
        ? `api:${posix.join(posix.dirname(source.slice(4)), path)}`
        : posix.join(posix.dirname(source), path);
    const to = (page) => `${toRoot(url)}${page}${hash}`;
    if (this.bySource.has(file)) return to(this.bySource.get(file));
    if (this.urls.has(posix.join(posix.dirname(url), path))) return undefined; // a page of the site by its address
    const exists = existsSync(join(this.root, file)) && statSync(join(this.root, file)).isFile();
    if (exists && shown.test(file)) {
      this.sources.add(file);
      return to(sourceUrl(file));
    }
    if (exists) {
      this.files.add(file);
      return to(`files/${file}`);
    }
    this.broken.push(`${source}: ${link}`);
    return undefined;
  }
}
