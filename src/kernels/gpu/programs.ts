/**
 * From kernel texts to gpu.js kernels. One compiled kernel serves all sizes: the integer constants of a text become
 * arguments, and the axes of the grid that have size 1 are taken out, so that [1, n] runs as [n].
 */
import { KernelError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import type { ScalarKernel } from '../device.js';
import { RecentlyUsed } from '../recent.js';
import { identityOf, type NativeFunction } from '../source/identity.js';
import type { SourceKernel } from '../source/kernel.js';
import type { Grid } from '../source-device.js';
import { type Printed, printKernel } from './print.js';

/** A kernel text ready for gpu.js, and what to call it with. */
export interface Program {
  /** Equal keys mean equal text and types, and results of one rank (of two on webgl2). */
  key: string;
  text: string;
  /** Texts of named functions that it calls. */
  functions: string[];
  /** Per parameter of the text: an array, or a number of a type. */
  types: readonly ('Array' | 'Float' | 'Integer')[];
  constants: Record<string, number>;
  /** Elements that a thread returns: neighbours in the result. */
  components: 1 | 4;
  native?: NativeFunction;
}

/** How a grid is put on the device. */
export interface Layout {
  /** Sizes for gpu.js, x first. */
  output: number[];
  /** What stands for this.thread.x, y and z. */
  axes: readonly [string, string, string];
  /** Integers that `prelude` needs. */
  sizes: Record<string, number>;
  /** Statements that compute the coordinates. */
  prelude: string;
}

/** What limits a grid: sizes along x, y and z of a dispatch, and whether two axes go to x and z instead of x and y. */
export interface GridLimits {
  x: number;
  y: number;
  z: number;
  /** gpu.js gives a two-dimensional result a texture of exactly that shape, however long; [x, 1, z] it makes square. */
  skipY: boolean;
}

/** float32 counts exactly up to here. */
export const exactLimit = 2 ** 24;

/** @throws KernelError when a grid fits neither directly nor flattened */
export function layoutGrid(grid: Grid, limits: GridLimits): Layout {
  const places = [0, 1, 2].filter((axis) => (grid[axis] ?? 1) > 1);
  const sizes = places.map((axis) => grid[axis]!);
  const names = ['this.thread.x', 'this.thread.y', 'this.thread.z'];
  const axes: [string, string, string] = ['0', '0', '0'];
  const place = (expressions: readonly string[]) => {
    places.forEach((axis, i) => {
      axes[axis] = expressions[i]!;
    });
    return axes;
  };
  if (places.length <= 1) return { output: [sizeOf(sizes)], axes: place(names), sizes: {}, prelude: '' };
  const within = sizes.every((size, i) => size <= [limits.x, limits.y, limits.z][i]!);
  if (within && places.length === 2 && limits.skipY)
    return { output: [sizes[0]!, 1, sizes[1]!], axes: place([names[0]!, names[2]!]), sizes: {}, prelude: '' };
  if (within) return { output: sizes, axes: place(names), sizes: {}, prelude: '' };
  return flattened(sizes, place);
}

/**
 * One long dispatch whose index i is taken apart as i = p + P (q + Q r). The quotient of two float32 can be off, and
 * local variables are float32: so the quotient is a guess, corrected by its remainder, which integers give exactly.
 */
function flattened(sizes: readonly number[], place: (expressions: readonly string[]) => Layout['axes']): Layout {
  const [p, q, r = 1] = sizes as [number, number, number?];
  if (p >= exactLimit || q * r >= exactLimit)
    throw new KernelError('gpu.js', {
      received: `a grid of ${sizes.join(' × ')}`,
      expected: `at most ${exactLimit} along its first axis and along the others together`,
      hint: 'Reshape the tensor so that its axes are more alike.',
    });
  const divide = (index: string, by: string, quotient: string, rest: string) =>
    [
      `let ${quotient} = Math.floor((${index}) / ${by});`,
      `let ${rest} = (${index}) - (${quotient} | 0) * ${by};`,
      `${quotient} = ${quotient} + Math.floor((${rest} + 0.5) / ${by});`,
      `${rest} = (${index}) - (${quotient} | 0) * ${by};`,
      `if (${rest} >= ${by}) { ${quotient} = ${quotient} + 1; ${rest} = ${rest} - ${by}; }`,
      `if (${rest} < 0) { ${quotient} = ${quotient} - 1; ${rest} = ${rest} + ${by}; }`,
    ].join('\n');
  const first = divide('this.thread.x', 'gridP', sizes.length === 3 ? 'gridT' : 'gridQ', 'gridI');
  return {
    output: [sizeOf(sizes)],
    axes: place(['(gridI | 0)', sizes.length === 3 ? '(gridJ | 0)' : '(gridQ | 0)', '(gridK | 0)']),
    sizes: { gridP: p, ...(sizes.length === 3 && { gridS: q }) },
    prelude: sizes.length === 3 ? `${first}\n${divide('(gridT | 0)', 'gridS', 'gridK', 'gridJ')}` : first,
  };
}

/** Constants that change what a kernel does rather than how large it is: compiled in, so that the compiler can use them. */
const compiledIn = new Set([
  ...['kernelHeight', 'kernelWidth', 'kernelY', 'kernelX'],
  ...['strideY', 'strideX', 'paddingY', 'paddingX'],
]);

/** A scalar kernel as a function of a program. */
export function callable(f: ScalarKernel): Printed {
  const { name, text } = identityOf(f);
  return printKernel(name, text);
}

/**
 * `a !== b` as not (a === b): shading languages may, and SPIR-V's ordered comparison does, call NaN ≠ NaN false, while
 * NaN = NaN is false everywhere.
 */
function withTrueInequality(text: string): string {
  return text.replace(/([\w.]+) !== ([\w.]+)/g, '!($1 === $2)');
}

/** A function's parameters and body, and the constants that it uses. */
interface Parsed {
  parameters: string[];
  body: string;
  used: string[];
}

const texts = new WeakMap<SourceKernel, Parsed>();

/** Takes a function's own text apart. */
function parse(kernel: SourceKernel): Parsed {
  let parsed = texts.get(kernel);
  if (!parsed) {
    const { name, text } = identityOf(kernel);
    const match = /^function\s*\w*\s*\(([^)]*)\)\s*\{([\s\S]*)\}$/.exec(text);
    if (!match)
      throw new KernelError(name, {
        received: text.slice(0, 60),
        expected: 'a plain function: `function name(x) { … }`',
      });
    const body = withTrueInequality(match[2]!);
    const used = [...new Set([...body.matchAll(/this\.constants\.(\w+)/g)].map((found) => found[1]!))];
    parsed = { parameters: match[1]!.split(',').map((name) => name.trim()), body, used };
    texts.set(kernel, parsed);
  }
  return parsed;
}

/** A program, and where the integers come from that are appended to its arguments. */
interface Template {
  program: Program;
  /** Names of the constants among them, which come first. */
  given: readonly string[];
}

/** A text is put together once; afterwards a launch only looks it up. */
export function templateOf(key: string, make: () => Template): Template {
  return templates.get(key, make);
}

/** A source kernel on a layout. `numbers` tells which inputs are numbers; `values` are the integers to append. */
export function sourceProgram(
  kernel: SourceKernel,
  numbers: readonly boolean[],
  constants: Record<string, number>,
  { axes, sizes, prelude }: Layout,
  components: 1 | 4 = 1,
): { program: Program; values: number[] } {
  const { parameters, body, used } = parse(kernel);
  const baked = used.filter((name) => compiledIn.has(name)).map((name) => constants[name]!);
  const { id, native } = identityOf(kernel);
  const key = `${id}|${axes[0]},${axes[1]},${axes[2]}|${baked}`;
  const { program, given } = templateOf(key, () => {
    const given = used.filter((name) => !compiledIn.has(name));
    const argument = (name: string) => `given${name[0]!.toUpperCase()}${name.slice(1)}`;
    const names = [...parameters, ...given.map(argument), ...Object.keys(sizes)];
    const placed = body
      .replace(/this\.constants\.(\w+)/g, (whole, name: string) => (compiledIn.has(name) ? whole : argument(name)))
      .replace(/this\.thread\.([xyz])/g, (_, axis: string) => axes['xyz'.indexOf(axis)]!);
    const program: Program = {
      key,
      text: `function (${names.join(', ')}) {\n${prelude}\n${placed}\n}`,
      functions: [],
      types: [
        ...numbers.map((number) => (number ? ('Float' as const) : ('Array' as const))),
        ...given.map(() => 'Integer' as const),
        ...Object.keys(sizes).map(() => 'Integer' as const),
      ],
      constants: Object.fromEntries(
        used.filter((name) => compiledIn.has(name)).map((name) => [name, constants[name]!]),
      ),
      components,
      ...(native && { native }),
    };
    return { program, given };
  });
  return { program, values: [...given.map((name) => constants[name]!), ...Object.values(sizes)] };
}

/** Names of a text's operands. */
export const operandName = (k: number) => 'abcdefgh'[k] ?? `operand${k}`;

/** A scalar kernel of operands, by their numbers, and of other formulas. */
export interface Formula {
  f: ScalarKernel;
  args: readonly (Formula | number)[];
}

/** f of all operands, in their order. */
export const simpleFormula = (f: ScalarKernel, operands: number): Formula => ({
  f,
  args: Array.from({ length: operands }, (_, i) => i),
});

/** Equal for equal formulas. */
export const formulaKey = ({ f, args }: Formula): string =>
  `${identityOf(f).id}(${args.map((arg) => (typeof arg === 'number' ? arg : formulaKey(arg)))})`;

/** The text of a formula whose operands are read by `reads`. */
export const formulaText = ({ f, args }: Formula, reads: readonly string[]): string =>
  `${callable(f).name}(${args.map((arg) => (typeof arg === 'number' ? reads[arg] : formulaText(arg, reads))).join(', ')})`;

/** All functions that a formula calls, each once. */
export const formulaFunctions = ({ f, args }: Formula): string[] => [
  ...new Set([
    ...callable(f).functions,
    ...args.flatMap((arg) => (typeof arg === 'number' ? [] : formulaFunctions(arg))),
  ]),
];

/**
 * y_i = formula(operands_i): each array operand is flat and walked by its strides (innermost first), a number is the same
 * for all. Strides of 0 and 1 are written into the text, others are arguments.
 */
export function elementwiseProgram(
  formula: Formula,
  strides: readonly (readonly number[] | null)[],
  { axes, sizes, prelude }: Layout,
  components: 1 | 4 = 1,
): { program: Program; values: number[] } {
  const values = Object.values(sizes);
  let key = `${formulaKey(formula)}|${components}|${axes[0]},${axes[1]},${axes[2]}|`;
  const used = (axis: number) => axes[axis] !== '0' || (axis === 0 && components === 4);
  for (const steps of strides) {
    key += steps === null ? 'n' : 'a';
    steps?.forEach((step, axis) => {
      if (!used(axis)) return;
      if (step > 1) values.push(step);
      key += Math.min(step, 2);
    });
  }
  const { program } = templateOf(key, () => {
    const integers = Object.keys(sizes);
    strides.forEach((steps, k) => {
      steps?.forEach((step, axis) => {
        if (step > 1 && used(axis)) integers.push(`${operandName(k)}${'XYZ'[axis]}`);
      });
    });
    /** The operands of the neighbour `c` of a thread's first. */
    const reads = (c: number) =>
      strides.map((steps, k) => {
        const name = operandName(k);
        if (steps === null) return name;
        const terms = steps.flatMap((step, axis) => {
          if (step === 0 || !used(axis)) return [];
          const place = axis === 0 && components === 4 ? `(${axes[0]} * 4 + ${c})` : axes[axis]!;
          return [step === 1 ? place : `${place} * ${name}${'XYZ'[axis]}`];
        });
        return `${name}[${terms.join(' + ') || '0'}]`;
      });
    const names = [...strides.map((_, k) => operandName(k)), ...integers];
    const results = Array.from({ length: components }, (_, c) => formulaText(formula, reads(c)));
    const program: Program = {
      key,
      text: `function (${names.join(', ')}) {\n${prelude}\nreturn ${components === 1 ? results[0] : `[${results.join(', ')}]`};\n}`,
      functions: formulaFunctions(formula),
      types: [
        ...strides.map((steps) => (steps === null ? ('Float' as const) : ('Array' as const))),
        ...integers.map(() => 'Integer' as const),
      ],
      constants: {},
      components,
    };
    return { program, given: [] };
  });
  return { program, values };
}

const templates = new RecentlyUsed<Template>(2048);

/** Settings of gpu.js for a program, apart from the output. */
export function kernelSettings({ functions, types, constants, native }: Program): Record<string, unknown> {
  return {
    functions,
    ...(native && { nativeFunctions: [native] }),
    constants,
    constantTypes: Object.fromEntries(Object.keys(constants).map((name) => [name, 'Integer'])),
    argumentTypes: types.map((type) => (type === 'Array' ? 'Input' : type)),
    loopMaxIterations: 2 ** 31 - 1, // gpu.js cuts loops whose bound is an argument at this number, 1000 by default
    precision: 'single',
    tactic: 'precision',
  };
}
