import type { OpDefinition } from '../autograd/op.js';

/**
 * What hopgrad's ops say of themselves for people, by name. In dist/ the build puts here what it takes out of the ops'
 * modules (`scripts/build-descriptions.mjs`), so that a page without describe() is without it. Empty before that.
 */
export const descriptions: Readonly<
  Record<string, Partial<Pick<OpDefinition<void>, 'equation' | 'derivative' | 'shapes' | 'source'>>>
> = {};
