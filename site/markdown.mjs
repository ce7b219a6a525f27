// Markdown as the site writes it: KaTeX, anchors as GitHub makes them, code in colours.
import { katex } from '@mdit/plugin-katex';
import hljs from 'highlight.js/lib/core';
import shell from 'highlight.js/lib/languages/bash';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import MarkdownIt from 'markdown-it';
import anchor from 'markdown-it-anchor';

for (const [name, language] of Object.entries({ javascript, json, python, shell, typescript, xml, yaml }))
  hljs.registerLanguage(name, language);
hljs.registerAliases(['bash', 'sh', 'console'], { languageName: 'shell' });

export const escapeHtml = (text) =>
  text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign]);

/** Code as HTML, coloured where its language is known. */
export function highlight(code, language) {
  return hljs.getLanguage(language) ? hljs.highlight(code, { language }).value : escapeHtml(code);
}

const slugify = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
    .replaceAll(' ', '-');

export const markdown = new MarkdownIt({ html: true, linkify: false, highlight })
  .use(anchor, { slugify, permalink: anchor.permalink.headerLink({ safariReaderFix: true }), level: [2, 3, 4] })
  .use(katex, { throwOnError: true, strict: (code) => (code === 'unicodeTextInMathMode' ? 'ignore' : 'error') });

// Tables scroll in a frame of their own: a page never scrolls sideways.
markdown.renderer.rules.table_open = () => '<div class="table" tabindex="0" role="region" aria-label="table"><table>\n';
markdown.renderer.rules.table_close = () => '</table></div>\n';

// Short code is not broken at its hyphens: a flag without its name is another.
const inline = markdown.renderer.rules.code_inline;
markdown.renderer.rules.code_inline = (tokens, i, ...rest) => {
  if (tokens[i].content.length <= 24) tokens[i].attrJoin('class', 'short');
  return inline(tokens, i, ...rest);
};
