/** What a line of the table of options is made of, and the kinds of values. */
import { type Colour, configs } from '../models/cloob/config.js';

/** What values an option may have, and how text becomes one of them. */
export interface Kind {
  type: 'number' | 'whole' | 'share or steps' | 'switch' | 'choice' | 'text';
  /** In words, after "expected". */
  range: string;
  choices?: readonly string[];
  ok(value: unknown): boolean;
}

/** One line of the table. */
export interface Option {
  group: 'Objective' | 'Model and optimisation' | 'Run' | 'Data';
  kind: Kind;
  /** What stands for the value in --help. */
  mark?: string;
  help: string;
  /** What null means; without it null is no value. */
  whenNull?: string;
}

const number = (range: string, ok: (value: number) => boolean): Kind => ({
  type: 'number',
  range,
  ok: (value) => typeof value === 'number' && Number.isFinite(value) && ok(value),
});
export const positive = number('a positive number', (value) => value > 0);
export const notNegative = number('a number ≥ 0', (value) => value >= 0);
export const decay = number('a number in [0, 1)', (value) => value >= 0 && value < 1);
export const unit = number('a number in (0, 1]', (value) => value > 0 && value <= 1);
export const share = number('a share, 0 … 1', (value) => value >= 0 && value <= 1);
/** @param most far beyond sense, so that a damaged or hostile record is refused before anything is built */
export const whole = (least: number, most = 1e9): Kind => ({
  type: 'whole',
  range: `a whole number ≥ ${least}`,
  ok: (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
});
export const onOff: Kind = { type: 'switch', range: 'true or false', ok: (value) => typeof value === 'boolean' };
export const choice = (choices: readonly string[]): Kind => ({
  type: 'choice',
  range: choices.join(', '),
  choices,
  ok: (value) => choices.includes(value as string),
});
export const modelNames = Object.keys(configs);
export const model: Kind = {
  type: 'text',
  range: `one of ${modelNames.join(', ')}, a configuration (.json), pretrained, or heads`,
  ok: (value) =>
    typeof value === 'string' &&
    (modelNames.includes(value) || value.endsWith('.json') || ['pretrained', 'heads'].includes(value)),
};
export const folder: Kind = {
  type: 'text',
  range: 'a folder',
  ok: (value) => typeof value === 'string' && value !== '',
};
export const weights: Kind = {
  type: 'text',
  range: 'a file or folder of weights, or an address',
  ok: (value) => typeof value === 'string' && value !== '',
};

const colours: Record<string, Colour> = { white: [255, 255, 255], black: [0, 0, 0] };

/** "white", "black", "#rrggbb" or "none" as red, green and blue, 0 … 255, or null; undefined for another text. */
export function colourOf(text: string): Colour | null | undefined {
  if (text === 'none') return null;
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  if (hex) return hex.slice(1).map((part) => Number.parseInt(part, 16)) as [number, number, number];
  return Object.hasOwn(colours, text) ? colours[text] : undefined;
}
export const colour: Kind = {
  type: 'text',
  range: 'white, black, #rrggbb or none',
  ok: (value) => typeof value === 'string' && colourOf(value) !== undefined,
};

export const percent = (text: string) => Number(text.slice(0, -1)) / 100;
export const shareOrSteps: Kind = {
  type: 'share or steps',
  range: 'a share of the training (below 1, or up to 100%), or a whole number of steps',
  ok: (value) =>
    typeof value === 'string'
      ? /^[\d.]+%$/.test(value) && percent(value) <= 1
      : typeof value === 'number' && value >= 0 && (value < 1 || Number.isSafeInteger(value)),
};
