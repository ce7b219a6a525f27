// `npm run docs` writes the pages of docs/ that are made from the registry of ops and the exports of dist/;
// with --check it only says which of them are stale.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { coveragePage } from './docs-coverage.mjs';
import { opsPage } from './docs-ops.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = { 'docs/ops.md': await opsPage(), 'docs/coverage.md': coveragePage() };

const stale = Object.entries(pages).filter(([name, text]) => {
  const file = join(root, name);
  return !existsSync(file) || readFileSync(file, 'utf8') !== text;
});
if (process.argv.includes('--check')) {
  if (stale.length > 0) {
    const names = stale.map(([name]) => name).join(', ');
    console.error(
      `stale: ${names}. Run \`npm run docs\` (after a build \`node scripts/docs.mjs\`), and commit what it writes.`,
    );
    process.exitCode = 1;
  }
} else for (const [name, text] of stale) writeFileSync(join(root, name), text);
