/** Sums of a scalar kernel's values, without the values ever being stored. */
import type { ScalarKernel } from '../device.js';
import { identityOf } from '../source/identity.js';
import { callable, type Layout, operandNames, type Program, templateOf } from './programs.js';

/**
 * y[o][p][i] = Σ_t f(operands at [o][p · chunk + t][i]) for t < chunk within `length`: thread = (i, p, o). Operands are
 * flat and walked by [outer, length, inner] steps; numbers have none.
 */
export function sumProgram(
  f: ScalarKernel,
  strides: readonly (readonly number[] | null)[],
  chunk: number,
  length: number,
  { axes: [i, p, o], sizes, prelude }: Layout,
): { program: Program; values: number[] } {
  const values = [chunk, length, ...Object.values(sizes), ...strides.flatMap((steps) => steps ?? [])];
  const key = `sum ${identityOf(f).id}|${i},${p},${o}|${strides.map((steps) => (steps ? 'a' : 'n')).join('')}`;
  const { program } = templateOf(key, () => {
    const integers = ['chunk', 'total', ...Object.keys(sizes)];
    const at = `(${p} * chunk + t)`;
    const reads = strides.map((steps, k) => {
      const name = operandNames[k]!;
      if (!steps) return name;
      integers.push(`${name}O`, `${name}L`, `${name}I`);
      return `${name}[${o} * ${name}O + ${at} * ${name}L + ${i} * ${name}I]`;
    });
    const called = callable(f);
    const names = [...operandNames.slice(0, strides.length), ...integers];
    return {
      given: [],
      program: {
        key,
        text: `function (${names.join(', ')}) {
${prelude}
let sum = 0;
for (let t = 0; t < chunk; t++) {
  if (${at} < total) sum += ${called.name}(${reads.join(', ')});
}
return sum;
}`,
        functions: called.functions,
        types: [
          ...strides.map((steps) => (steps ? ('Array' as const) : ('Float' as const))),
          ...integers.map(() => 'Integer' as const),
        ],
        constants: {},
        components: 1,
      },
    };
  });
  return { program, values };
}
