/** Sums of a scalar kernel's values, without the values ever being stored. */
import type { ScalarKernel } from '../device.js';
import { identityOf } from '../source/identity.js';
import { callable, type Layout, operandName, type Program, templateOf } from './programs.js';

/**
 * y[o][p][i] = Σ_t f(operands at [o][p · chunk + t][i]) for t < chunk within `length`: thread = (i, p, o). Operands are
 * flat and walked by [outer, length, inner] steps, of which 0 and 1 are written into the text; numbers have none. What
 * stays the same along the sum is read before it.
 */
export function sumProgram(
  f: ScalarKernel,
  strides: readonly (readonly number[] | null)[],
  chunk: number,
  length: number,
  { axes: [i, p, o], sizes, prelude }: Layout,
): { program: Program; values: number[] } {
  const whole = length % chunk === 0;
  const values = [chunk, ...(whole ? [] : [length]), ...Object.values(sizes)];
  for (const steps of strides) values.push(...(steps ?? []).filter((step) => step > 1));
  const steps = strides.map((axes) => axes?.map((step) => Math.min(step, 2)).join('') ?? 'n');
  const key = `sum ${identityOf(f).id}|${i},${p},${o}|${whole}|${steps}`;
  const { program } = templateOf(key, () => {
    const integers = ['chunk', ...(whole ? [] : ['total']), ...Object.keys(sizes)];
    const at = p === '0' ? 't' : `(${p} * chunk + t)`;
    const before: string[] = [];
    const reads = strides.map((axes, k) => {
      const name = operandName(k);
      if (!axes) return name;
      const terms = [o, at, i].flatMap((place, axis) => {
        if (axes[axis]! > 1) integers.push(`${name}${'OLI'[axis]}`);
        if (axes[axis] === 0 || place === '0') return [];
        return [axes[axis] === 1 ? place : `${place} * ${name}${'OLI'[axis]}`];
      });
      const read = `${name}[${terms.join(' + ') || '0'}]`;
      if (axes[1] !== 0) return read;
      before.push(`const ${name}Same = ${read};`);
      return `${name}Same`;
    });
    const called = callable(f);
    const names = [...strides.map((_, k) => operandName(k)), ...integers];
    const term = `sum += ${called.name}(${reads.join(', ')});`;
    return {
      given: [],
      program: {
        key,
        text: `function (${names.join(', ')}) {
${prelude}
${before.join('\n')}
let sum = 0;
for (let t = 0; t < chunk; t++) {
  ${whole ? term : `if (${at} < total) ${term}`}
}
return sum;
}`,
        functions: called.functions,
        types: [
          ...strides.map((axes) => (axes ? ('Array' as const) : ('Float' as const))),
          ...integers.map(() => 'Integer' as const),
        ],
        constants: {},
        components: 1,
      },
    };
  });
  return { program, values };
}
