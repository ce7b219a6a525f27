/** Derivatives to look at and to mend. */

export interface Program {
  /** The op is called `op`; imports are those of Node. */
  code: string;
  points: string;
  order: '1' | '2';
}

const unary = (
  name: string,
  equation: string,
  derivative: string,
  kernel: string,
  vjp: string,
  saves = '',
) => `import { defineUnary } from 'hopgrad';

const op = defineUnary({
  name: '${name}',
  equation: '${equation}',
  derivative: '${derivative}',
  kernel: (x) => ${kernel},${saves && `\n  saves: '${saves}',`}
  vjp: ({ gradOutput, ${saves === 'output' ? 'output: y' : 'inputs: [x]'} }) =>
    ${vjp},
});
`;

export const programs: Record<'cube' | 'hinge' | 'once' | 'logistic' | 'kink', Program> = {
  cube: {
    code: unary('myCube', 'y = x³', 'x̄ = 3x² ȳ', 'x * x * x', 'gradOutput.mul(x.square()).mul(2)'),
    points: '-1.5, 0, 0.5, 2',
    order: '1',
  },
  hinge: {
    code: unary(
      'myElu',
      'y = x for x > 0, else eˣ − 1',
      'x̄ = ȳ for x > 0, else ȳ eˣ',
      'x > 0 ? x : Math.exp(x) - 1',
      'x.greater(0).where(gradOutput, gradOutput.mul(x))',
    ),
    points: '-2, -0.5, 0.5, 2',
    order: '1',
  },
  once: {
    code: unary('mySquare', 'y = x²', 'x̄ = 2x ȳ', 'x * x', 'gradOutput.mul(x.detach()).mul(2)'),
    points: '-1, 0.5, 2',
    order: '2',
  },
  logistic: {
    code: unary(
      'myLogistic',
      'y = 1 / (1 + e⁻ˣ)',
      'x̄ = ȳ y (1 − y)',
      '1 / (1 + Math.exp(-x))',
      'gradOutput.mul(y).mul(y.neg().add(1))',
      'output',
    ),
    points: '-3, 0, 1',
    order: '2',
  },
  kink: {
    code: unary('myAbs', 'y = |x|', 'x̄ = ȳ sign x', 'Math.abs(x)', 'gradOutput.mul(x.sign())'),
    points: '-1, 0, 2',
    order: '1',
  },
};
export type ProgramName = keyof typeof programs;

/** The numbers of a list. @throws Error that says which is none */
export function parsePoints(text: string): number[] {
  const words = text.split(/[\s,;]+/).filter(Boolean);
  const points = words.map((word) => Number(word.replace('−', '-')));
  const wrong = words.find((_, i) => !Number.isFinite(points[i]));
  if (wrong !== undefined) throw new Error(`“${wrong}” is no number`);
  if (points.length === 0) throw new Error('Name a point or more, such as −1, 0.5, 2');
  if (points.length > 50) throw new Error(`${points.length} points: 50 at most`);
  return points;
}

/** What repeats a check in Node, as a module. */
export function nodeProgram(code: string, points: readonly number[], order: 1 | 2, seed: number): string {
  return `${code.trimEnd()}

import { assertGradients } from 'hopgrad/testing';
console.log(String(await assertGradients((x) => op(x), [[${points.join(', ')}]], { order: ${order}, seed: ${seed} })));
`;
}
