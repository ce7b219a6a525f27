/** The state of an explorable, kept in the address of its page: a reload, or a link, gives the same view. */

/** How one value of the state is written into the address and read back. */
export interface Field<T> {
  start: T;
  write(value: T): string;
  /** undefined for what is no such value: the start is taken then. */
  read(text: string): T | undefined;
}

export interface NumberField extends Field<number> {
  min: number;
  max: number;
  step: number;
}

/** A number in a range. */
export function number(start: number, range: { min: number; max: number; step: number }): NumberField {
  const read = (text: string) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    return Number.isFinite(value) ? Math.min(range.max, Math.max(range.min, value)) : undefined;
  };
  return { start, ...range, read, write: (value) => String(Number(value.toFixed(6))) };
}

export interface ChoiceField<T extends string> extends Field<T> {
  /** What each value is called on the page. */
  names: Record<T, string>;
}

/** One of some words. */
export function choice<T extends string>(start: T, names: Record<T, string>): ChoiceField<T> {
  return {
    start,
    names,
    read: (text) => (Object.hasOwn(names, text) ? (text as T) : undefined),
    write: (value) => value,
  };
}

/** Yes or no. */
export const flag = (start: boolean): Field<boolean> => ({
  start,
  read: (text) => (text === 'yes' || text === 'no' ? text === 'yes' : undefined),
  write: (value) => (value ? 'yes' : 'no'),
});

/** Any text up to a length. */
export const words = (start: string, longest = 4000): Field<string> => ({
  start,
  read: (text) => text.slice(0, longest),
  write: (value) => value,
});

type Fields<S> = { [K in keyof S]: Field<S[K]> };

/** Browsers refuse addresses that change too often (Safari: 100 times in 30 s). */
const leastMilliseconds = 400;

export class State<S extends object> {
  readonly #values: S;
  readonly #heard: ((values: S) => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly fields: Fields<S>) {
    const asked = new URLSearchParams(location.search);
    const value = (name: keyof S & string) => {
      const text = asked.get(name);
      return (text === null ? undefined : fields[name].read(text)) ?? fields[name].start;
    };
    const names = Object.keys(fields) as (keyof S & string)[];
    this.#values = Object.fromEntries(names.map((name) => [name, value(name)])) as S;
    addEventListener('pagehide', () => this.#write());
  }

  get values(): Readonly<S> {
    return this.#values;
  }

  /** Changes some values; listeners hear of all of them. */
  set(changes: Partial<S>): void {
    Object.assign(this.#values, changes);
    for (const listener of this.#heard) listener(this.#values);
    this.#timer ??= setTimeout(() => this.#write(), leastMilliseconds);
  }

  /** Calls a listener now and after every change. */
  hear(listener: (values: S) => void): void {
    this.#heard.push(listener);
    listener(this.#values);
  }

  /** Everything back to where it starts. */
  reset(): void {
    const names = Object.keys(this.fields) as (keyof S)[];
    this.set(Object.fromEntries(names.map((name) => [name, this.fields[name].start])) as S);
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const address = new URL(location.href);
    for (const name of Object.keys(this.fields) as (keyof S & string)[]) {
      const [text, start] = [this.#values[name], this.fields[name].start].map((v) => this.fields[name].write(v!));
      if (text === start) address.searchParams.delete(name);
      else address.searchParams.set(name, text!);
    }
    if (address.href !== location.href) history.replaceState(history.state, '', address);
  }
}
