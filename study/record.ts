/** What a chapter finds: claims, tables, numbers and figures, kept for its text (NAME.md) and for RESULTS.md. */
import { type Drawing, draw } from './figure.js';

/** One piece of a chapter's results, in the order in which the chapter found them. */
export type Part =
  | { kind: 'text'; text: string }
  | { kind: 'claim'; id: string; text: string }
  | { kind: 'table'; id: string; caption: string; table: string }
  | { kind: 'figure'; id: string; file: string; alt: string };

/** study/results/NAME.json. */
export interface Results {
  title: string;
  parts: Part[];
  /** What the text quotes, as it is printed. */
  numbers: Record<string, string>;
}

export interface Chapter {
  /** Of the files NAME.ts, NAME.md, results/NAME.json and figures/NAME/….svg. */
  name: string;
  title: string;
  /** @throws Error when a claim does not hold */
  run(found: Findings): Promise<void>;
  /** What must have been done before it can run, as commands; undefined where it has been. Default: nothing. */
  missing?(): string | undefined;
}

export class Findings {
  readonly results: Results;
  /** SVG texts by file name, NAME/ID.svg. */
  readonly figures = new Map<string, string>();

  constructor(private readonly chapter: Chapter) {
    this.results = { title: chapter.title, parts: [], numbers: {} };
  }

  /** A paragraph of RESULTS.md. */
  say(text: string): void {
    this.results.parts.push({ kind: 'text', text });
  }

  /**
   * An identity or a law that was computed. In the text: `{{claim id}}`.
   * @throws Error unless error ≤ bound: a chapter whose claim fails must not print a table
   */
  claim(id: string, what: string, error: number, bound: number): void {
    if (!(error <= bound)) throw new Error(`${this.chapter.name}: ${what}: ${error} is more than ${bound}`);
    const text = `${what}: largest error ${error.toExponential(1)} (bound ${bound.toExponential(0)})`;
    this.add({ kind: 'claim', id, text });
  }

  /** In the text: `{{table id}}`. Numbers get four significant digits, strings stay. */
  table(id: string, caption: string, header: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
    this.add({ kind: 'table', id, caption, table: table(header, rows) });
  }

  /** A number that the text quotes as `{{number id}}`. */
  number(id: string, value: number | string): void {
    if (id in this.results.numbers) throw new Error(`${this.chapter.name}: two numbers are called ${id}`);
    this.results.numbers[id] = typeof value === 'number' ? short(value) : value;
  }

  /** A drawing by Observable Plot. In the text: `{{figure id}}`. `alt` says what it shows to those who do not see it. */
  figure(id: string, alt: string, drawing: Drawing): void {
    const file = `${this.chapter.name}/${id}.svg`;
    this.figures.set(file, draw(drawing, alt));
    this.add({ kind: 'figure', id, file, alt });
  }

  private add(part: Exclude<Part, { kind: 'text' }>): void {
    const { parts } = this.results;
    if (parts.some((other) => other.kind === part.kind && other.id === part.id))
      throw new Error(`${this.chapter.name}: two of kind ${part.kind} are called ${part.id}`);
    parts.push(part);
  }
}

/** Four significant digits, without the noise of zeros. */
export function short(x: number): string {
  if (x === 0) return '0';
  return Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5 ? x.toExponential(1) : String(Number(x.toPrecision(4)));
}

/** A Markdown table in even columns. */
function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const text = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? short(cell) : cell)));
  const widths = header.map((_, column) => Math.max(3, ...[header, ...text].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padStart(widths[i]!)).join(' | ')} |`;
  return [line(header), `| ${widths.map((w) => `${'-'.repeat(w - 1)}:`).join(' | ')} |`, ...text.map(line)].join('\n');
}

/** A chapter's results as a section of RESULTS.md. */
export function section(number: number, { title, parts }: Results): string {
  const text = (part: Part): string => {
    if (part.kind === 'text') return part.text;
    if (part.kind === 'claim') return `- ${part.text}`;
    if (part.kind === 'table') return `${part.caption}\n\n${part.table}`;
    return `![${part.alt}](figures/${part.file})`;
  };
  const body = parts.map((part, i) => {
    const together = part.kind === 'claim' && parts[i - 1]?.kind === 'claim';
    return `${together ? '\n' : '\n\n'}${text(part)}`;
  });
  return `\n## ${number}. ${title}${body.join('')}\n`;
}
