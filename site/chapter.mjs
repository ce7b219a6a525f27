// A chapter's text with what its program found: study/README.md lists the placeholders.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { escapeHtml, highlight } from './markdown.mjs';

/** The function or constant of that name, with the comment above it, and its first and last line. */
export function declaration(source, name) {
  const lines = source.split('\n');
  const at = lines.findIndex((line) =>
    new RegExp(`^(export )?(async )?(function|const|class|interface|type) ${name}\\b`).test(line),
  );
  if (at < 0) return undefined;
  // Formatted code: what belongs to a declaration is indented, but for lines that close a bracket; the last opens none.
  let end = at;
  do {
    if (end > at) end++;
    while (/^\s/.test(lines[end + 1]) || (lines[end + 1] === '' && /^\s/.test(lines[end + 2] ?? ''))) end++;
  } while (/^[\])}].*[{([]$/.test(lines[end + 1]));
  if (/^[\])}]/.test(lines[end + 1])) end++;
  let start = at;
  if (lines[at - 1]?.endsWith('*/')) while (!lines[--start].startsWith('/**'));
  return { first: at + 1, start: start + 1, text: lines.slice(start, end + 1).join('\n') };
}

/** A table whose columns of words, which programs write as those of numbers, begin at the left. */
function wordsLeft(table) {
  const [head, rule, ...rows] = table.split('\n').map((line) => line.split('|'));
  const isWords = (column) => rows.filter((cells) => /[a-z]{3}/.test(cells[column] ?? '')).length > rows.length / 2;
  const aligned = rule.map((cell, column) => (isWords(column) ? cell.replace(/-:/, '--') : cell));
  return [head, aligned, ...rows].map((cells) => cells.join('|')).join('\n');
}

/** @returns Markdown. @throws Error for a placeholder that names nothing */
export function chapterText(study, name, apiUrl) {
  const results = JSON.parse(readFileSync(join(study, `results/${name}.json`), 'utf8'));
  const source = readFileSync(join(study, `${name}.ts`), 'utf8');
  const fail = (what) => {
    throw new Error(`study/${name}.md: ${what}`);
  };
  const part = (kind, id) =>
    results.parts.find((one) => one.kind === kind && one.id === id) ?? fail(`the run has no ${kind} ${id}`);
  const fill = {
    number: (id) => results.numbers[id] ?? fail(`the run has no number ${id}`),
    claim: (id) => part('claim', id).text,
    claims: () =>
      results.parts
        .filter(({ kind }) => kind === 'claim')
        .map(({ text }) => `- ${text}`)
        .join('\n'),
    table: (id) => `${part('table', id).caption}\n\n${wordsLeft(part('table', id).table)}\n`,
    figure: (id) => {
      const { file, alt } = part('figure', id);
      const image = `<img src="repository:study/figures/${file}" alt="${escapeHtml(alt)}" width="640">`;
      return `<figure>${image}<figcaption>${escapeHtml(alt)}</figcaption></figure>\n`;
    },
    code: (id) => {
      const found = declaration(source, id) ?? fail(`${name}.ts declares no ${id}`);
      const link = `<a href="repository:study/${name}.ts#L${found.first}">study/${name}.ts, line ${found.first}</a>`;
      return `<div class="code"><p>${link}</p><pre><code>${highlight(found.text, 'typescript')}</code></pre></div>\n`;
    },
    answer: () => '<details class="answer"><summary>Answer</summary>\n',
    end: () => '\n</details>',
    api: (id) => `<a href="${apiUrl(id) ?? fail(`there is no export ${id}`)}"><code>${id}</code></a>`,
  };
  const text = readFileSync(join(study, `${name}.md`), 'utf8');
  const filled = text.replace(/\{\{(\w+)(?: ([\w.-]+))?\}\}/g, (all, kind, id) => {
    if (!fill[kind]) fail(`unknown placeholder ${all}`);
    return fill[kind](id);
  });
  return { title: results.title, markdown: `# ${results.title}\n\n${filled}` };
}
