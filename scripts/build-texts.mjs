// Writes dist/kernels/source/texts.js: the texts of hopgrad's own kernels, as they stand in dist before any bundler.
import { readdirSync, rmSync, writeFileSync } from 'node:fs';

const dist = new URL('../dist/', import.meta.url);
const { builtInKernels } = await import(new URL('kernels/source/own.js', dist));
await import(new URL('index.js', dist));
await import(new URL('nn/index.js', dist));
for (const name of readdirSync(new URL('kernels/gpu/', dist)))
  if (name.endsWith('.js')) await import(new URL(`kernels/gpu/${name}`, dist));

/** Without indentation and lines of comment: every bundle carries these texts. */
const dense = (text) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('//'))
    .join('\n');
const texts = Object.fromEntries([...builtInKernels()].map(([name, kernel]) => [name, dense(kernel.toString())]));
const file = new URL('kernels/source/texts.js', dist);
writeFileSync(file, `export const texts = ${JSON.stringify(texts, null, 2)};\n`);
rmSync(new URL('kernels/source/texts.js.map', dist), { force: true });
