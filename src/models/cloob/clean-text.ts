/**
 * What happens to a text before it is cut into tokens, as in the official tokenizer: text fixing by the rules of the
 * ftfy package, HTML entities unescaped twice, white space joined, lower case.
 *
 * Deviation: of ftfy's repairs of wrongly decoded text ("â€™" for "’") only the common one is here: lines that are, as a
 * whole, UTF-8 read as Latin-1 or Windows-1252. Lines that mix right and wrong characters, and other encodings, stay.
 * @source ftfy.readthedocs.io, "fix_text" (its default settings); the HTML standard, "character reference state"
 */
import { decodeHTML, decodeHTMLStrict } from 'entities';

/** Bytes 0x80 to 0x9f in Windows-1252; the five it does not define are control characters. Other bytes are Latin-1's. */
const upperRow = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';
export const windows1252: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => upperRow[byte - 0x80] ?? String.fromCharCode(byte),
);
const windows1252Byte = new Map(windows1252.map((char, byte) => [char, byte]));

/** What a numeric character reference stands for; nothing for control characters and non-characters. */
function characterOf(code: number): string {
  if (code === 0 || (code >= 0xd800 && code <= 0xdfff) || !(code <= 0x10ffff)) return '\ufffd';
  if (code >= 0x80 && code <= 0x9f) return windows1252[code]!;
  const control = code < 0x20 && ![0x9, 0xa, 0xc, 0xd].includes(code);
  const nonCharacter = (code & 0xfffe) === 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);
  return control || code === 0x7f || nonCharacter ? '' : String.fromCodePoint(code);
}

function numericReference(reference: string): string {
  const digits = reference.slice(2).replace(';', '');
  return characterOf(/^x/i.test(digits) ? Number.parseInt(digits.slice(1), 16) : Number.parseInt(digits, 10));
}

/** Character references as browsers read them: numbers, names, and old names also without a semicolon. */
function unescapeHtml(text: string): string {
  return text.replace(/&(?:#[0-9]+;?|#x[0-9a-f]+;?|[^\t\n\f <&#;]{1,32};?)/gi, (reference) =>
    reference[1] === '#' ? numericReference(reference) : decodeHTML(reference),
  );
}

/** The stricter unescaping of text fixing: only with a semicolon, but also names written in capitals (`&EACUTE;`). */
function unescapeCertain(text: string): string {
  return text.replace(/&#?[0-9a-z]{1,24};/gi, (reference) => {
    if (/^&#(\d+|x[0-9a-f]+);$/i.test(reference)) return numericReference(reference);
    if (reference[1] === '#') return reference;
    const certain = decodeHTMLStrict(reference);
    if (certain !== reference) return certain;
    const isCapital = reference === reference.toUpperCase() && decodeHTML(reference) === reference;
    const lower = reference.toLowerCase();
    const small = decodeHTMLStrict(lower);
    return isCapital && small !== lower ? small.toUpperCase() : reference;
  });
}

function decodeUtf8(bytes: readonly number[]): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return null; // not UTF-8: the text was decoded rightly
  }
}

/** Text that was UTF-8 and was read as Latin-1 or Windows-1252, as it was meant. */
function repairEncoding(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  const chars = [...text];
  for (const byteOf of [
    (char: string) => (char.charCodeAt(0) < 256 ? char.charCodeAt(0) : undefined),
    (char: string) => windows1252Byte.get(char),
  ]) {
    const bytes = chars.map(byteOf);
    const repaired = bytes.includes(undefined) ? null : decodeUtf8(bytes as number[]);
    if (repaired !== null) return repairEncoding(repaired); // it may have happened twice
  }
  return text;
}

/** Letters that stand for two, for reasons of print or old encodings. */
const ligatures: Readonly<Record<string, string>> = {
  ...{ Ĳ: 'IJ', ĳ: 'ij', ŉ: 'ʼn', Ǳ: 'DZ', ǲ: 'Dz', ǳ: 'dz', Ǆ: 'DŽ', ǅ: 'Dž', ǆ: 'dž', Ǉ: 'LJ', ǈ: 'Lj', ǉ: 'lj' },
  ...{ Ǌ: 'NJ', ǋ: 'Nj', ǌ: 'nj', ﬀ: 'ff', ﬁ: 'fi', ﬂ: 'fl', ﬃ: 'ffi', ﬄ: 'ffl', ﬅ: 'ſt', ﬆ: 'st' },
};
const ligature = new RegExp(`[${Object.keys(ligatures).join('')}]`, 'g');
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const terminalEscape = /\x1b\[[\d;]*[a-zA-Z]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same
const controls = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

function fixCharacters(text: string): string {
  return text
    .replace(/[\x80-\x9f]/g, (control) => windows1252[control.charCodeAt(0)]!)
    .replace(ligature, (letter) => ligatures[letter]!)
    .replace(/[\uff01-\uffef]/g, (wide) => wide.normalize('NFKC'))
    .replace(/\u3000/g, ' ')
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/\r\n|[\r\u2028\u2029\x85]/g, '\n')
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .replace(terminalEscape, '')
    .replace(controls, '')
    .normalize('NFC');
}

/** Ampersands escaped more than once, `&amp;amp;amp;`. */
const escapedAmpersands = /&(?:(?:amp|#0{0,15}38|#x0{0,15}26);){2,}/gi;

/** Repeats the fixes until nothing changes. Escaped ampersands lose all their layers at once, not one a turn. */
function fixLine(line: string, isText: boolean): string {
  for (let text = line; ; ) {
    const unescaped = isText ? unescapeCertain(text.replace(escapedAmpersands, '&amp;')) : text;
    const fixed = fixCharacters(repairEncoding(unescaped));
    if (fixed === text) return text;
    text = fixed;
  }
}

/** Text fixing, line by line; from the first line with a `<` on, text is taken for HTML and entities stay. */
function fixText(text: string): string {
  let isText = true;
  return text.replace(/[^\n]*\n|[^\n]+$/g, (line) => {
    if (line.includes('<')) isText = false;
    return fixLine(line, isText);
  });
}

/** What the tokenizer sees of a text. */
export function cleanText(text: string): string {
  // Printable ASCII without an ampersand has nothing to fix.
  const fixed = /^[\n\x20-\x25\x27-\x7e]*$/.test(text) ? text : unescapeHtml(unescapeHtml(fixText(text)));
  return fixed
    .replace(/\p{White_Space}+/gu, ' ')
    .replace(/^ | $/g, '')
    .toLowerCase();
}
