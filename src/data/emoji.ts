/**
 * The embedded image–text data: emoji, drawn by eight hands, with names and keywords.
 *
 * A concept is an emoji with its words; a drawing is a concept in one style. Seven styles are for training; the eighth
 * is held out. Some concepts are never trained on at all, in any style, and neither are their siblings and look-alikes.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DataError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { alikeEmoji } from './emoji-alike.js';
import { type IconSet, renderIcon } from './iconify.js';

export interface Concept {
  /** The emoji itself. */
  symbol: string;
  /** "red apple" */
  name: string;
  /** Further words, the name's own left out. */
  keywords: string[];
  /** Unicode's group, such as "Food & Drink". */
  group: string;
  /** Siblings share a family: the same name but for person, direction, hour or colour. */
  family: string;
}

export interface Drawing {
  /** Index into the concepts. */
  concept: number;
  style: string;
  /** What tells it from other drawings of the style, such as "outline". */
  variant?: string;
  /** The picture as a whole SVG document. */
  svg: string;
}

/** Packages of drawings, for training and held out. */
export const trainingStyles = ['noto', 'noto-v1', 'twemoji', 'openmoji', 'emojione', 'emojione-v1', 'fxemoji'] as const;
export const heldOutStyle = 'fluent-emoji-flat';

/** What the embedded data are made of. They are no dependencies: who trains on other data does not need their 80 MB. */
export const emojiPackages = [
  'unicode-emoji-json',
  'emojilib',
  ...[...trainingStyles, heldOutStyle].map((style) => `@iconify-json/${style}`),
];

/** Packages are found beside this one, or from the folder where the command runs. */
const places = [import.meta.url, join(process.cwd(), 'any.js')].map((place) => createRequire(place));

/** @throws DataError that names all data packages that are missing, and how to install them */
function load<T>(file: string): T {
  const isThere = (name: string) => places.some((require) => canResolve(require, name));
  const require = places.find((place) => canResolve(place, file));
  if (require) return require(file) as T;
  const missing = emojiPackages.filter((name) => !isThere(`${name}/package.json`));
  throw new DataError('emoji', {
    received:
      missing.length > 0 ? `without ${missing.length} of the ${emojiPackages.length} data packages` : `no ${file}`,
    expected: 'the embedded data, some 80 MB',
    hint: `Name pictures of your own, or install them: npm install --save-dev ${(missing.length > 0 ? missing : emojiPackages).join(' ')}`,
  });
}

function canResolve(require: NodeJS.Require, file: string): boolean {
  try {
    require.resolve(file);
    return true;
  } catch {
    return false;
  }
}

const people = /\b(person|people|man|woman|men|women|boy|girl|child|adult|older|old|male|female)\b/g;
const directions =
  /\b(up|down|left|right|leftwards|rightwards|upwards|downwards|north|south|east|west|clockwise|counterclockwise)\b/g;
const colours =
  /\b(red|orange|yellow|green|light blue|blue|purple|brown|black|white|grey|pink|dark|medium|small|large)\b/g;
const hours = /\b(twelve|eleven|ten|nine|eight|seven|six|five|four|three|two|one)([ -]thirty| o.clock)/g;

/** The name without what tells siblings apart. */
export function familyOf(name: string): string {
  const rest = name
    .toLowerCase()
    .replace(hours, 'hour')
    .replace(/^keycap.*/, 'keycap')
    .replace(/^(family|couple with heart|kiss|.*holding hands).*/, 'couple')
    .replace(colours, '')
    .replace(people, '')
    .replace(directions, '')
    .replace(/[^a-z]+/g, ' ')
    .trim();
  return rest || 'person or direction';
}

/** All concepts but flags, which show letters of regions rather than pictures, in Unicode's order. */
export function loadConcepts(): Concept[] {
  const emoji = load<Record<string, { name: string; group: string }>>('unicode-emoji-json/data-by-emoji.json');
  const words = load<Record<string, string[]>>('emojilib');
  return Object.entries(emoji)
    .filter(([, { group }]) => group !== 'Flags')
    .map(([symbol, { name, group }]) => {
      const own = new Set(name.toLowerCase().split(/\W+/));
      const keywords = (words[symbol] ?? [])
        .map((word) => word.replaceAll('_', ' ').trim())
        .filter(
          (word) => /\p{L}/u.test(word) && word.toLowerCase() !== name.toLowerCase() && !own.has(word.toLowerCase()),
        );
      return { symbol, name, group, keywords: [...new Set(keywords)], family: familyOf(name) };
    });
}

const codePoints = (symbol: string) =>
  Array.from(symbol, (char) => char.codePointAt(0)!.toString(16))
    .filter((point) => point !== 'fe0f')
    .join('-');
const fold = (name: string) =>
  name
    .normalize('NFD')
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '');

/** Drawings of the concepts in one style: icons matched by code points, else by name. */
export function loadDrawings(style: string, concepts: readonly Concept[]): Drawing[] {
  const set = load<IconSet>(`@iconify-json/${style}/icons.json`);
  const chars = load<Record<string, string>>(`@iconify-json/${style}/chars.json`);
  const byCode = new Map(
    Object.entries(chars).map(([code, icon]) => [
      code
        .split('-')
        .filter((point) => point !== 'fe0f')
        .join('-'),
      icon,
    ]),
  );
  const byName = new Map(
    [...Object.keys(set.aliases ?? {}), ...Object.keys(set.icons)].map((icon) => [fold(icon), icon]),
  );
  return concepts.flatMap(({ symbol, name }, concept) => {
    const icon = byCode.get(codePoints(symbol)) ?? byName.get(fold(name));
    const svg = icon && renderIcon(set, icon);
    return svg ? [{ concept, style, svg }] : [];
  });
}

export interface Split {
  /** Indices of drawings to train on. */
  train: number[];
  /** The held-out style, concepts seen in training in other styles. */
  testA: number[];
  /** Never-trained concepts, one drawing each in a training style … */
  testB: number[];
  /** … and the same concepts in the held-out style. */
  testC: number[];
  /** Of icons: known words in a combination never trained on. */
  testD?: number[];
}

/** The number that fixes which concepts are never trained on. */
const splitSeed = 2110;
const heldOutConcepts = 200;
const validationConcepts = 100;

/** For each concept those that look like it ({@link alikeEmoji}), either way round. */
function lookAlikes(concepts: readonly Concept[]): (concept: number) => readonly number[] {
  const numbers = new Map(concepts.map(({ symbol }, i) => [symbol, i]));
  const alike = concepts.map((): number[] => []);
  for (const line of alikeEmoji.trim().split('\n')) {
    const [first, ...others] = line.split(' ').flatMap((symbol) => numbers.get(symbol) ?? []);
    for (const other of others) {
      alike[first!]!.push(other);
      alike[other]!.push(first!);
    }
  }
  return (concept) => alike[concept]!;
}

/**
 * Splits drawings as described at {@link Split}. With a concept that is never trained on go its siblings by name (its
 * family), and all concepts of which some drawing is nearly equal to one of its own: otherwise the training has seen the
 * picture under another name. `validation` gives another split of the same kind, inside the training
 * data: the test concepts and the held-out style are left out altogether, 100 further concepts play the part of the
 * unseen ones, and the style fxemoji and the style openmoji's drawings that of the held-out style. Tune on that only.
 */
export function splitDrawings(
  concepts: readonly Concept[],
  drawings: readonly Drawing[],
  { validation = false } = {},
): Split {
  const stylesOf = new Map<number, Set<string>>();
  for (const { concept, style } of drawings) stylesOf.set(concept, (stylesOf.get(concept) ?? new Set()).add(style));
  // openmoji stands in for the held-out style in validation: nearly complete, and flat like it.
  const held = validation ? 'openmoji' : heldOutStyle;
  const isTraining = (style: string) => style !== heldOutStyle && style !== held;
  const drawnBothWays = (concept: number) => {
    const styles = [...(stylesOf.get(concept) ?? [])];
    return (
      styles.includes(heldOutStyle) &&
      styles.includes('openmoji') &&
      styles.some((s) => s !== heldOutStyle && s !== 'openmoji')
    );
  };
  const random = new Random(splitSeed);
  const families = new Map<string, number[]>();
  concepts.forEach(({ family }, i) => {
    if (drawnBothWays(i)) families.set(family, [...(families.get(family) ?? []), i]);
  });
  const order = random.shuffle(families.keys());
  const pick = (from: number, count: number) =>
    order.slice(from, from + count).map((family) => random.pick(families.get(family)!));
  const test = pick(0, heldOutConcepts);
  const validationSet = pick(heldOutConcepts, validationConcepts);
  const unseen = validation ? validationSet : test;
  const kept = validation ? [...test, ...validationSet] : test;
  const barredFamilies = new Set(kept.map((i) => concepts[i]!.family));
  const barred = new Set(kept.flatMap(lookAlikes(concepts)));
  const where = (wanted: (drawing: Drawing) => boolean) =>
    drawings.flatMap((drawing, i) => (wanted(drawing) ? [i] : []));
  const seen = ({ concept }: Drawing) => !barredFamilies.has(concepts[concept]!.family) && !barred.has(concept);
  const train = where((d) => isTraining(d.style) && seen(d));
  const trained = new Set(train.map((i) => drawings[i]!.concept));
  const drawn = unseen.map((concept) => random.pick(where((d) => d.concept === concept && isTraining(d.style))));
  return {
    train,
    testA: where((d) => d.style === held && trained.has(d.concept)),
    testB: drawn,
    testC: unseen.map((concept) => where((d) => d.concept === concept && d.style === held)[0]!),
  };
}

/** One of the forms in which a concept is described, drawn anew at each visit. */
export function sampleCaption(
  { name: plain, keywords }: Pick<Concept, 'name' | 'keywords'>,
  random: Random,
  variant?: string,
): string {
  const name = variant !== undefined && random.int(2) === 0 ? `${plain} ${variant}` : plain;
  const form = random.int(keywords.length > 0 ? 4 : 2);
  const some = () => random.shuffle(keywords).slice(0, 1 + random.int(4));
  if (form === 0) return name;
  if (form === 1) return `a drawing of ${name}`;
  return (form === 2 ? [name, ...some()] : some()).join(', ');
}

/** The captions of evaluation: the name, and all keywords in a line. */
export function keywordLine({ name, keywords }: Concept): string {
  return keywords.length > 0 ? keywords.slice(0, 8).join(', ') : name;
}
