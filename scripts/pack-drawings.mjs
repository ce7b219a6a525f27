// Packs drawings of everyday things for the explorable that trains in the tab, into one file (its format is told in
// web/explorables/training/drawings.ts). They come from the embedded data: concepts of its training part alone, drawn in
// six training styles or more and in the style that is held out.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { gzipSync } from 'node:zlib';
import { heldOutStyle, loadConcepts, loadDrawings, splitDrawings, trainingStyles } from '../dist/data/emoji.js';
import { rasterise } from '../dist/data/rasterise.js';
import { Random } from '../dist/index.js';

const size = 32;
const count = 96;
const groups = ['Animals & Nature', 'Food & Drink', 'Travel & Places', 'Activities', 'Objects'];
/** Alike but for a detail that 32 pixels do not show, or letters rather than pictures. */
const alike = /moon|mailbox|speaker|globe|book|envelope|Japan|hotel|mobile|train|railway|clock|page|bell with|muted/;

/** Names of one or two words, one concept a family, in Unicode's order. */
function choose(concepts, drawings) {
  const split = splitDrawings(concepts, drawings);
  const styles = new Map();
  for (const i of split.train) {
    const { concept, style } = drawings[i];
    styles.set(concept, [...(styles.get(concept) ?? []), style]);
  }
  const held = new Set(split.testA.map((i) => drawings[i].concept));
  const families = new Set();
  const fit = [...styles.keys()].filter((concept) => {
    const { name, group, family } = concepts[concept];
    const plain = /^[a-z]+( [a-z]+)?$/.test(name) && !alike.test(name) && groups.includes(group);
    if (!plain || !held.has(concept) || styles.get(concept).length < 6 || families.has(family)) return false;
    families.add(family);
    return true;
  });
  return new Random(1)
    .shuffle(fit)
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** Who drew what, and under which licence. */
function sources() {
  const require = createRequire(import.meta.url);
  return [...trainingStyles, heldOutStyle].map((style) => {
    const { name, author, license } = require(`@iconify-json/${style}/info.json`);
    return { style, name, author: author.name, license: license.title, url: author.url };
  });
}

/**
 * Draws and packs them.
 * @param path where the file goes
 * @returns its size in bytes, and how many concepts and drawings it holds
 */
export async function packDrawings(path) {
  const concepts = loadConcepts();
  const all = [...trainingStyles, heldOutStyle].flatMap((style) => loadDrawings(style, concepts));
  const chosen = choose(concepts, all);
  const drawings = all.filter(({ concept }) => chosen.includes(concept));
  const images = await rasterise(drawings, { size, cacheFolder: '.cache' });
  if (images.broken.length > 0) throw new Error(`${images.broken.length} drawings that cannot be rendered`);
  const header = {
    size,
    heldOut: heldOutStyle,
    sources: sources(),
    concepts: chosen.map((i) => ({ name: concepts[i].name, keywords: concepts[i].keywords.slice(0, 6) })),
    drawings: drawings.map(({ concept, style }) => ({ concept: chosen.indexOf(concept), style })),
  };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  // Each byte less the one of the pixel to its left, which compresses to half of what bytes themselves do.
  const bytes = Buffer.from(images.data);
  for (let i = bytes.length - 1; i >= 0; i--) if (i % (3 * size) >= 3) bytes[i] -= bytes[i - 3];
  const packed = gzipSync(Buffer.concat([length, json, bytes]), { level: 9 });
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, packed);
  return { bytes: packed.length, concepts: chosen.length, drawings: drawings.length };
}
