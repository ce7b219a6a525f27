/**
 * The language of elementwise kernels: the part of JavaScript that means the same on every device. A kernel is a
 * function of numbers that sees nothing but its parameters, its own variables and Math. Its text is read here, the same
 * way for every device, before any of them runs it; what is not in the language is refused by name.
 */
import { KernelError } from '../../tensor/errors.js';
import { Reader } from './reader.js';
import {
  assignments,
  binding,
  type Expression,
  isEffect,
  loop,
  mathConstants,
  mathFunctions,
  type Parsed,
  type Program,
  returns,
  type Statement,
} from './syntax.js';

/**
 * Reads a kernel's text. @throws KernelError naming what is not in the language
 *
 * @param name what the kernel is called in the error
 */
export function readKernel(name: string, text: string): Program {
  return new Parser(new Reader(text, (received, hint) => broken(name, received, hint))).kernel();
}

function broken(name: string, received: string, hint?: string): KernelError {
  return new KernelError(name, {
    received,
    expected: 'a function of numbers, of its parameters, its own variables and Math alone',
    hint:
      hint ??
      'A kernel may declare and assign variables, use if, for, while and return, arithmetic, comparisons, ?: and Math functions.',
  });
}

interface Variable {
  unique: string;
  /** Constants may not be assigned, and nothing be read that has no value yet. */
  state: 'empty' | 'variable' | 'constant';
}

class Parser {
  /** What the names in scope stand for, innermost last. */
  readonly #scopes: Map<string, Variable>[] = [];
  #count = 0;

  constructor(readonly reader: Reader) {}

  kernel(): Program {
    const { reader } = this;
    const text = reader.text.trim();
    if (/\{\s*\[native code\]\s*\}$/.test(text))
      throw reader.fail('a native or bound function, whose text cannot be read', 'Write it out: (x) => Math.sin(x).');
    if (reader.is('async')) throw reader.fail('an async function', 'A kernel is a plain function of numbers.');
    if (reader.is('class')) throw reader.fail('a class', 'A kernel is a plain function of numbers.');
    const declared = reader.take('function');
    if (reader.is('*')) throw reader.fail('a generator', 'A kernel is a plain function of numbers.');
    const parameters: string[] = [];
    if (reader.name() && reader.after() === '=>') parameters.push(reader.identifier());
    else {
      if (reader.name()) reader.identifier();
      reader.expect('(');
      while (!reader.take(')')) {
        if (!reader.name())
          throw reader.fail(`a parameter that is no plain name, at ${reader.where()}`, 'Parameters are numbers.');
        parameters.push(reader.identifier());
        if (reader.is('=')) throw reader.fail(`a default value, at ${reader.where()}`, 'Every operand is given.');
        if (!reader.is(')')) reader.expect(',');
      }
    }
    this.#scopes.push(new Map(parameters.map((unique) => [unique, { unique, state: 'variable' }])));
    const arrow = !declared && reader.take('=>');
    let body: Statement[];
    if (arrow && !reader.is('{')) {
      body = [];
      this.#finish(this.#assignable(), body);
    } else {
      reader.expect('{');
      body = this.#block();
    }
    if (!reader.end()) throw reader.fail(`more than one function, at ${reader.where()}`);
    if (!returns(body)) throw reader.fail('a function with a path that returns nothing', 'End every path with return.');
    return { parameters, body };
  }

  /** Statements up to the closing brace. */
  #block(): Statement[] {
    this.#scopes.push(new Map());
    const statements: Statement[] = [];
    while (!this.reader.take('}')) this.#statement(statements);
    this.#scopes.pop();
    return statements;
  }

  /** A statement, or a block, on its own. */
  #body(): Statement[] {
    const statements: Statement[] = [];
    this.#scopes.push(new Map());
    this.#statement(statements);
    this.#scopes.pop();
    return statements;
  }

  #statement(out: Statement[]): void {
    const { reader } = this;
    if (reader.take(';')) return;
    if (reader.take('{')) {
      out.push(...this.#block());
      return;
    }
    for (const word of ['let', 'const', 'var'])
      if (reader.take(word)) {
        this.#declarations(word === 'const' ? 'constant' : 'variable', out);
        reader.take(';');
        return;
      }
    if (reader.take('if')) {
      reader.expect('(');
      const test = this.#hoisted(this.#sequence(), out);
      reader.expect(')');
      const yes = this.#body();
      const no = reader.take('else') ? this.#body() : [];
      out.push({ kind: 'if', test, yes, no });
      return;
    }
    if (reader.take('for')) {
      this.#for(out);
      return;
    }
    if (reader.take('while')) {
      reader.expect('(');
      const test = this.#expression();
      reader.expect(')');
      out.push({ kind: 'while', test, body: this.#body() });
      return;
    }
    if (reader.take('return')) {
      if (reader.is(';') || reader.is('}')) throw reader.fail('return without a value', 'Return a number.');
      this.#finish(this.#sequence(), out);
      reader.take(';');
      return;
    }
    for (const word of ['do', 'switch', 'break', 'continue', 'try', 'throw', 'function', 'class'])
      if (reader.is(word)) throw reader.fail(`the statement ${word}, at ${reader.where()}`);
    this.#effects(this.#sequence(), out);
    reader.take(';');
  }

  #declarations(kind: 'variable' | 'constant', out: Statement[]): string[] {
    const names: string[] = [];
    do {
      if (!this.reader.name()) throw this.reader.fail(`a pattern, at ${this.reader.where()}`, 'Declare plain names.');
      const name = this.reader.identifier();
      const variable: Variable = { unique: `${name}#${++this.#count}`, state: 'empty' };
      this.#scopes.at(-1)!.set(name, variable);
      const value: Expression = this.reader.take('=')
        ? this.#hoisted(this.#assignable(), out)
        : { kind: 'number', value: 0 };
      out.push({ kind: 'declare', name: variable.unique, value });
      variable.state = kind;
      names.push(name);
    } while (this.reader.take(','));
    return names;
  }

  #for(out: Statement[]): void {
    const { reader } = this;
    reader.expect('(');
    this.#scopes.push(new Map());
    const inner: Statement[] = [];
    if (!reader.is(';')) {
      if (reader.take('let') || reader.take('var') || reader.take('const')) this.#declarations('variable', inner);
      else this.#effects(this.#sequence(), inner);
    }
    if (reader.is('of') || reader.is('in')) throw reader.fail(`for … ${reader.peek()}`, 'Count: for (let i = 0; …).');
    reader.expect(';');
    if (reader.is(';')) throw reader.fail('a loop without a condition', 'Say when it ends.');
    const test = this.#expression();
    reader.expect(';');
    const step: Statement[] = [];
    if (!reader.is(')')) this.#effects(this.#sequence(), step);
    reader.expect(')');
    const body = this.#body();
    this.#scopes.pop();
    out.push(...loop(inner, test, step, body));
  }

  /** What is returned, after what a minifier has put before it. */
  #finish(parsed: Parsed, out: Statement[]): void {
    if (parsed.kind === 'sequence') {
      for (const item of parsed.items.slice(0, -1)) this.#effects(item, out);
      this.#finish(parsed.items.at(-1)!, out);
    } else if (parsed.kind === 'guarded' && parsed.yes && parsed.no) {
      const [yes, no]: [Statement[], Statement[]] = [[], []];
      this.#finish(parsed.yes, yes);
      this.#finish(parsed.no, no);
      out.push({ kind: 'if', test: parsed.test, yes, no });
    } else out.push({ kind: 'return', value: this.#hoisted(parsed, out) });
  }

  /** A value whose assignments, where they come before all else, are made statements of their own. */
  #hoisted(parsed: Parsed, out: Statement[]): Expression {
    if (parsed.kind === 'sequence') {
      for (const item of parsed.items.slice(0, -1)) this.#effects(item, out);
      return this.#hoisted(parsed.items.at(-1)!, out);
    }
    if (parsed.kind !== 'assignment') return this.#value(parsed);
    this.#effects(parsed, out);
    return { kind: 'name', name: parsed.name };
  }

  /** An expression as a statement. */
  #effects(parsed: Parsed, out: Statement[]): void {
    switch (parsed.kind) {
      case 'sequence':
        for (const item of parsed.items) this.#effects(item, out);
        return;
      case 'assignment':
        out.push({ kind: 'assign', name: parsed.name, value: parsed.value });
        return;
      case 'guarded': {
        const [yes, no]: [Statement[], Statement[]] = [[], []];
        if (parsed.yes) this.#effects(parsed.yes, yes);
        if (parsed.no) this.#effects(parsed.no, no);
        out.push({ kind: 'if', test: parsed.test, yes, no });
        return;
      }
      default: // a value that nothing uses, as minifiers leave behind
    }
  }

  #value(parsed: Parsed): Expression {
    if (isEffect(parsed))
      throw this.reader.fail(
        `an assignment inside an expression, before ${this.reader.where()}`,
        'Make it a statement of its own.',
      );
    return parsed;
  }

  /** Values between commas are dropped, as minifiers leave them behind; only assignments have an effect. */
  #sequence(): Parsed {
    const effects: Parsed[] = [];
    let last = this.#assignable();
    while (this.reader.take(',')) {
      if (isEffect(last)) effects.push(last);
      last = this.#assignable();
    }
    return effects.length === 0 ? last : { kind: 'sequence', items: [...effects, last] };
  }

  #expression(): Expression {
    return this.#value(this.#assignable());
  }

  /** An assignment, or a value. */
  #assignable(): Parsed {
    const { reader } = this;
    if (reader.name() && assignments.includes(reader.after())) {
      const name = this.#variable(reader.identifier());
      const op = reader.next();
      const right = this.#expression();
      const own: Expression = { kind: 'name', name };
      const value: Expression = op === '=' ? right : { kind: 'binary', op: op.slice(0, -1), a: own, b: right };
      return { kind: 'assignment', name, value };
    }
    const condition = this.#binary(0);
    if (!reader.take('?')) return condition;
    const test = this.#value(condition);
    const yes = this.#assignable();
    reader.expect(':');
    const no = this.#assignable();
    if (isEffect(yes) || isEffect(no)) return { kind: 'guarded', test, yes, no };
    return { kind: 'conditional', test, a: yes, b: no };
  }

  /** What an assigned name stands for. */
  #variable(name: string): string {
    const { unique, state } = this.#lookup(name);
    if (state === 'constant') throw this.reader.fail(`an assignment to the constant ${name}`, 'Declare it with let.');
    return unique;
  }

  #lookup(name: string): Variable {
    const variable = this.#scopes.findLast((scope) => scope.has(name))?.get(name);
    if (!variable) throw this.#unknown(name);
    if (variable.state === 'empty') throw this.reader.fail(`${name} before it has a value`, 'Take another name.');
    return variable;
  }

  #unknown(name: string): KernelError {
    if (name === 'Infinity' || name === 'NaN')
      return this.reader.fail(`${name}, which graphics languages do not have`, 'Give it as a number operand of zip.');
    return this.reader.fail(
      `${name}, which is neither a parameter nor declared inside`,
      'A kernel cannot see what is outside of it (no closures): write the number into its text, or give it as an operand of zip.',
    );
  }

  #binary(least: number): Parsed {
    const { reader } = this;
    let a: Parsed = this.#unary();
    for (;;) {
      const op = reader.peek();
      const strength = binding[op];
      if (strength === undefined || strength <= least) {
        if (['|', '&', '^', '<<', '>>', '>>>', '??', 'in', 'instanceof'].includes(op))
          throw reader.fail(
            `the operator ${op}, at ${reader.where()}`,
            'For whole numbers use Math.floor or Math.trunc.',
          );
        return a;
      }
      reader.next();
      const right = this.#binary(op === '**' ? strength - 1 : strength);
      const left = this.#value(a);
      if (isEffect(right) && op === '&&') a = { kind: 'guarded', test: left, yes: right, no: null };
      else if (isEffect(right) && op === '||') a = { kind: 'guarded', test: left, yes: null, no: right };
      else a = { kind: 'binary', op, a: left, b: this.#value(right) };
    }
  }

  #unary(): Parsed {
    const { reader } = this;
    for (const op of ['-', '+', '!'])
      if (reader.take(op)) {
        const x = this.#value(this.#unary());
        if (op !== '!' && reader.is('**')) throw reader.fail(`${op}x ** y, at ${reader.where()}`, 'Add parentheses.');
        return { kind: 'unary', op, x };
      }
    for (const op of ['++', '--']) if (reader.take(op)) return this.#counted(reader.identifier(), op);
    for (const op of ['~', 'typeof', 'void', 'delete', 'new', 'await', 'yield'])
      if (reader.is(op)) throw reader.fail(`the operator ${op}, at ${reader.where()}`);
    const name = reader.peek();
    const x = this.#primary();
    if (reader.is('++') || reader.is('--')) {
      if (x.kind !== 'name') throw reader.fail(`${reader.peek()} of what is no variable`);
      return this.#counted(name, reader.next());
    }
    return x;
  }

  #counted(name: string, op: string): Parsed {
    const unique = this.#variable(name);
    const own: Expression = { kind: 'name', name: unique };
    const value: Expression = { kind: 'binary', op: op[0]!, a: own, b: { kind: 'number', value: 1 } };
    return { kind: 'assignment', name: unique, value };
  }

  #primary(): Parsed {
    const { reader } = this;
    const number = reader.number();
    if (number !== null) return { kind: 'number', value: number };
    if (reader.take('(')) {
      const inside = this.#sequence();
      reader.expect(')');
      return inside;
    }
    if (!reader.name()) throw reader.fail(`${reader.peek() || 'the end'} at ${reader.where()}`);
    const name = reader.identifier();
    if (name === 'Math' && !this.#scopes.some((scope) => scope.has(name))) return this.#math();
    if (name === 'true' || name === 'false') return { kind: 'number', value: Number(name === 'true') };
    if (reader.is('('))
      throw reader.fail(
        `a call of ${name}`,
        'A kernel may call functions of Math and no others: write the arithmetic into it.',
      );
    const { unique } = this.#lookup(name);
    if (reader.is('.') || reader.is('[')) throw reader.fail(`a property of ${name}`, 'Operands are plain numbers.');
    return { kind: 'name', name: unique };
  }

  #math(): Expression {
    const { reader } = this;
    if (!reader.take('.')) throw reader.fail('Math by itself', 'Use its functions: Math.exp(x).');
    const name = reader.identifier();
    if (!reader.is('(')) {
      if (!(mathConstants as readonly string[]).includes(name)) throw reader.fail(`Math.${name} as a value`);
      return { kind: 'number', value: Math[name as (typeof mathConstants)[number]] };
    }
    const counts = Object.hasOwn(mathFunctions, name) ? mathFunctions[name]! : null;
    if (!counts)
      throw reader.fail(`Math.${name}`, `Math has these everywhere: ${Object.keys(mathFunctions).join(', ')}.`);
    reader.expect('(');
    const args: Expression[] = [];
    while (!reader.take(')')) {
      args.push(this.#expression());
      if (!reader.is(')')) reader.expect(',');
    }
    if (args.length < counts[0] || args.length > counts[1])
      throw reader.fail(`Math.${name} of ${args.length} numbers`, `It takes ${counts[0]}.`);
    return { kind: 'call', name, args };
  }
}
