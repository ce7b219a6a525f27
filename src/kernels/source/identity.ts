/**
 * Who a kernel is. hopgrad's own are named where they are defined, in words that no bundler changes, and a device may
 * have a faster form of them under that name. Every other function is its text and nothing else: it runs as it is
 * written, whatever it is called.
 */
import { UsageError } from '../../tensor/errors.js';
import { RecentlyUsed } from '../recent.js';
import { texts } from './texts.js';

export interface KernelIdentity {
  /** What it is called in messages. */
  readonly name: string;
  /** One of hopgrad's own: only then does the name say what it computes. */
  readonly builtIn: boolean;
  readonly text: string;
  /** Different for different texts. */
  readonly id: string;
}

// biome-ignore lint/suspicious/noExplicitAny: kernels of all kinds
type AnyKernel = (...args: any[]) => number;

const own = new Map<string, AnyKernel>();
const known = new WeakMap<AnyKernel, KernelIdentity>();
/** One identity for all functions of one text: those written anew at every call must not pile up. */
const byText = new RecentlyUsed<KernelIdentity>(1024);
let count = 0;

/**
 * Declares kernels of hopgrad's own, by name: `builtIn({ add, sub })`.
 * @throws UsageError when the name is that of another kernel
 */
export function builtIn(kernels: Record<string, AnyKernel>): void {
  for (const [name, kernel] of Object.entries(kernels)) {
    const before = own.get(name);
    if (before === kernel) continue;
    if (before)
      throw new UsageError('builtIn', { received: `a second kernel named ${name}`, expected: 'one kernel of a name' });
    own.set(name, kernel);
    known.set(kernel, { name, builtIn: true, text: texts[name] ?? kernel.toString(), id: name });
  }
}

/** A kernel that is only a text, put together by `write`, for devices that compile texts. */
export function textKernel(name: string, write: () => string): AnyKernel {
  const kernel = () => {
    throw new UsageError(name, { received: 'a call', expected: 'a device that compiles the text' });
  };
  known.set(kernel, { name, builtIn: true, text: write(), id: name });
  return kernel;
}

/** hopgrad's own kernels by name, as far as their modules are loaded. */
export function builtInKernels(): ReadonlyMap<string, AnyKernel> {
  return own;
}

/** Who `kernel` is. */
export function identityOf(kernel: AnyKernel): KernelIdentity {
  let identity = known.get(kernel);
  if (!identity) {
    const text = kernel.toString();
    identity = byText.get(text, () => ({ name: kernel.name || 'kernel', builtIn: false, text, id: `#${++count}` }));
    known.set(kernel, identity);
  }
  return identity;
}
