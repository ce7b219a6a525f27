/**
 * Kernels of the language (../source/language.ts) as functions of gpu.js. Variables get names of their own, since shading
 * languages have an exp, a sample, a half …; truth and numbers are told apart, which those languages do and JavaScript
 * does not; `a !== b` becomes not (a === b), since NaN ≠ NaN may be false there while NaN = NaN is false everywhere; and
 * every number is a variable, since gpu.js guesses from `1` and what stands around it whether an integer is meant.
 */
import { KernelError } from '../../tensor/errors.js';
import { identityOf } from '../source/identity.js';
import { readKernel } from '../source/language.js';
import type { Expression, Program, Statement } from '../source/syntax.js';
import { wholeFunction } from './whole.js';

/** Functions of Math that every mode of gpu.js has as JavaScript has them. */
const own = new Set(['abs', 'floor', 'ceil', 'sqrt']);

export interface Printed {
  name: string;
  /** The function, after those that it calls. */
  functions: string[];
}

/** The function under a name. `self`: the function of Math that it stands for, which is gpu.js's own inside of it. */
function print(name: string, { parameters, body }: Program, self?: string): Printed {
  const called = new Map<string, Printed>();
  const names = new Map<string, string>();
  let count = 0;
  const declare = (variable: string) => {
    const own = `v${count++}`;
    names.set(variable, own);
    return own;
  };
  const constants = new Map<number, string>();
  const constant = (value: number) => {
    if (!constants.has(value)) constants.set(value, `c${count++}`);
    return constants.get(value)!;
  };

  /** A function of Math, by the name that it has here. */
  const math = (f: string) => {
    if (own.has(f) || f === self) return `Math.${f}`;
    const whole = wholeFunction(f);
    if (!whole) throw new KernelError(name, { received: `Math.${f}`, expected: 'a function that gpu.js has' });
    let printed = called.get(f);
    if (!printed) {
      printed = print(`whole_${f}`, readKernel(f, identityOf(whole).text), f);
      called.set(f, printed);
    }
    return printed.name;
  };

  const isTruth = (e: Expression): boolean =>
    (e.kind === 'unary' && e.op === '!') ||
    (e.kind === 'binary' && (/^[=!<>]/.test(e.op) || (['&&', '||'].includes(e.op) && isTruth(e.a) && isTruth(e.b))));

  /** As a number. */
  const number = (e: Expression): string => {
    if (isTruth(e)) return `(${truth(e)} ? ${constant(1)} : ${constant(0)})`;
    switch (e.kind) {
      case 'number':
        return constant(e.value);
      case 'name':
        return names.get(e.name)!;
      case 'unary':
        return e.op === '-' ? `(-${number(e.x)})` : number(e.x);
      case 'conditional':
        return `(${truth(e.test)} ? ${number(e.a)} : ${number(e.b)})`;
      case 'call': {
        const args = e.args.map(number);
        if (e.name === 'min' || e.name === 'max')
          return args.reduceRight((rest, a) => `${math(e.name)}(${a}, ${rest})`);
        return `${math(e.name)}(${args.join(', ')})`;
      }
      case 'binary': {
        if (e.op === '&&') return `(${truth(e.a)} ? ${number(e.b)} : ${number(e.a)})`;
        if (e.op === '||') return `(${truth(e.a)} ? ${number(e.a)} : ${number(e.b)})`;
        if (e.op === '**') return `${math('pow')}(${number(e.a)}, ${number(e.b)})`;
        if (e.op === '%') return `${math('remainder')}(${number(e.a)}, ${number(e.b)})`;
        return `(${number(e.a)} ${e.op} ${number(e.b)})`;
      }
    }
  };

  /** As what a condition asks for: a number is true unless it is 0 or NaN. */
  const truth = (e: Expression): string => {
    if (e.kind === 'unary' && e.op === '!') return `!(${truth(e.x)})`;
    if (e.kind === 'binary' && (e.op === '&&' || e.op === '||')) return `(${truth(e.a)} ${e.op} ${truth(e.b)})`;
    if (!isTruth(e)) return `(Math.abs(${number(e)}) > ${constant(0)})`;
    const { op, a, b } = e as { op: string; a: Expression; b: Expression };
    if (op === '!==' || op === '!=') return `!(${number(a)} === ${number(b)})`;
    return `(${number(a)} ${op === '==' ? '===' : op} ${number(b)})`;
  };

  const block = (statements: readonly Statement[]): string => statements.map(statement).join('\n');

  const statement = (s: Statement): string => {
    switch (s.kind) {
      case 'declare': {
        const value = number(s.value);
        return `let ${declare(s.name)} = ${value};`;
      }
      case 'assign':
        return `${names.get(s.name)!} = ${number(s.value)};`;
      case 'return':
        return `return ${number(s.value)};`;
      case 'if': {
        const no = s.no.length > 0 ? ` else {\n${block(s.no)}\n}` : '';
        return `if (${truth(s.test)}) {\n${block(s.yes)}\n}${no}`;
      }
      case 'while':
        return `while (${truth(s.test)}) {\n${block(s.body)}\n}`;
      case 'count': {
        // gpu.js keeps the counter as an integer; what the kernel sees of it is a number like any other.
        const counter = `i${count++}`;
        const copy = `let ${declare(s.name)} = ${counter};`;
        const text = `for (let ${counter} = ${s.from}; ${counter} < ${s.to}; ${counter}++) {\n${copy}\n${block(s.body)}\n}`;
        return text;
      }
    }
  };

  const given = parameters.map((_, i) => `p${i}`);
  // Shading languages may not allow an assignment to a parameter.
  const copies = parameters.map((parameter, i) => `let ${declare(parameter)} = ${given[i]};`);
  const statements = block(body);
  const numbers = [...constants].map(([value, constant]) => `let ${constant} = ${value};`);
  const text = `function ${name}(${given.join(', ')}) {\n${[...numbers, ...copies, statements].join('\n')}\n}`;
  return { name, functions: [...new Set([...called.values()].flatMap(({ functions }) => functions)), text] };
}

/** A scalar kernel for gpu.js. */
export function printKernel(name: string, text: string): Printed {
  return print(`scalar_${name.replaceAll(/\W/g, '')}`, readKernel(name, text));
}
