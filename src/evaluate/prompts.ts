/** Prompt templates and class names as text: one a line. For `zeroShotClassifier`. */

import { readText } from '../formats/files.js';
import { DataError, printable } from '../tensor/errors.js';

/** Where a class name goes: `{}`, or `{name}` with any word in the braces. */
const place = /\{\w*\}/g;

function linesOf(text: string): string[] {
  const withoutMark = text.replace(/^\uFEFF/, '');
  return withoutMark.split(/\r\n|\n|\r/).map((line) => line.trim());
}

/**
 * Templates from text, one a line, such as `a photo of a {}.` or `a drawing of the {name}`. Lines without text are
 * passed over. Every place for the name is returned as `{}`.
 * @throws DataError that names the line without a place for the class name; or for a text without templates
 */
export function parseTemplates(text: string, source = 'the text'): string[] {
  const templates = linesOf(text).flatMap((line, i) => {
    if (line === '') return [];
    if (line.search(place) < 0)
      throw new DataError('parseTemplates', {
        received: `${JSON.stringify(printable(line))} in line ${i + 1} of ${source}`,
        expected: 'a place for the class name, {} or {name}',
        hint: 'For example: a photo of a {}.',
      });
    return [line.replace(place, '{}')];
  });
  return some('parseTemplates', 'template', templates, source);
}

/**
 * Class names from text, one a line; line i names class i, counted without the lines that hold no text. A name may
 * stand there twice, as in ImageNet's usual list.
 * @throws DataError for a text without names
 */
export function parseClassNames(text: string, source = 'the text'): string[] {
  return some(
    'parseClassNames',
    'class name',
    linesOf(text).filter((line) => line !== ''),
    source,
  );
}

function some(op: string, what: string, lines: string[], source: string): string[] {
  if (lines.length > 0) return lines;
  throw new DataError(op, { received: `no ${what} in ${source}`, expected: `one ${what} a line` });
}

/** Most bytes of a list of names or prompts. */
const mostBytes = 2 ** 26;

/** {@link parseTemplates} of a file. @throws DataError also when it cannot be read */
export function readTemplates(path: string): string[] {
  return parseTemplates(readText('readTemplates', path, mostBytes), path);
}

/** {@link parseClassNames} of a file. @throws DataError also when it cannot be read */
export function readClassNames(path: string): string[] {
  return parseClassNames(readText('readClassNames', path, mostBytes), path);
}
