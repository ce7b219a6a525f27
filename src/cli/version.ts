/** What package.json says. */
import { createRequire } from 'node:module';

export const { version, description } = createRequire(import.meta.url)('hopgrad/package.json') as {
  version: string;
  description: string;
};
