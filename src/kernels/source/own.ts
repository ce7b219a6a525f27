/**
 * The names of hopgrad's own kernels. Apart from identity.ts, which knows their texts and reads those of others: that comes
 * with the devices, which a page loads when it asks for them.
 */
import { UsageError } from '../../tensor/errors.js';

// biome-ignore lint/suspicious/noExplicitAny: kernels of all kinds
export type AnyKernel = (...args: any[]) => number;

const own = new Map<string, AnyKernel>();
const names = new WeakMap<AnyKernel, string>();

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
    names.set(kernel, name);
  }
}

/** The name of one of hopgrad's own kernels, by which it was last declared; undefined for all others. */
export function ownName(kernel: AnyKernel): string | undefined {
  return names.get(kernel);
}

/** hopgrad's own kernels by name, as far as their modules are loaded. */
export function builtInKernels(): ReadonlyMap<string, AnyKernel> {
  return own;
}
