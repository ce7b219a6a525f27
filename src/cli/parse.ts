/** Values of flags: text in, numbers out. What is no number at all is wrong usage, told as commander tells it. */
import { InvalidArgumentError } from 'commander';

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

const colours: Record<string, [number, number, number]> = { white: [255, 255, 255], black: [0, 0, 0] };

/** "white", "black", "#rrggbb" or "none" as red, green and blue, 0 … 255, or null. */
export function parseColour(text: string): [number, number, number] | null {
  if (text === 'none') return null;
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (hex) return hex.slice(1).map((part) => Number.parseInt(part, 16)) as [number, number, number];
  if (Object.hasOwn(colours, text)) return colours[text]!;
  throw new InvalidArgumentError('It must be white, black, #rrggbb or none.');
}
