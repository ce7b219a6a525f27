// Takes what ops say of themselves for people (equation, derivative, shapes, source) out of dist/autograd/ops/*.js, where it
// stands beside their code in src, and writes it to dist/inspect/descriptions.js: every page that makes a tensor has all
// ops, and few ask for their equations. What is cut becomes spaces, so that source maps stay true.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parse } from 'acorn';

const dist = new URL('../dist/', import.meta.url);
const told = new Set(['equation', 'derivative', 'shapes', 'source']);
const descriptions = {};

/** The text of a literal, undefined for anything else. */
function textOf(node) {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node.type === 'TemplateLiteral' && node.expressions.length === 0) return node.quasis[0].value.cooked;
  return undefined;
}

/** Every `defineX({ name: '…', … })` below a node. */
function* definitions(node) {
  if (Array.isArray(node)) for (const each of node) yield* definitions(each);
  else if (node && typeof node.type === 'string') {
    const [given] = node.arguments ?? [];
    if (node.type === 'CallExpression' && /^define/.test(node.callee.name ?? '') && given?.type === 'ObjectExpression')
      yield given.properties.filter((property) => property.type === 'Property');
    for (const part of Object.values(node)) if (part && typeof part === 'object') yield* definitions(part);
  }
}

for (const file of readdirSync(new URL('autograd/ops/', dist)).filter((name) => name.endsWith('.js'))) {
  const url = new URL(`autograd/ops/${file}`, dist);
  let text = readFileSync(url, 'utf8');
  for (const properties of definitions(parse(text, { ecmaVersion: 'latest', sourceType: 'module' }))) {
    const name = properties.map(({ key, value }) => (key.name === 'name' ? textOf(value) : undefined)).find(Boolean);
    if (!name) continue;
    for (const { key, value, start, end } of properties) {
      if (!told.has(key.name) || textOf(value) === undefined) continue;
      descriptions[name] ??= {};
      descriptions[name][key.name] = textOf(value);
      const after = text[end] === ',' ? end + 1 : end;
      text = text.slice(0, start) + text.slice(start, after).replace(/[^\n]/g, ' ') + text.slice(after);
    }
  }
  writeFileSync(url, text);
}
writeFileSync(
  new URL('inspect/descriptions.js', dist),
  `export const descriptions = ${JSON.stringify(descriptions, null, 2)};\n`,
);
rmSync(new URL('inspect/descriptions.js.map', dist), { force: true });
