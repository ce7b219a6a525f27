/** fast-check, where it is installed: only the generators need it, gradient checks do not. */
import { UsageError } from '../tensor/errors.js';

const found = await import('fast-check').then(
  (module) => ({ module, error: null }),
  (error: unknown) => ({ module: null, error }),
);

/** @throws UsageError where fast-check could not be loaded, with the reason as its cause */
export function fastCheck(op: string): typeof import('fast-check').default {
  if (found.module) return found.module.default;
  const error = new UsageError(op, {
    received: `no fast-check (${found.error})`,
    expected: 'fast-check, which draws the values',
    hint: 'npm install --save-dev fast-check',
  });
  error.cause = found.error;
  throw error;
}
