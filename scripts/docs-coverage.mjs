// docs/coverage.md from coverage.txt: what NumPy and PyTorch have, and what hopgrad calls it, or why not.
import { readFileSync } from 'node:fs';
import * as hopgrad from '../dist/index.js';

const entries = ['nn', 'testing', 'onnx', 'data'];
const modules = await Promise.all(entries.map((name) => import(`../dist/${name}/index.js`)));
const [nn] = modules;
const exported = new Set([hopgrad, ...modules].flatMap((module) => Object.keys(module)));
const members = new Set(
  [hopgrad.Tensor.prototype, nn.Module.prototype, nn.HalfTensor].flatMap(Object.getOwnPropertyNames).concat('shape'),
);
/** What code on the page may use beside them: numbers and names of the reader. */
const plain = new Set(['LN2', 'LN10', 'Math', 'f', 'g']);

const head = `# What NumPy and PyTorch call it

<!-- Generated from scripts/coverage.txt and the exports by \`npm run docs\`. -->

What people who come from NumPy or PyTorch look for, and what hopgrad calls it, or why it is not there. Axes are \`axis\` (never \`dim\`), and
\`keepDims\` is one word. What is written \`x.name()\` is a method of tensors and, as \`name(x)\`, a function of \`hopgrad\`; all others are
functions and classes of \`hopgrad\` or of the entry point that is named. A name like \`x.exp()\` stands for \`torch.exp\`, \`Tensor.exp\` and \`np.exp\`
alike. Differences of behaviour: [pitfalls.md](pitfalls.md), [limits.md](limits.md).
`;

const camel = (name) => name.replaceAll(/_+([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** hopgrad's own name for a name of theirs, where it has it. */
function found(theirs) {
  const name = camel(theirs.split('.').at(-1));
  if (typeof hopgrad.Tensor.prototype[name] === 'function') return `x.${name}(…)`;
  return exported.has(name) ? name : null;
}

/** @throws Error for code that uses names that do not exist */
function check(code, line) {
  for (const [, name] of code.matchAll(/(?<![.\w'])([A-Za-z]\w*)(?=\()/g))
    if (!exported.has(name) && !plain.has(name)) throw new Error(`coverage.txt: there is no ${name} (${line})`);
  for (const [, name] of code.matchAll(/(?<!\.\.)\.([a-z]\w*)/gi))
    if (!members.has(name) && !plain.has(name)) throw new Error(`coverage.txt: tensors have no ${name} (${line})`);
  if (/^[A-Za-z]\w*$/.test(code) && !exported.has(code)) throw new Error(`coverage.txt: there is no ${code} (${line})`);
}

const cell = (text) => text.replaceAll('|', '\\|');
const code = (text) => (text ? `\`${cell(text)}\`` : '');

/** One line as a row of the table. */
function row(line) {
  const [numpy = '', torch = '', idiom = '', remark = ''] = line.split(/\s*\|\s*/).map((part) => part.trim());
  if (idiom) check(idiom, line);
  const ours = idiom || [torch, numpy].flatMap((name) => (name && found(name)) ?? []).find(Boolean);
  if (!ours && !remark) throw new Error(`coverage.txt: ${line} has no name in hopgrad, and no word why`);
  return `| ${code(numpy)} | ${code(torch)} | ${ours ? code(ours) : '—'} | ${cell(idiom || !ours ? remark : '')} |`;
}

/** The code of the page, for a test to run. */
export function idioms() {
  return [...coveragePage().matchAll(/^\|(?:[^|]*\|){2} `([^`]*)` \|/gm)]
    .map(([, text]) => text)
    .filter((text) => !text.includes('…'));
}

/** @returns the page */
export function coveragePage() {
  const text = readFileSync(new URL('coverage.txt', import.meta.url), 'utf8');
  const sections = text.split(/^## /m).slice(1);
  const body = sections.map((section) => {
    const [title, ...lines] = section.split('\n').filter((line) => line.trim());
    return [
      `## ${title}`,
      '',
      '| NumPy | PyTorch | hopgrad | |',
      '| --- | --- | --- | --- |',
      ...lines.map(row),
      '',
    ].join('\n');
  });
  return `${[head, ...body].join('\n').trimEnd()}\n`;
}
