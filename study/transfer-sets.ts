/** Pictures that no model of the chapter on transfer was trained on, and what they are asked. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Random } from 'hopgrad';
import { loadDrawings } from '#src/data/emoji.js';
import type { EmojiData } from '#src/data/emoji-source.js';
import { type IconSet, renderIcon } from '#src/data/iconify.js';
import { iconNames } from '#src/data/icons.js';
import { labelledSet } from '#src/data/labelled.js';
import { rasterise } from '#src/data/rasterise.js';
import { drawingBytes } from '#src/train/evaluate.js';

/** Pixels a side. */
export const side = 32;
const length = 3 * side ** 2;

/** Pictures with their class and what they are called. */
export interface Pictures {
  /** [count, side, side, 3], 0 … 255 */
  images: Uint8Array;
  labels: number[];
  captions: string[];
  /** Concepts of the embedded data, where training pictures may show the same. */
  concepts?: number[];
}

export interface JudgedSet {
  id: string;
  title: string;
  pictures: Pictures;
  /** The words by which each class is described. */
  classes: string[][];
  /** What the linear probe is trained on; `halves`: on either half of the pictures, for the other. */
  probe: Pictures | 'halves';
  /** Whether pictures are searched for by their own captions, or by the words of their class. */
  searched: 'by caption' | 'by class';
}

/** Those of some pictures. */
export function pick({ images, labels, captions, concepts }: Pictures, rows: readonly number[]): Pictures {
  const own = drawingBytes({ images: { data: images, size: side, count: labels.length } }, rows);
  const of = <T>(list: readonly T[]) => rows.map((row) => list[row]!);
  return { images: own, labels: of(labels), captions: of(captions), ...(concepts && { concepts: of(concepts) }) };
}

/** As many pictures, drawn at random. */
function some(pictures: Pictures, count: number): Pictures {
  const order = new Random(1).shuffle(pictures.labels.keys());
  return pick(pictures, order.slice(0, Math.min(count, order.length)));
}

/** "Animals & Nature" as the words animal and nature. */
const describe = (title: string) =>
  title
    .toLowerCase()
    .split(/ & | and /)
    .map((words) => words.replace(/ies$/, 'y').replace(/([^s])s$/, '$1'));

/** Drawings of the embedded data, or in another style, classed by Unicode's group. */
function emojiPictures(
  { concepts }: EmojiData,
  groups: readonly string[],
  drawings: readonly { concept: number }[],
  images: Uint8Array,
): Pictures {
  const of = drawings.map(({ concept }) => concepts[concept]!);
  return {
    images,
    labels: of.map(({ group }) => groups.indexOf(group)),
    captions: of.map(({ name }) => name),
    concepts: drawings.map(({ concept }) => concept),
  };
}

/** Small grey pictures, digits or clothes, in the middle of a white square, dark on light. */
async function small(
  name: 'mnist' | 'fashion-mnist',
  split: 'train' | 't10k',
  count: number,
): Promise<{ pictures: Pictures; names: readonly string[] }> {
  const source = await labelledSet(name, { split });
  const names = source.classNames!;
  const pictures: Pictures = { images: new Uint8Array(count * length).fill(255), labels: [], captions: [] };
  for await (const row of source.rows({ seed: 1, epoch: 0, shuffle: true })) {
    if (!('image' in row && 'pixels' in row.image)) continue;
    const { data, width, height } = row.image.pixels;
    const [left, top] = [(side - width) / 2, (side - height) / 2];
    data.forEach((value, i) => {
      const at = (top + Math.floor(i / width)) * side + left + (i % width);
      pictures.images.fill(
        value,
        pictures.labels.length * length + 3 * at,
        pictures.labels.length * length + 3 * at + 3,
      );
    });
    pictures.labels.push(row.label!);
    pictures.captions.push(names[row.label!]!);
    if (pictures.labels.length === count) break;
  }
  return { pictures, names };
}

/** Clip art by kinds of things; drawings that cannot be read are left out. */
async function clipArt(cacheFolder: string): Promise<{ pictures: Pictures; names: readonly string[] }> {
  const source = await labelledSet('openclipart');
  const names = source.classNames!;
  const drawings: { svg: string }[] = [];
  const labels: number[] = [];
  for await (const row of source.rows({ seed: 1, epoch: 0, shuffle: false })) {
    if (!('image' in row && 'path' in row.image)) continue;
    drawings.push({ svg: readFileSync(row.image.path, 'utf8') });
    labels.push(row.label!);
  }
  const { data, broken } = await rasterise(drawings, { size: side, cacheFolder });
  const all = { images: data, labels, captions: labels.map((label) => names[label]!) };
  const unreadable = new Set(broken);
  return {
    names,
    pictures: pick(
      all,
      [...labels.keys()].filter((row) => !unreadable.has(row)),
    ),
  };
}

/** Kinds of things among the categories of iconoir; the others are signs of programs, such as those of editors and navigation. */
const kinds = [
  ...['Buildings', 'Clothing', 'Devices', 'Finance', 'Food', 'Gaming', 'Health', 'Home', 'Music', 'Nature', 'Science'],
  ...['Security', 'Shapes', 'Shopping', 'Transport', 'Weather'],
];

/** Line icons of iconoir that stand in one of the {@link kinds}, one for each name. */
async function icons(cacheFolder: string): Promise<Pictures> {
  const require = createRequire(import.meta.url);
  const set = require('@iconify-json/iconoir/icons.json') as IconSet;
  const { categories } = require('@iconify-json/iconoir/metadata.json') as { categories: Record<string, string[]> };
  const kindOf = new Map(kinds.flatMap((kind, k) => categories[kind]!.map((icon) => [icon, k])));
  const byName = new Map(
    iconNames(Object.keys(set.icons))
      .filter(({ icon, variant }) => variant === '' && kindOf.has(icon))
      .map(({ icon, words }) => [words.join(' '), icon]),
  );
  const drawings = [...byName.values()].map((icon) => ({
    svg: renderIcon(set, icon)!.replaceAll('currentColor', '#222'),
  }));
  const { data } = await rasterise(drawings, { size: side, cacheFolder });
  return { images: data, labels: [...byName.values()].map((icon) => kindOf.get(icon)!), captions: [...byName.keys()] };
}

/** The sets, of each at most `most` pictures, and probes trained on at most as many. */
export async function judgedSets(data: EmojiData, cacheFolder: string, most: number): Promise<JudgedSet[]> {
  const { split, drawings, concepts } = data;
  const groups = [...new Set(concepts.map(({ group }) => group))];
  const of = (rows: readonly number[]) =>
    emojiPictures(
      data,
      groups,
      rows.map((row) => drawings[row]!),
      drawingBytes(data, rows),
    );
  const emoji = { classes: groups.map(describe), probe: some(of(split.train), most), searched: 'by caption' as const };
  const trainedConcepts = new Set(split.train.map((row) => drawings[row]!.concept));
  const { concepts: _, ...unseen } = of(split.testC); // no training picture shows them
  // Never to be trained on: kept for this.
  const drawn = loadDrawings('streamline-emojis', concepts).filter(({ concept }) => trainedConcepts.has(concept));
  const streamline = await rasterise(drawn, { size: side, cacheFolder });
  const [trainDigits, testDigits] = [await small('mnist', 'train', most), await small('mnist', 't10k', most)];
  const all: JudgedSet[] = [
    { id: 'style', title: 'Known emoji, held-out style', pictures: of(split.testA), ...emoji },
    {
      ...{ id: 'streamline', title: 'Known emoji, Streamline’s', ...emoji },
      pictures: emojiPictures(data, groups, drawn, streamline.data),
    },
    { id: 'new', title: 'New emoji, held-out style', pictures: unseen, ...emoji },
    {
      ...{ id: 'icons', title: 'Line icons of iconoir', pictures: await icons(cacheFolder) },
      ...{ classes: kinds.map(describe), probe: 'halves', searched: 'by caption' },
    },
    {
      ...{ id: 'digits', title: 'Digits of MNIST', pictures: testDigits.pictures },
      ...{ classes: testDigits.names.map((name, digit) => [name, String(digit)]) },
      ...{ probe: trainDigits.pictures, searched: 'by class' },
    },
  ];
  return all.map((set) => ({ ...set, pictures: some(set.pictures, most) }));
}

/** Two more, of Debian's packages. @throws DataError that says how to install them */
export async function packagedSets(cacheFolder: string, most: number): Promise<JudgedSet[]> {
  const [worn, tested] = [await small('fashion-mnist', 'train', most), await small('fashion-mnist', 't10k', most)];
  const art = await clipArt(cacheFolder);
  return [
    {
      ...{ id: 'clothes', title: 'Clothes of Fashion-MNIST', pictures: tested.pictures },
      ...{ classes: tested.names.map((name) => [name]), probe: worn.pictures, searched: 'by class' },
    },
    {
      ...{ id: 'art', title: 'Clip art', pictures: some(art.pictures, most) },
      ...{ classes: art.names.map(describe), probe: 'halves', searched: 'by class' },
    },
  ];
}
