/**
 * Kernels with an elementwise step at their end: where only that step reads what a kernel gives, and reads it element by element, the kernel
 * gives what the step would. So a product adds its bias, a sum is divided, a part that is cut out is scaled, without a kernel of its own.
 */
import { sizeOf } from '../../tensor/shape.js';
import { type Form, inOrder, isInOrder, mostArrays } from './fuse.js';
import { formulaFunctions, formulaKey, formulaText, type Layout, type Program } from './programs.js';

/** Where the thread of an element stands: sizes of the result, innermost first, and what stands for its coordinates there. */
export interface Ending {
  sizes: readonly [number, number, number];
  axes: Layout['axes'];
}

/** Strides over a result of `sizes` (innermost first) for what is read by `strides` over `shape`; null where that cannot be said. */
function over([nx, ny, nz]: Ending['sizes'], shape: readonly number[], strides: readonly number[]): number[] | null {
  const whole = [nz, ny, nx];
  const pairs = shape.map((length, axis) => [length, strides[axis]!] as const).filter(([length]) => length > 1);
  const lengths = (list: readonly number[]) => list.filter((length) => length > 1).join();
  if (pairs.map(([length]) => length).join() === lengths(whole)) {
    const steps = pairs.map(([, step]) => step);
    return whole.map((length) => (length > 1 ? steps.shift()! : 0));
  }
  if (isInOrder(strides, shape)) return inOrder(whole);
  // Rows of all matrices in one.
  const [rows, columns] = shape;
  if (shape.length === 2 && rows === nz * ny && columns === nx) return [ny * strides[0]!, strides[0]!, strides[1]!];
  return null;
}

/**
 * `program` with an elementwise step at its end, which has its result as operand `at`: its arguments are those of the program, the step's
 * other operands, and `values`. null where the text has no place for it, or there would be too many arrays.
 */
export function ended(
  program: Program,
  { sizes, axes }: Ending,
  { formula, shape, strides }: Form,
  at: number,
): { program: Program; values: number[] } | null {
  const { components, text } = program;
  const parts = /^function \(([^)]*)\) \{([\s\S]*)\breturn ([^;]+);\s*\}$/.exec(text);
  const results = components === 1 ? [parts?.[3]] : /^\[(\w+), (\w+), (\w+), (\w+)\]$/.exec(parts?.[3] ?? '')?.slice(1);
  if (program.native || !parts || !results || /\breturn\b/.test(parts[2]!)) return null;
  if (sizeOf(shape) !== sizeOf(sizes) || !isInOrder(strides[at]!, shape)) return null;
  const steps = strides.map((own) => own && over(sizes, shape, own));
  if (steps.some((own, k) => own === null && strides[k] !== null)) return null;
  const others = steps.filter((_, k) => k !== at);
  const arrays = program.types.filter((type) => type === 'Array').length + others.filter((own) => own !== null).length;
  if (arrays > mostArrays) return null;
  const values: number[] = [];
  const integers: string[] = [];
  const name = (k: number) => `end${k}`;
  const places = steps.map((own, k) =>
    own?.map((step, i) => {
      const axis = 2 - i;
      const there = axes[axis] !== '0' || (axis === 0 && components === 4);
      if (step === 0 || k === at || !there) return null;
      if (step === 1) return { axis, factor: '' };
      values.push(step);
      integers.push(`${name(k)}${'XYZ'[axis]}`);
      return { axis, factor: ` * ${integers.at(-1)}` };
    }),
  );
  const reads = (c: number) =>
    places.map((own, k) => {
      if (k === at) return results[c]!;
      if (!own) return name(k);
      const terms = own.flatMap((place) => {
        if (!place) return [];
        const { axis, factor } = place;
        return [`${axis === 0 && components === 4 ? `(${axes[0]} * 4 + ${c})` : axes[axis]}${factor}`];
      });
      return `${name(k)}[${terms.join(' + ') || '0'}]`;
    });
  const ends = results.map((_, c) => formulaText(formula, reads(c)));
  const operands = steps.flatMap((_, k) => (k === at ? [] : [name(k)]));
  const names = [parts[1], ...operands, ...integers].filter(Boolean).join(', ');
  return {
    values,
    program: {
      ...program,
      key: `${program.key}>${formulaKey(formula)}@${at}|${steps.map((own) => own?.map((step) => Math.min(step, 2)).join('') ?? 'n')}`,
      text: `function (${names}) {${parts[2]}return ${components === 1 ? ends[0] : `[${ends.join(', ')}]`};\n}`,
      functions: [...new Set([...program.functions, ...formulaFunctions(formula)])],
      types: [
        ...program.types,
        ...others.map((own) => (own ? ('Array' as const) : ('Float' as const))),
        ...integers.map(() => 'Integer' as const),
      ],
    },
  };
}
