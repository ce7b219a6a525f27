/** What a kernel is when it has been read: statements and expressions of numbers. */

export type Expression =
  | { kind: 'number'; value: number }
  | { kind: 'name'; name: string }
  | { kind: 'unary'; op: string; x: Expression }
  | { kind: 'binary'; op: string; a: Expression; b: Expression }
  | { kind: 'conditional'; test: Expression; a: Expression; b: Expression }
  /** Math.name(args) */
  | { kind: 'call'; name: string; args: Expression[] };

export type Statement =
  | { kind: 'declare'; name: string; value: Expression }
  | { kind: 'assign'; name: string; value: Expression }
  | { kind: 'if'; test: Expression; yes: Statement[]; no: Statement[] }
  | { kind: 'while'; test: Expression; body: Statement[] }
  /** for (let name = from; name < to; name++), with whole numbers that are known. */
  | { kind: 'count'; name: string; from: number; to: number; body: Statement[] }
  | { kind: 'return'; value: Expression };

/** Every variable has a name of its own here, also one that hides another in its text. */
export interface Program {
  parameters: string[];
  body: Statement[];
}

/** The functions of Math that are in the language, and how many numbers they take. */
export const mathFunctions: Readonly<Record<string, readonly [least: number, most: number]>> = {
  ...Object.fromEntries(
    [
      ...['abs', 'sign', 'floor', 'ceil', 'trunc', 'round', 'sqrt', 'cbrt'],
      ...['exp', 'expm1', 'log', 'log1p', 'log2', 'log10'],
      ...['sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'sinh', 'cosh', 'tanh', 'asinh', 'acosh', 'atanh'],
    ].map((name) => [name, [1, 1] as const]),
  ),
  ...Object.fromEntries(['pow', 'atan2', 'hypot', 'imul'].map((name) => [name, [2, 2] as const])),
  min: [1, 8],
  max: [1, 8],
};

export const mathConstants = ['E', 'LN10', 'LN2', 'LOG10E', 'LOG2E', 'PI', 'SQRT1_2', 'SQRT2'] as const;

/** How tightly operators bind; all but ** from the left. */
export const binding: Record<string, number> = {
  ...{ '||': 1, '&&': 2 },
  ...{ '==': 3, '!=': 3, '===': 3, '!==': 3 },
  ...{ '<': 4, '>': 4, '<=': 4, '>=': 4 },
  ...{ '+': 5, '-': 5, '*': 6, '/': 6, '%': 6, '**': 7 },
};
export const assignments = ['=', '+=', '-=', '*=', '/=', '%=', '**='];

/** A for loop: counted, where it counts up by one between numbers that are known; else a while loop. */
export function loop(before: Statement[], test: Expression, step: Statement[], body: Statement[]): Statement[] {
  const first = before.at(-1);
  if (first?.kind === 'declare' && isWhole(first.value) && step.length === 1 && isIncrement(step[0]!, first.name)) {
    const { name } = first;
    const counts = test.kind === 'binary' && test.op === '<' && test.a.kind === 'name' && test.a.name === name;
    if (counts && isWhole(test.b) && !assigns(body, name)) {
      const [from, to] = [first.value.value, test.b.value];
      return [...before.slice(0, -1), { kind: 'count', name, from, to, body }];
    }
  }
  return [...before, { kind: 'while', test, body: [...body, ...step] }];
}

function isWhole(e: Expression): e is { kind: 'number'; value: number } {
  return e.kind === 'number' && Number.isInteger(e.value) && e.value < 2 ** 24;
}

/** name = name + 1 */
function isIncrement(s: Statement, name: string): boolean {
  if (s.kind !== 'assign' || s.name !== name || s.value.kind !== 'binary') return false;
  const { op, a, b } = s.value;
  return op === '+' && a.kind === 'name' && a.name === name && b.kind === 'number' && b.value === 1;
}

function assigns(statements: readonly Statement[], name: string): boolean {
  return statements.some((s) => {
    if (s.kind === 'assign' || s.kind === 'declare') return s.name === name;
    if (s.kind === 'if') return assigns(s.yes, name) || assigns(s.no, name);
    return s.kind !== 'return' && assigns(s.body, name);
  });
}

/** Whether every path through the statements ends in a return. */
export function returns(statements: readonly Statement[]): boolean {
  return statements.some((s) => s.kind === 'return' || (s.kind === 'if' && returns(s.yes) && returns(s.no)));
}

/** What may stand where an expression does: values, and in statements also assignments, with conditions before them. */
export type Parsed = Expression | Effect;
export type Effect =
  | { kind: 'assignment'; name: string; value: Expression }
  | { kind: 'sequence'; items: Parsed[] }
  | { kind: 'guarded'; test: Expression; yes: Parsed | null; no: Parsed | null };

/** Whether what was read changes a variable, or may: only statements hold such. */
export function isEffect(parsed: Parsed): parsed is Effect {
  return parsed.kind === 'assignment' || parsed.kind === 'sequence' || parsed.kind === 'guarded';
}
