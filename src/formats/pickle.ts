/**
 * A reader of Python pickles that builds data and nothing else: numbers, texts, bytes, containers, and the few objects
 * that the caller allows by name. A pickle is a program that can call any function of Python; here every name that was
 * not allowed is refused before anything happens with it.
 *
 * @source Python's pickle protocol, versions 2 to 5 (Lib/pickletools.py describes the opcodes)
 */
import { DataError, printable } from '../tensor/errors.js';
import { asDataError } from './files.js';

/** Lists and tuples are arrays, dictionaries maps (in order of insertion). Integers beyond 2⁵³ are bigints. */
export type PickleValue = unknown;

export interface PickleOptions {
  /** The file, for errors. */
  label: string;
  /** Allowed names, `module.name`: what calling them with arguments gives. */
  globals: Readonly<Record<string, (args: readonly PickleValue[]) => PickleValue>>;
  /** What a persistent id stands for: data kept outside the pickle. */
  persistent: (id: PickleValue) => PickleValue;
}

/** An allowed name, before it is called. */
export class PickleGlobal {
  constructor(readonly name: string) {}
}

/**
 * Most steps of a pickle. A step makes at most one object, so this bounds time and memory (some 100 MB); the state dict of
 * the largest official model takes 30,000.
 */
const mostSteps = 2 ** 19;

/** @throws DataError for a malformed pickle, and naming what it asks for when that is not allowed */
export function unpickle(bytes: Uint8Array, options: PickleOptions): PickleValue {
  try {
    return new Unpickler(bytes, options).run();
  } catch (error) {
    throw asDataError('unpickle', options.label, error);
  }
}

class Unpickler {
  #position = 0;
  #stack: PickleValue[] = [];
  readonly #outer: PickleValue[][] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #view: DataView;
  /** Items handed to calls so far. */
  #handed = 0;

  constructor(
    readonly bytes: Uint8Array,
    readonly options: PickleOptions,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  run(): PickleValue {
    for (let step = 0; ; step++) {
      if (step === mostSteps) this.fail(`more than ${mostSteps} steps`, 'a state dict, without further data');
      const code = this.#take(1)[0]!;
      if (code === STOP) return this.pop();
      const action = opcodes.get(code);
      if (!action) this.fail(`opcode ${JSON.stringify(String.fromCharCode(code))}`, 'what torch.save writes');
      action!(this);
    }
  }

  fail(received: string, expected: string, hint?: string): never {
    throw new DataError('unpickle', {
      received: `${this.options.label}, byte ${this.#position}: ${received}`,
      expected,
      ...(hint && { hint }),
    });
  }

  #take(length: number): Uint8Array {
    const start = this.#position;
    if (!(length <= this.bytes.length - start)) this.fail('the pickle ends', `${length} more bytes`);
    this.#position += length;
    return this.bytes.subarray(start, this.#position);
  }

  /** A little-endian number of 1, 2, 4 or 8 bytes. */
  uint(size: 1 | 2 | 4 | 8): number {
    const at = this.#position;
    this.#take(size);
    if (size === 1) return this.#view.getUint8(at);
    if (size === 2) return this.#view.getUint16(at, true);
    return size === 4 ? this.#view.getUint32(at, true) : Number(this.#view.getBigUint64(at, true));
  }

  double(): number {
    const at = this.#position;
    this.#take(8);
    return this.#view.getFloat64(at);
  }

  /** A two's complement integer of `size` bytes. Through its digits: shifting byte by byte would take size² steps. */
  integer(size: number): number | bigint {
    const digits = Array.from(this.#take(size), (byte) => byte.toString(16).padStart(2, '0')).reverse();
    const value = BigInt.asIntN(8 * size, BigInt(`0x0${digits.join('')}`));
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  data(size: number): Uint8Array {
    return this.#take(size).slice();
  }

  text(size: number): string {
    return new TextDecoder().decode(this.#take(size));
  }

  line(): string {
    const end = this.bytes.indexOf(10, this.#position);
    if (end < 0) this.fail('the pickle ends', 'the end of a line');
    return this.text(end + 1 - this.#position).slice(0, -1);
  }

  push(value: PickleValue): void {
    this.#stack.push(value);
  }

  pop(): PickleValue {
    if (this.#stack.length === 0) this.fail('an empty stack', 'a value');
    return this.#stack.pop();
  }

  popMany(count: number): PickleValue[] {
    if (this.#stack.length < count) this.fail(`${this.#stack.length} values`, `${count} values`);
    return count === 0 ? [] : this.#stack.splice(-count);
  }

  mark(): void {
    this.#outer.push(this.#stack);
    this.#stack = [];
  }

  popToMark(): PickleValue[] {
    const values = this.#stack;
    const outer = this.#outer.pop();
    if (!outer) this.fail('no mark on the stack', 'a mark');
    this.#stack = outer!;
    return values;
  }

  remember(index = this.#memo.size): void {
    this.#memo.set(index, this.#stack.at(-1));
  }

  recall(index: number): void {
    if (!this.#memo.has(index)) this.fail(`memo ${index}`, 'a remembered value');
    this.push(this.#memo.get(index));
  }

  /** The container on top of the stack. */
  top<T>(kind: abstract new (...args: never[]) => T): T {
    const value = this.#stack.at(-1);
    if (!(value instanceof kind)) this.fail(`an item for ${typeof value}`, kind.name);
    return value as T;
  }

  setItems(items: PickleValue[]): void {
    const target = this.top<Map<PickleValue, PickleValue>>(Map);
    if (items.length % 2 === 1) this.fail('a key without a value', 'pairs');
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  }

  global(module: PickleValue, member: PickleValue): void {
    // Anything but text must not become one: a few nested lists are a text of gigabytes.
    if (typeof module !== 'string' || typeof member !== 'string') this.fail('a name that is no text', 'a text');
    const name = `${module}.${member}`;
    if (!Object.hasOwn(this.options.globals, name))
      this.fail(
        `the object ${printable(name, 100)}`,
        'tensors, containers, numbers and texts only',
        'Save the state dict alone, without other Python objects; nothing of this file was run.',
      );
    this.push(new PickleGlobal(name));
  }

  call(): void {
    const [callee, args] = this.popMany(2);
    if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) this.fail('a call of no function', 'a function');
    // What a call makes is as large as its lists, and a remembered list may be handed on again and again.
    for (const arg of args as PickleValue[]) this.#handed += Array.isArray(arg) ? arg.length : 1;
    if (this.#handed > this.bytes.length) this.fail('calls with the same lists again and again', 'lists used once');
    this.push(this.options.globals[callee.name]!(args as PickleValue[]));
  }

  /** Attributes of an object: of a state dict its version numbers, which nobody needs. */
  build(): void {
    this.pop();
    this.top(Map);
  }
}

const STOP = 0x2e;

/** What every opcode does, by its character and its name. */
const opcodes: ReadonlyMap<number, (p: Unpickler) => void> = new Map(
  (
    [
      ['\x80', (p) => p.uint(1)], // PROTO
      ['\x95', (p) => p.uint(8)], // FRAME
      ['N', (p) => p.push(null)], // NONE
      ['\x88', (p) => p.push(true)], // NEWTRUE
      ['\x89', (p) => p.push(false)], // NEWFALSE
      ['J', (p) => p.push(p.integer(4))], // BININT
      ['K', (p) => p.push(p.uint(1))], // BININT1
      ['M', (p) => p.push(p.uint(2))], // BININT2
      ['\x8a', (p) => p.push(p.integer(p.uint(1)))], // LONG1
      ['\x8b', (p) => p.push(p.integer(p.uint(4)))], // LONG4
      ['G', (p) => p.push(p.double())], // BINFLOAT, big-endian
      ['X', (p) => p.push(p.text(p.uint(4)))], // BINUNICODE
      ['\x8c', (p) => p.push(p.text(p.uint(1)))], // SHORT_BINUNICODE
      ['\x8d', (p) => p.push(p.text(p.uint(8)))], // BINUNICODE8
      ['U', (p) => p.push(p.text(p.uint(1)))], // SHORT_BINSTRING
      ['T', (p) => p.push(p.text(p.uint(4)))], // BINSTRING
      ['C', (p) => p.push(p.data(p.uint(1)))], // SHORT_BINBYTES
      ['B', (p) => p.push(p.data(p.uint(4)))], // BINBYTES
      ['\x8e', (p) => p.push(p.data(p.uint(8)))], // BINBYTES8
      ['(', (p) => p.mark()], // MARK
      ['1', (p) => void p.popToMark()], // POP_MARK
      ['0', (p) => void p.pop()], // POP
      ['}', (p) => p.push(new Map())], // EMPTY_DICT
      ['s', (p) => p.setItems(p.popMany(2))], // SETITEM
      ['u', (p) => p.setItems(p.popToMark())], // SETITEMS
      [']', (p) => p.push([])], // EMPTY_LIST
      ['a', (p) => extend(p, p.popMany(1))], // APPEND
      ['e', (p) => extend(p, p.popToMark())], // APPENDS
      [')', (p) => p.push([])], // EMPTY_TUPLE
      ['t', (p) => p.push(p.popToMark())], // TUPLE
      ['\x85', (p) => p.push(p.popMany(1))], // TUPLE1
      ['\x86', (p) => p.push(p.popMany(2))], // TUPLE2
      ['\x87', (p) => p.push(p.popMany(3))], // TUPLE3
      ['\x8f', (p) => p.push(new Set())], // EMPTY_SET
      ['\x90', (p) => addAll(p, p.popToMark())], // ADDITEMS
      ['\x91', (p) => p.push(new Set(p.popToMark()))], // FROZENSET
      ['q', (p) => p.remember(p.uint(1))], // BINPUT
      ['r', (p) => p.remember(p.uint(4))], // LONG_BINPUT
      ['\x94', (p) => p.remember()], // MEMOIZE
      ['h', (p) => p.recall(p.uint(1))], // BINGET
      ['j', (p) => p.recall(p.uint(4))], // LONG_BINGET
      ['c', (p) => p.global(p.line(), p.line())], // GLOBAL
      ['\x93', (p) => p.global(...(p.popMany(2) as [PickleValue, PickleValue]))], // STACK_GLOBAL
      ['Q', (p) => p.push(p.options.persistent(p.pop()))], // BINPERSID
      ['R', (p) => p.call()], // REDUCE
      ['b', (p) => p.build()], // BUILD
    ] as [string, (p: Unpickler) => void][]
  ).map(([code, action]) => [code.charCodeAt(0), action]),
);

function extend(p: Unpickler, items: PickleValue[]): void {
  const list = p.top<PickleValue[]>(Array);
  for (const item of items) list.push(item);
}

function addAll(p: Unpickler, items: PickleValue[]): void {
  const set = p.top<Set<PickleValue>>(Set);
  for (const item of items) set.add(item);
}
