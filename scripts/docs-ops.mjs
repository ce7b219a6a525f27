// docs/ops.md: every op of the registry, by the file where it stands.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as everything from '../dist/index.js';
import { int32Of, shapesOf } from '../dist/inspect/describe.js';

const root = fileURLToPath(new URL('..', import.meta.url));

const head = `# Ops

<!-- Generated from the registry by \`npm run docs\`: change the ops, not this page. -->

Every op of hopgrad, with its equation and derivative. y is the result, ȳ = ∂loss/∂y its gradient, x̄ that of x; ⊙ multiplies elementwise,
[…] around a condition is 1 where it holds and 0 elsewhere. Ops marked ∘ are composed of others, whose derivatives are theirs; derivatives
are themselves made of ops, so there are those of any order. Names in italics are used by derivatives and other ops only. The same text for
one op: \`describe('softmax')\`. How ops are called stands in the docstrings of their files.
`;

/** The files of ops: their text, and what they export. */
async function sources() {
  const found = [];
  for (const folder of ['autograd/ops', 'functions'])
    for (const name of readdirSync(join(root, 'src', folder)).sort()) {
      if (name === 'index.ts') continue;
      const file = `src/${folder}/${name}`;
      const exported = await import(`../dist/${folder}/${name.replace(/ts$/, 'js')}`);
      found.push({ file, text: readFileSync(join(root, file), 'utf8'), exported, ops: [] });
    }
  return found;
}

/** The first sentence of a file's comment. */
const titleOf = (text) =>
  /^\/\*\*\s*([\s\S]*?)\*\//
    .exec(text)[1]
    .replaceAll(/\s*\n \* ?/g, ' ')
    .trim()
    .split(/(?<=\.)\s/)[0];

const cell = (text) =>
  text.replaceAll('|', '\\|').replaceAll('*', '\\*').replaceAll('_', '\\_').replaceAll('<', '&lt;');

/** @returns the page */
export async function opsPage() {
  const files = await sources();
  for (const op of everything.registeredOps().values()) {
    if (!op.builtIn) continue;
    const place =
      files.find(({ exported }) => op.name in exported) ??
      files.find(({ text }) => text.includes(`name: '${op.name}'`));
    if (!place) throw new Error(`no file of src/autograd/ops or src/functions exports or names the op ${op.name}`);
    place.ops.push(op);
  }
  const row = (op) => {
    const callable = op.name in everything;
    const name = callable ? op.name : `*${op.name}*`;
    const source = op.source ? ` (${op.source})` : '';
    return `| ${name}${op.compose ? ' ∘' : ''} | ${[op.equation + source, op.derivative, shapesOf(op), int32Of(op)].map(cell).join(' | ')} |`;
  };
  const sections = files
    .filter(({ ops }) => ops.length > 0)
    .map(({ file, text, ops }) =>
      [
        `## ${titleOf(text).replace(/\.$/, '')}`,
        '',
        `[${file}](../${file})`,
        '',
        '| op | equation | derivative | shapes | int32 |',
        '| --- | --- | --- | --- | --- |',
        ...ops.map(row),
        '',
      ].join('\n'),
    );
  return `${[head, ...sections].join('\n').trimEnd()}\n`;
}
