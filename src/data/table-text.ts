/** The text of a table: its encoding, its lines, and the fields of a line, quoted or not. */
import { createReadStream } from 'node:fs';
import { asDataError, openFile } from '../formats/files.js';
import { windows1252 } from '../models/cloob/clean-text.js';
import { DataError, describeValue } from '../tensor/errors.js';

const op = 'table';

/** Lines longer than this are no rows of a table. */
const longestLine = 2 ** 20;
/** A quoted field may run over so many lines; beyond, its quotation mark counts as forgotten. */
const mostLines = 100;
/** How much of the file the guesses look at. */
const headBytes = 2 ** 20;

/** What a text is made of. In `auto`, lines that are not UTF-8 are read as Windows-1252. */
export interface TextFormat {
  /** `auto`, or a name that TextDecoder knows. */
  encoding: string;
  lineEnd: RegExp;
  quotes: boolean;
}

const isUtf16 = (encoding: string) => /^utf-?16/i.test(encoding);

/** A row of a table, or why it is none. `line` is its first, counted from 1. */
export type TextRow = { line: number; lines: number; guessed: boolean } & ({ fields: string[] } | { bad: string });

/**
 * The fields of a text, by the usual rule: one that begins with a quotation mark ends with one, and holds its own doubled.
 * @returns 'open' when a quoted field does not end, 'broken' when something follows its end
 */
export function splitFields(text: string, separator: string, quotes: boolean): string[] | 'open' | 'broken' {
  if (!quotes || !text.includes('"')) return text.split(separator);
  const fields: string[] = [];
  for (let at = 0; ; at += separator.length) {
    if (text[at] === '"') {
      let end = text.indexOf('"', at + 1);
      while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
      if (end < 0) return 'open';
      fields.push(text.slice(at + 1, end).replaceAll('""', '"'));
      at = end + 1;
      if (at < text.length && !text.startsWith(separator, at)) return 'broken';
    } else {
      const end = text.indexOf(separator, at);
      fields.push(end < 0 ? text.slice(at) : text.slice(at, end));
      at = end < 0 ? text.length : end;
    }
    if (at >= text.length) return fields;
  }
}

/**
 * Whether a text without a declared rule is quoted: every field that begins with a quotation mark is a whole quoted one, and
 * some hold what needs quoting (or all are quoted, the header too). Captions that happen to begin with one are no such text.
 */
export function seemsQuoted(lines: readonly string[], separator: string): boolean {
  let needed = 0;
  for (let i = 0; i < lines.length; i++) {
    if (!lines[i]!.startsWith('"') && !lines[i]!.includes(`${separator}"`)) continue;
    let text = lines[i]!;
    let fields = splitFields(text, separator, true);
    while (fields === 'open' && i + 1 < lines.length && text.length < 2 ** 16)
      fields = splitFields((text += `\n${lines[++i]}`), separator, true);
    if (typeof fields === 'string') return false;
    const allQuoted = i === 0 && text.split(separator).every((field) => /^".*"$/s.test(field));
    if (allQuoted || fields.some((field) => /["\n\r]/.test(field) || field.includes(separator))) needed++;
  }
  return needed > 0;
}

/** Looks at the beginning of a file. @throws DataError when it is unreadable or no text */
export function inspectText(
  path: string,
  separator: string,
  options: { encoding?: string; quotes?: boolean },
): TextFormat {
  const file = openFile(op, path);
  let head: Uint8Array;
  try {
    head = file.read(0, Math.min(file.size, headBytes));
  } finally {
    file.close();
  }
  const mark = (head[0]! << 8) | head[1]!;
  const encoding = mark === 0xfffe ? 'utf-16le' : mark === 0xfeff ? 'utf-16be' : (options.encoding ?? 'auto');
  const text = isUtf16(encoding) ? new TextDecoder(encoding).decode(head) : Buffer.from(head).toString('latin1');
  decoderOf(encoding === 'auto' ? 'utf-8' : encoding); // known?
  const zero = text.indexOf('\0');
  if (zero >= 0)
    throw new DataError(op, {
      received: `${path}: no text (a zero at character ${zero + 1})`,
      expected: 'a table, one row a line',
    });
  const lineEnd = text.includes('\n') ? /\r?\n/ : /\r/;
  const lines = text.split(lineEnd);
  if (lines.length > 1) lines.pop(); // cut off, perhaps
  return { encoding, lineEnd, quotes: options.quotes ?? (separator !== '\t' || seemsQuoted(lines, separator)) };
}

/** What decodes bytes, failing where they are not of the encoding. @throws DataError for a name that nobody knows */
function decoderOf(encoding: string): { decode(bytes: Uint8Array): string } {
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(encoding, { fatal: true });
  } catch {
    throw new DataError(op, {
      received: `the encoding ${describeValue(encoding)}`,
      expected: 'a name such as utf-8, windows-1252, utf-16le, shift_jis or gb18030',
    });
  }
  // Node's own takes this one for Latin-1.
  if (decoder.encoding !== 'windows-1252') return decoder;
  return { decode: (bytes) => Array.from(bytes, (byte) => windows1252[byte]!).join('') };
}

/** Lines as bytes, a character each, so that every line may be decoded on its own. Of UTF-16 they are those of UTF-8. */
async function* byteLines(path: string, { encoding, lineEnd }: TextFormat): AsyncGenerator<string> {
  const utf16 = isUtf16(encoding) ? new TextDecoder(encoding) : null;
  let rest = '';
  let count = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 })) {
    const text = utf16 ? Buffer.from(utf16.decode(chunk as Buffer, { stream: true })) : (chunk as Buffer);
    const lines = (rest + text.toString('latin1')).split(lineEnd);
    rest = lines.pop()!;
    count += lines.length;
    yield* lines;
    if (rest.length > longestLine)
      throw new DataError(op, {
        received: `${path}: more than ${longestLine} bytes in line ${count + 1}`,
        expected: 'a table, one row a line',
      });
  }
  yield rest.replace(/\r$/, '');
}

/** Decodes lines, one by one. */
function lineDecoder(encoding: string): (bytes: string) => { text: string; guessed: boolean } | null {
  const decoder = decoderOf(encoding === 'auto' || isUtf16(encoding) ? 'utf-8' : encoding);
  const other = decoderOf('windows-1252');
  return (line) => {
    if (/^[\0-\x7f]*$/.test(line)) return { text: line, guessed: false };
    const bytes = Buffer.from(line, 'latin1');
    try {
      return { text: decoder.decode(bytes), guessed: false };
    } catch {
      return encoding === 'auto' ? { text: other.decode(bytes), guessed: true } : null;
    }
  };
}

/**
 * The rows of a table, the header first; empty lines are left out. A row that cannot be read is told as a bad one, and the
 * next line begins a new row: no forgotten quotation mark swallows the rows after it.
 * @throws DataError when the file cannot be read
 */
export async function* textRows(path: string, separator: string, format: TextFormat): AsyncGenerator<TextRow> {
  const decode = lineDecoder(format.encoding);
  const source = byteLines(path, format);
  const ahead: string[] = []; // lines that were looked at and not used
  const next = async (at: number): Promise<string | undefined> => {
    while (ahead.length <= at) {
      const { done, value } = await source.next();
      if (done) return undefined;
      ahead.push(value);
    }
    return ahead[at];
  };
  try {
    for (let line = 1, lines = 1; ; line += lines) {
      ahead.splice(0, line === 1 ? 0 : lines);
      lines = 1;
      const raw = await next(0);
      if (raw === undefined) return;
      if (raw === '') continue;
      const first = decode(raw);
      const told = { line, guessed: first?.guessed ?? false };
      if (!first) {
        yield { ...told, lines, bad: `no ${format.encoding}` };
        continue;
      }
      let text = first.text;
      let fields = splitFields(text, separator, format.quotes);
      while (fields === 'open' && lines < mostLines) {
        const more = await next(lines);
        if (more === undefined) break;
        text += `\n${decode(more)?.text ?? '\ufffd'}`;
        lines++;
        fields = splitFields(text, separator, format.quotes);
      }
      if (typeof fields === 'string') lines = 1;
      yield typeof fields === 'string'
        ? { ...told, lines, bad: 'a quotation mark that is not closed, or closed too early' }
        : { ...told, lines, fields };
    }
  } catch (error) {
    throw asDataError(op, path, error);
  }
}

/**
 * The lines of a text in UTF-8, or UTF-16 with a byte order mark; null for one that is not. Empty ones are left out.
 * @throws DataError when the file cannot be read, or is no text
 */
export async function* textLines(path: string): AsyncGenerator<{ line: number; text: string | null }> {
  const format = inspectText(path, '\t', { encoding: 'utf-8', quotes: false });
  const decode = lineDecoder(format.encoding);
  let line = 0;
  try {
    for await (const raw of byteLines(path, format)) {
      line++;
      if (raw !== '') yield { line, text: decode(raw)?.text.replace(/^\ufeff/, '') ?? null };
    }
  } catch (error) {
    throw asDataError(op, path, error);
  }
}
