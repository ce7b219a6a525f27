/** Accessibility, as axe-core finds it. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Faults that keep someone from using a page, or what a selector names of it: of all kinds, of contrast alone, or of all others. */
export async function seriousFaults(
  page: Page,
  { within, contrast = 'too' }: { within?: string; contrast?: 'too' | 'only' | 'not' } = {},
): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in window))) {
    await page.evaluate(axe);
    // axe judges no colours over a gradient: frames that scroll go without their shadows.
    const framed = 'pre, .table, figure, .katex-block, .katex-display';
    await page.addStyleTag({ content: `${framed} { background-image: none !important; }` });
  }
  const rules = {
    too: {},
    only: { runOnly: ['color-contrast'] },
    not: { rules: { 'color-contrast': { enabled: false } } },
  };
  const { violations } = await page.evaluate(
    ([selector, rules]) =>
      (window as unknown as { axe: { run(context: Document | string, options: object): Promise<AxeResults> } }).axe.run(
        selector ?? document,
        { resultTypes: ['violations'], ...rules },
      ),
    [within, rules[contrast]] as const,
  );
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`.slice(0, 400));
}
