/** HTML that cannot be broken by what is put into it: captions, paths and numbers are text, whatever they contain. */
import { escapeUTF8 } from 'entities';

/** A piece of markup, made by {@link html} alone. */
export class Html {
  constructor(readonly markup: string) {}
}

export type Content = Html | string | number | readonly Content[];

/** Control characters, and those that turn the direction of all that follows. */
const invisible = /(?![\t\n])[\p{Cc}\p{Bidi_C}]/gu;

const markupOf = (content: Content): string => {
  if (content instanceof Html) return content.markup;
  if (typeof content === 'object') return content.map(markupOf).join('');
  return escapeUTF8(String(content).replace(invisible, '\ufffd'));
};

/** A template of markup; what stands in ${} is text, unless it is markup itself. */
export const html = (parts: TemplateStringsArray, ...contents: Content[]): Html =>
  new Html(parts.reduce((all, part, i) => `${all}${markupOf(contents[i - 1]!)}${part}`));

/** A value as the text of a `<script type="application/json">`, which nothing in it can close. */
export const json = (value: unknown): Html => new Html(JSON.stringify(value).replaceAll('<', '\\u003c'));

/** A table that scrolls by itself where it is wider than the page. @param numbers columns from which on cells are numbers */
export function table(
  caption: string,
  head: readonly Content[],
  rows: readonly (readonly Content[])[],
  { numbers = 1, marked = () => false }: { numbers?: number; marked?: (row: number) => boolean } = {},
): Html {
  const kind = (column: number) => (column >= numbers ? html` class="number"` : '');
  return html`<div class="wide" tabindex="0" role="region" aria-label="${caption}"><table><caption>${caption}</caption>
<thead><tr>${head.map((cell, i) => html`<th scope="col"${kind(i)}>${cell}</th>`)}</tr></thead>
<tbody>
${rows.map(
  (row, r) =>
    html`<tr${marked(r) ? html` class="differs"` : ''}>${row.map((cell, i) =>
      i === 0 ? html`<th scope="row">${cell}</th>` : html`<td${kind(i)}>${cell}</td>`,
    )}</tr>
`,
)}</tbody></table></div>`;
}

/** "0.1234", "1.2e-5", "–". */
export function shown(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  return String(Number(value.toPrecision(digits)));
}

/** "12.3" of 0.1234. */
export const percent = (share: number | null | undefined) =>
  share === null || share === undefined ? '–' : (100 * share).toFixed(1);
