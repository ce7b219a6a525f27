/** A kernel's text in tokens: names, numbers and signs, without comments. */
import type { KernelError } from '../../tensor/errors.js';

const skipped = /(?:\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;
const token =
  /(?:0[xX][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?n?|[\p{ID_Start}$_][\p{ID_Continue}$]*|>>>=?|\*\*=?|[=!]==?|=>|<<=?|>>=?|&&=?|\|\|=?|\?\?=?|\?\.(?!\d)|\+\+|--|[-+*/%<>&|^]=|\.\.\.|[^\s])/uy;

/** Reads tokens one after the other; `fail` makes the error of what does not fit. */
export class Reader {
  /** Where the next token begins. */
  position = 0;
  #next = '';
  #after = 0;

  constructor(
    readonly text: string,
    readonly fail: (received: string, hint?: string) => KernelError,
  ) {
    this.#scan();
  }

  #scan(): void {
    [this.position, this.#next, this.#after] = this.#tokenAt(this.#after);
  }

  #tokenAt(from: number): [start: number, token: string, end: number] {
    skipped.lastIndex = from;
    skipped.exec(this.text);
    token.lastIndex = skipped.lastIndex;
    const start = token.lastIndex;
    const found = token.exec(this.text)?.[0] ?? '';
    return [start, found, start + found.length];
  }

  /** The next token, '' at the end. */
  peek(): string {
    return this.#next;
  }

  /** The one after it. */
  after(): string {
    return this.#tokenAt(this.#after)[1];
  }

  is(sign: string): boolean {
    return this.#next === sign;
  }

  next(): string {
    const now = this.#next;
    this.#scan();
    return now;
  }

  take(sign: string): boolean {
    if (this.#next !== sign) return false;
    this.#scan();
    return true;
  }

  expect(sign: string): void {
    if (!this.take(sign)) throw this.fail(`${this.where()} where ${sign} is expected`);
  }

  /** Whether the next token is a name. */
  name(): boolean {
    return /^[\p{ID_Start}$_]/u.test(this.#next);
  }

  identifier(): string {
    if (!this.name()) throw this.fail(`${this.where()} where a name is expected`);
    return this.next();
  }

  /** A number, if there is one. */
  number(): number | null {
    if (!/^\.?\d/.test(this.#next)) return null;
    const text = this.next();
    const value = Number(text.replaceAll('_', ''));
    if (!(value <= 3.4028234663852886e38)) throw this.fail(`the number ${text}, beyond float32`);
    return value;
  }

  end(): boolean {
    return this.#next === '';
  }

  /** The next few words, for messages. */
  where(): string {
    const rest = this.text.slice(this.position, this.position + 24).split('\n')[0]!;
    return rest ? `"${rest}"` : 'the end';
  }
}
