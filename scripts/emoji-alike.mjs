// Writes src/data/emoji-alike.ts: which concepts of the embedded data look alike, whatever they are called.
// Run after `npm run build`, when the data packages change: node scripts/emoji-alike.mjs

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareEmoji } from '../dist/data/emoji-source.js';
import { pixelFeatures } from '../dist/evaluate/neighbours.js';

const root = join(import.meta.dirname, '..');
/** Centred cosine of two drawings, 32×32, from which on their concepts look alike. */
const least = 0.94;

const data = await prepareEmoji({ size: 32, cacheFolder: join(root, '.cache') });
const { concepts, drawings } = data;
const features = pixelFeatures(data.images.data, drawings.length);
const alike = concepts.map(() => new Set());
for (let start = 0; start < drawings.length; start += 512) {
  const end = Math.min(drawings.length, start + 512);
  const cosines = await features
    .slice([[start, end]])
    .matmul(features, { transposeB: true })
    .data();
  for (let i = start; i < end; i++)
    for (let j = i + 1; j < drawings.length; j++) {
      if (cosines[(i - start) * drawings.length + j] < least) continue;
      const [a, b] = [drawings[i].concept, drawings[j].concept].sort((x, y) => x - y);
      if (concepts[a].family !== concepts[b].family) alike[a].add(b);
    }
}
const lines = alike.flatMap((others, a) => {
  const symbols = [...others].sort((x, y) => x - y).map((b) => concepts[b].symbol);
  return symbols.length > 0 ? [[concepts[a].symbol, ...symbols].join(' ')] : [];
});
writeFileSync(
  join(root, 'src/data/emoji-alike.ts'),
  `/** Data: concepts of the embedded emoji that look alike, though their names are no siblings. */

/**
 * In each line, an emoji and those after it in Unicode's order of which some drawing is nearly equal to one of its own:
 * centred cosine of the pixels, 32×32, at least ${least}. Made by scripts/emoji-alike.mjs.
 */
export const alikeEmoji = \`
${lines.join('\n')}
\`;
`,
);
console.log(`${lines.length} lines, ${alike.reduce((sum, { size }) => sum + size, 0)} pairs`);
