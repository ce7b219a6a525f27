/** `npm run study [-- NAME …]`: runs chapters, prints what they find, and keeps it for their texts and in RESULTS.md. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bugZoo } from './bug-zoo.js';
import { covariance } from './covariance.js';
import { early } from './early.js';
import { geometry } from './geometry.js';
import { gram } from './gram.js';
import { hopfield } from './hopfield.js';
import { icons } from './icons.js';
import { iconsTransfer } from './icons-transfer.js';
import { leads } from './leads.js';
import { mutualInformation } from './mutual-information.js';
import { niches } from './niches.js';
import { parity } from './parity.js';
import { type Chapter, Findings, type Results, section } from './record.js';
import { saddle } from './saddle.js';
import { saturation } from './saturation.js';
import { sensitivity } from './sensitivity.js';
import { transfer } from './transfer.js';

/** In the order in which they are read. */
const chapters: Chapter[] = [
  saturation,
  hopfield,
  covariance,
  mutualInformation,
  saddle,
  gram,
  geometry,
  leads,
  sensitivity,
  niches,
  early,
  transfer,
  icons,
  iconsTransfer,
  parity,
  bugZoo,
];

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !chapters.some((chapter) => chapter.name === name));
if (unknown.length > 0)
  throw new Error(`no chapter ${unknown.join(', ')}; there are ${chapters.map(({ name }) => name).join(', ')}`);

const at = (path: string) => fileURLToPath(new URL(`../../study/${path}`, import.meta.url));
mkdirSync(at('results'), { recursive: true });
const intro = 'Written by `npm run study`; each section is made by the chapter of its name.';
/** Chapters that have results, with their numbers. */
const told: string[] = [];
const sections: string[] = [`# What the mathematics of CLOOB says, computed\n\n${intro}\n`];
for (const chapter of chapters) {
  const file = at(`results/${chapter.name}.json`);
  const missing = chapter.missing?.();
  if (missing !== undefined && asked.includes(chapter.name)) throw new Error(`${chapter.name}: first ${missing}`);
  if (missing !== undefined && asked.length === 0) console.log(`${chapter.name} is left as it is: it needs ${missing}`);
  if (missing !== undefined || (asked.length > 0 && !asked.includes(chapter.name))) {
    if (!existsSync(file)) continue;
    told.push(chapter.name);
    sections.push(section(told.length, JSON.parse(readFileSync(file, 'utf8')) as Results));
    continue;
  }
  told.push(chapter.name);
  const found = new Findings(chapter);
  await chapter.run(found);
  sections.push(section(told.length, found.results));
  console.log(sections.at(-1));
  writeFileSync(file, `${JSON.stringify(found.results, null, 2)}\n`);
  rmSync(at(`figures/${chapter.name}`), { recursive: true, force: true });
  if (found.figures.size > 0) mkdirSync(at(`figures/${chapter.name}`), { recursive: true });
  for (const [name, svg] of found.figures) writeFileSync(at(`figures/${name}`), svg);
}
writeFileSync(at('RESULTS.md'), sections.join(''));
writeFileSync(at('results/index.json'), `${JSON.stringify(told)}\n`);
