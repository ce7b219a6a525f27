/**
 * Who a kernel is. hopgrad's own are named where they are defined, in words that no bundler changes, and a device may
 * have a faster form of them under that name. Every other function is its text and nothing else: it runs as it is
 * written, whatever it is called.
 */
import { describeValue, KernelError, UsageError } from '../../tensor/errors.js';
import { RecentlyUsed } from '../recent.js';
import { readKernel } from './language.js';
import { type AnyKernel, ownName } from './own.js';
import { texts } from './texts.js';

export interface KernelIdentity {
  /** What it is called in messages. */
  readonly name: string;
  /** One of hopgrad's own: only then does the name say what it computes. */
  readonly builtIn: boolean;
  readonly text: string;
  /** Different for different texts. */
  readonly id: string;
  /** How many numbers it takes. */
  readonly operands: number;
  /** A function that its text calls and that is written in WGSL. */
  readonly native?: NativeFunction;
}

/** A function in WGSL for a text to call: named fn_ and its name there. Whole numbers are i32 in it. */
export interface NativeFunction {
  readonly name: string;
  readonly source: string;
  readonly argumentTypes: Readonly<Record<string, 'Integer'>>;
  readonly returnType: 'Array(4)';
  /** How many points of the grid along x and y one thread computes: so many times fewer threads are started there. */
  readonly tile: readonly [number, number];
}

const known = new WeakMap<AnyKernel, KernelIdentity>();
/** One identity for all functions of one text: those written anew at every call must not pile up. */
const byText = new RecentlyUsed<KernelIdentity>(1024);
let count = 0;

/** A kernel that is only a text, put together by `write`, for devices that compile texts. */
export function textKernel(name: string, write: () => string, native?: NativeFunction): AnyKernel {
  const kernel = () => {
    throw new UsageError(name, { received: 'a call', expected: 'a device that compiles the text' });
  };
  known.set(kernel, { name, builtIn: true, text: write(), id: name, operands: 0, ...(native && { native }) });
  return kernel;
}

/** Who `kernel` is. @throws KernelError when it is not one of hopgrad's own and its text breaks the rules of kernels */
export function identityOf(kernel: AnyKernel): KernelIdentity {
  let identity = known.get(kernel);
  if (!identity) {
    const own = ownName(kernel);
    if (own !== undefined)
      identity = { name: own, builtIn: true, text: texts[own] ?? kernel.toString(), id: own, operands: kernel.length };
    else identity = identityOfText(kernel);
    known.set(kernel, identity);
  }
  return identity;
}

function identityOfText(kernel: AnyKernel): KernelIdentity {
  if (typeof kernel !== 'function')
    throw new KernelError('kernel', {
      received: describeValue(kernel),
      expected: 'a function of numbers: (x) => x * x',
    });
  const name = kernel.name || 'kernel';
  const given = kernel.toString();
  return byText.get(given, () => {
    const { parameters } = readKernel(name, given);
    const text = /^[\w$]+\s*\(/.test(given) && !/^function\b/.test(given) ? `function ${given}` : given; // a method
    return { name, builtIn: false, text, id: `#${++count}`, operands: parameters.length };
  });
}

/** Who `kernel` is, as one of `operands` numbers. @throws KernelError when it takes more or fewer, and as {@link identityOf} */
export function kernelOf(kernel: AnyKernel, operands: number): KernelIdentity {
  const identity = identityOf(kernel);
  if (identity.operands !== operands)
    throw new KernelError(identity.name, {
      received: `a function of ${identity.operands} numbers for ${operands} operands`,
      expected: `a function of ${operands}`,
      hint: 'map gives one number, zip two.',
    });
  return identity;
}
