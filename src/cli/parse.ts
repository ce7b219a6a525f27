/** Values of flags: text in, numbers out. What is no number at all is wrong usage, told as commander tells it. */
import { InvalidArgumentError } from 'commander';
import type { Colour } from '../models/cloob/config.js';
import { colour, colourOf } from '../train/option-kinds.js';

/** "0.5", "1e-3". */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

/** "12", "-3". */
export function parseWhole(text: string): number {
  const value = parseNumber(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

/** "0.8", "80%" or "400". */
export function parseShareOrSteps(text: string): number | `${number}%` {
  return text.endsWith('%') ? `${parseNumber(text.slice(0, -1))}%` : parseNumber(text);
}

/** A whole number ≥ 1, such as a number of pictures. */
export function parseCount(text: string): number {
  const value = parseWhole(text);
  if (value < 1) throw new InvalidArgumentError('It must be at least 1.');
  return value;
}

/** What {@link colourOf} makes of it. */
export function parseColour(text: string): Colour | null {
  const found = colourOf(text);
  if (found === undefined) throw new InvalidArgumentError(`It must be ${colour.range}.`);
  return found;
}
