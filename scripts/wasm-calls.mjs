// The call from TypeScript to WebAssembly, both sides of it made from the signatures in src/kernels/wasm/assembly.
//
// A kernel is an exported function there whose first parameter is a Chunk; one of a type T is made for float32 and for
// float64, and TypeScript chooses by the argument `dtype`. It writes the other arguments as
// float64 into a fixed place, by name (generated/calls.ts); all threads read them from it and call the kernel
// (assembly/generated.ts). Numbers of kernels and of elementwise operations, enums and exported constants are carried
// over as well, so that nothing of this is written twice.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** How an argument of a type is read at position i. ListN is the address of N numbers that follow each other. */
const readers = {
  i32: (i) => `size(${i})`,
  usize: (i) => `address(${i})`,
  f64: (i) => `number(${i})`,
  bool: (i) => `size(${i}) != 0`,
};
const listLength = (type) => Number(/^List(\d+)$/.exec(type)?.[1] ?? 0);
/** Places for arguments, see assembly/pool.ts. */
const most = 64;
const note = (sources) => `// Made by scripts/wasm-calls.mjs from ${sources}. Not to be edited.\n`;
const lowered = (name) => name[0].toLowerCase() + name.slice(1);

/** @returns kernels with their parameters and positions, operations, enums and constants of the AssemblyScript sources */
function parse(folder) {
  const kernels = [];
  const operations = [];
  const enums = {};
  const constants = {};
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith('.ts') || file === 'generated.ts') continue;
    const text = readFileSync(join(folder, file), 'utf8');
    for (const [, name, generic, rest] of text.matchAll(
      /^export function (\w+)(<T>)?\(\s*\w+: Chunk\b([^)]*)\): void/gm,
    )) {
      let position = 0;
      const parameters = [...rest.matchAll(/(\w+):\s*(\w+)/g)].map(([, parameter, type]) => {
        const length = listLength(type);
        if (!length && !readers[type]) throw new Error(`${file}: ${name} has a parameter of type ${type}`);
        const at = position;
        position += length || 1;
        return { name: parameter, type, length, at };
      });
      if (position > most) throw new Error(`${file}: ${name} has ${position} arguments, more than ${most}`);
      const number = kernels.reduce((count, { types }) => count + types.length, 0);
      kernels.push({ name, file, parameters, number, types: generic ? ['f32', 'f64'] : [null] });
    }
    for (const [, name] of text.matchAll(/^export class (\w+)(?: extends Long)? \{\n {2}@inline apply<T>\(/gm))
      operations.push(name);
    for (const [, name, members] of text.matchAll(/^export enum (\w+) \{([^}]*)\}/gm))
      enums[name] = [...members.matchAll(/\w+/g)].map(([member]) => member);
    for (const [, name, value] of text.matchAll(/^export const (\w+): (?:i32|usize) = (\d+);/gm))
      constants[name] = value;
  }
  return { kernels, operations, enums, constants };
}

/** assembly/generated.ts: calls a kernel by its number, and an elementwise operation by its. */
function assemblySide({ kernels, operations }) {
  const files = [...new Set(kernels.map(({ file }) => file))];
  const imports = files.map((file) => {
    const names = kernels.filter((kernel) => kernel.file === file).map(({ name }) => name);
    return `import { ${names.join(', ')} } from './${file.replace('.ts', '')}';`;
  });
  const calls = kernels.flatMap(({ name, parameters, types }) => {
    const values = parameters.map(({ type, length, at }) => (length ? `list(${at})` : readers[type](at)));
    return types.map((type) => ({
      own: `${name}_${type ?? 'any'}`,
      call: `${name}${type ? `<${type}>` : ''}(${['chunk', ...values].join(', ')})`,
    }));
  });
  return `${note('the signatures of this folder')}${imports.join('\n')}
import { each } from './elementwise';
import { ${operations.join(', ')} } from './operations';
import { address, list, number, size } from './pool';

// Exported, so that a kernel stays a function of its own: in one with all others, V8 makes it fast only with all of them.
${calls.map(({ own, call }) => `export function ${own}(chunk: i32): void { ${call}; }`).join('\n')}

export function execute(kernel: i32, chunk: i32): void {
  switch (kernel) {
${calls.map(({ own }, i) => `    case ${i}: ${own}(chunk); break;`).join('\n')}
  }
}

export function applyRow<T>(op: i32, out: usize, a: usize, b: usize, c: usize, vectors: i32, da: usize, db: usize, dc: usize): void {
  switch (op) {
${operations.map((name, i) => `    case ${i}: each<${name}, T>(out, a, b, c, vectors, da, db, dc); break;`).join('\n')}
  }
}
`;
}

/** generated/calls.ts: for each kernel a function that writes its arguments and gives its number. */
function callingSide({ kernels, operations, enums, constants }) {
  const functions = kernels.map(({ name, file, parameters, number, types: [, double] }) => {
    const types = parameters.map(({ name: key, type, length }) =>
      length ? `${key}: readonly number[]` : `${key}: ${type === 'bool' ? 'boolean' : 'number'}`,
    );
    if (double) types.unshift('dtype: DType');
    const writes = parameters.map(({ name: key, type, length, at }) =>
      length
        ? `  for (let i = 0; i < ${length}; i++) list[${at} + i] = x.${key}[i] ?? 0;`
        : `  list[${at}] = ${type === 'bool' ? `Number(x.${key})` : `x.${key}`};`,
    );
    return `/** assembly/${file} */
export function ${name}(list: Float64Array, x: { ${types.join('; ')} }): number {
${writes.join('\n')}
  return ${double ? `x.dtype === 'float64' ? ${number + 1} : ${number}` : number};
}
`;
  });
  const numbered = (names) => `{ ${names.map((name, i) => `${name}: ${i}`).join(', ')} } as const`;
  return `${note('the signatures in ../assembly')}import type { DType } from '../../../tensor/dtype.js';

${Object.entries(constants)
  .map(([name, value]) => `export const ${name} = ${value};`)
  .join('\n')}
${Object.entries(enums)
  .map(([name, members]) => `export const ${name} = ${numbered(members)};`)
  .join('\n')}
/** Elementwise operations by the names of their scalar kernels. */
export const operations: Readonly<Record<string, number>> = ${numbered(operations.map(lowered))};

${functions.join('\n')}`;
}

function writeIfChanged(path, text) {
  try {
    if (readFileSync(path, 'utf8') === text) return;
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** @param folder src/kernels/wasm */
export function writeCalls(folder) {
  const parsed = parse(join(folder, 'assembly'));
  writeIfChanged(join(folder, 'assembly/generated.ts'), assemblySide(parsed));
  writeIfChanged(join(folder, 'generated/calls.ts'), callingSide(parsed));
}
