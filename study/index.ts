/** `npm run study`: runs the chapters, prints them, and keeps what they print in study/RESULTS.md. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { covariance } from './covariance.js';
import { gram } from './gram.js';
import { hopfield } from './hopfield.js';
import { mutualInformation } from './mutual-information.js';
import { saddle } from './saddle.js';
import { saturation } from './saturation.js';

const lines: string[] = [];
const print = (text: string) => {
  console.log(text);
  lines.push(text);
};

print(
  '# What the mathematics of CLOOB says, computed\n\nWritten by `npm run study`; each table is made by the chapter of its name.',
);
for (const [index, { title, run }] of [saturation, hopfield, covariance, mutualInformation, saddle, gram].entries()) {
  print(`\n## ${index + 1}. ${title}\n`);
  await run(print);
}
writeFileSync(fileURLToPath(new URL('../../study/RESULTS.md', import.meta.url)), `${lines.join('\n')}\n`);
