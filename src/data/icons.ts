/**
 * Icons of many hands with names made of plain words: a larger corpus than the embedded emoji. A concept is a name without what tells variants
 * apart; a drawing is a concept in one set. Sets are packages of Iconify, installed by `hopgrad data icons`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from '../formats/files.js';
import { DataError } from '../tensor/errors.js';
import type { Concept, Drawing } from './emoji.js';
import { type IconSet, renderIcon } from './iconify.js';

/** A set that may be used and passed on, with its licence as it must be. */
export interface IconSource {
  set: string;
  version: string;
  licence: string;
  /** Whom to name. */
  by: string;
  /** `test`: never trained on; `validation`: not trained on while options are chosen. */
  held?: 'test' | 'validation';
}

/** The order says which of two drawings that are nearly equal is kept. Never to be trained on: streamline-emojis. */
export const iconSources: readonly IconSource[] = [
  { set: 'mdi', version: '1.2.3', licence: 'Apache-2.0', by: 'Pictogrammers' },
  { set: 'material-symbols', version: '1.2.98', licence: 'Apache-2.0', by: 'Google' },
  { set: 'ic', version: '1.2.4', licence: 'Apache-2.0', by: 'Material Design Authors' },
  { set: 'fluent', version: '1.2.60', licence: 'MIT', by: 'Microsoft Corporation' },
  { set: 'fluent-color', version: '1.2.21', licence: 'MIT', by: 'Microsoft Corporation' },
  { set: 'ph', version: '1.2.2', licence: 'MIT', by: 'Phosphor Icons' },
  { set: 'solar', version: '1.2.13', licence: 'CC-BY-4.0', by: '480 Design' },
  { set: 'tabler', version: '1.2.41', licence: 'MIT', by: 'Paweł Kuna' },
  { set: 'hugeicons', version: '1.2.35', licence: 'MIT', by: 'Hugeicons' },
  { set: 'game-icons', version: '1.2.4', licence: 'CC-BY-3.0', by: 'GameIcons' },
  { set: 'mingcute', version: '1.2.8', licence: 'Apache-2.0', by: 'MingCute Design' },
  { set: 'ri', version: '1.2.10', licence: 'Apache-2.0', by: 'Remix Design' },
  { set: 'icon-park', version: '1.2.4', licence: 'Apache-2.0', by: 'ByteDance' },
  { set: 'carbon', version: '1.2.29', licence: 'Apache-2.0', by: 'IBM' },
  { set: 'healthicons', version: '1.2.13', licence: 'MIT', by: 'Resolve to Save Lives' },
  { set: 'lucide', version: '1.2.137', licence: 'ISC', by: 'Lucide Contributors' },
  { set: 'meteocons', version: '1.2.4', licence: 'MIT', by: 'Bas Milius' },
  { set: 'streamline-ultimate-color', version: '1.2.2', licence: 'CC-BY-4.0', by: 'Streamline' },
  { set: 'bi', version: '1.2.7', licence: 'MIT', by: 'The Bootstrap Authors', held: 'validation' },
  { set: 'iconoir', version: '1.2.11', licence: 'MIT', by: 'Luca Burgio', held: 'test' },
  { set: 'flat-color-icons', version: '1.2.3', licence: 'MIT', by: 'Icons8', held: 'test' },
];

/** The package of a set. */
export const iconPackage = (set: string) => `@iconify-json/${set}`;

/** Where the sets are installed, in the folder for prepared data. */
export const iconFolder = (cacheFolder: string) => join(cacheFolder, 'icons');

const setFolder = (folder: string, set: string) => join(folder, 'node_modules', iconPackage(set));

/** @throws DataError for a file that is not as Iconify packs it */
function readSet(folder: string, { set, licence }: IconSource): IconSet {
  const read = (name: string) => readJson('icons', join(setFolder(folder, set), name), 2 ** 28);
  const found = read('info.json') as { license?: { spdx?: string } };
  if (found.license?.spdx !== licence)
    throw new DataError('icons', {
      received: `${set} under ${found.license?.spdx ?? 'no licence that it names'}`,
      expected: licence,
      hint: 'npx hopgrad data icons installs the versions that were looked at.',
    });
  return read('icons.json') as IconSet;
}

/** Words that tell drawings of one thing apart, by what they come to in a caption; null: weights and sizes, which are folded. */
const variantWords: Record<string, string | null> = {
  ...{ outline: 'outline', outlined: 'outline', line: 'outline', linear: 'outline', stroke: 'outline' },
  ...{ fill: 'filled', filled: 'filled', solid: 'filled', twotone: 'two tone', duotone: 'two tone', broken: 'broken' },
  ...{ bold: null, light: null, thin: null, regular: null, sharp: null, rounded: null, round: null, baseline: null },
};
const isSize = (token: string) => /^(8|10|12|16|18|20|24|28|32|36|40|48|64|96|128)(px)?$/.test(token);
const isVariant = (token: string) => token in variantWords || isSize(token);

/** An icon's name in parts. */
export interface IconName {
  icon: string;
  /** "shopping cart off" */
  words: string[];
  /** "outline"; empty for none. */
  variant: string;
  /** Words of weight and size that were left out: of several drawings, that with the fewest is kept. */
  folded: number;
}

/** The tokens without the variants at their end, and at the beginning of names such as `baseline-home`. */
function stemOf(tokens: readonly string[]): string[] {
  let [from, to] = [0, tokens.length];
  while (to > 1 && isVariant(tokens[to - 1]!)) to--;
  while (from < to - 1 && variantWords[tokens[from]!] !== undefined) from++;
  return tokens.slice(from, to);
}

/**
 * The names of a set in parts. A variant word is one only where the set has the same thing otherwise: `acorn-bold` beside `acorn`, but
 * `format-bold` is a name. A number is left out where the thing is there without it (`home-2`); names that need theirs are passed over, as are
 * those without a word, and those of more than five.
 */
export function iconNames(icons: readonly string[]): IconName[] {
  const stems = new Map<string, number>();
  for (const icon of icons) {
    const stem = stemOf(icon.split('-')).join('-');
    stems.set(stem, (stems.get(stem) ?? 0) + 1);
  }
  const known = new Set(icons);
  return icons.flatMap((icon) => {
    const tokens = icon.split('-');
    const stem = stemOf(tokens);
    const hasVariants = stem.length < tokens.length && (stems.get(stem.join('-'))! > 1 || known.has(stem.join('-')));
    let words = hasVariants ? stem : tokens.filter((token, i) => i === 0 || !isSize(token));
    const left = hasVariants ? tokens.filter((token) => isVariant(token) && !stem.includes(token)) : [];
    if (words.length > 1 && /^\d+$/.test(words.at(-1)!)) {
      const plain = words.slice(0, -1);
      if (!known.has(plain.join('-')) && !stems.has(plain.join('-'))) return [];
      words = plain;
    }
    if (words.length > 5 || words.some((word) => !/^[a-z0-9]*[a-z][a-z0-9]*$/.test(word))) return [];
    if (!words.some((word) => /^[a-z]{3,}$/.test(word))) return [];
    const kinds = [...new Set(left.flatMap((token) => variantWords[token] ?? []))];
    return [{ icon, words, variant: kinds.join(' '), folded: tokens.length - words.length }];
  });
}

/** Concepts and drawings of all sets, before anything is compared by its pixels. */
export interface Icons {
  concepts: Concept[];
  drawings: Drawing[];
  /** Icons in the sets, variants and all. */
  found: number;
}

/**
 * Reads all sets. Of a thing in one set each variant is a drawing; sizes and weights are folded into one. Aliases that only rename are keywords.
 * @throws DataError that says how to install them; for a set under another licence
 */
export function loadIcons(folder: string, sources: readonly IconSource[] = iconSources): Icons {
  const missing = sources.filter(({ set }) => !existsSync(join(setFolder(folder, set), 'icons.json')));
  if (missing.length > 0)
    throw new DataError('icons', {
      received: `without ${missing.length} of ${sources.length} sets in ${folder}`,
      expected: 'sets of icons, some 70 MB',
      hint: 'Install them: npx hopgrad data icons',
    });
  const concepts = new Map<string, { at: number; keywords: Set<string> }>();
  const drawings: Drawing[] = [];
  let found = 0;
  for (const source of sources) {
    const set = readSet(folder, source);
    const names = iconNames(Object.keys(set.icons));
    found += Object.keys(set.icons).length;
    const best = new Map<string, IconName>();
    for (const name of names) {
      const key = `${name.words.join(' ')}/${name.variant}`;
      const other = best.get(key);
      if (!other || name.folded < other.folded || (name.folded === other.folded && name.icon < other.icon))
        best.set(key, name);
    }
    const byIcon = new Map(names.map((name) => [name.icon, name]));
    const conceptOf = (words: readonly string[]) => {
      const name = words.join(' ');
      const known = concepts.get(name) ?? { at: concepts.size, keywords: new Set<string>() };
      concepts.set(name, known);
      return known;
    };
    for (const { icon, words, variant } of best.values()) {
      const svg = renderIcon(set, icon)!.replaceAll('currentColor', '#222');
      drawings.push({ concept: conceptOf(words).at, style: source.set, svg, ...(variant && { variant }) });
    }
    for (const [alias, { parent, hFlip, vFlip, rotate }] of Object.entries(set.aliases ?? {})) {
      const [own] = iconNames([alias]);
      const of = byIcon.get(parent);
      if (own && of && !hFlip && !vFlip && !rotate) conceptOf(of.words).keywords.add(stemOf(own.words).join(' '));
    }
  }
  return {
    concepts: [...concepts].map(([name, { keywords }]) => {
      keywords.delete(name);
      return { symbol: name, name, keywords: [...keywords].slice(0, 8), group: 'icons', family: name };
    }),
    drawings,
    found,
  };
}
