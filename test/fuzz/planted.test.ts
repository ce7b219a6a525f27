/** The planted faults of `npm run fuzz -- --planted` are changes to what the sources are today. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { stepNames } from './build.js';
import { faults } from './planted.js';

describe('planted faults', () => {
  for (const { name, changes, steps } of faults)
    it(`can be put in: ${name}`, () => {
      for (const { file, text, after } of changes) {
        const source = readFileSync(new URL(`../../../src/${file}`, import.meta.url), 'utf8');
        assert.equal(source.split(after ?? text).length, 2, `${file} has ${after ?? text} once`);
        assert.ok(source.indexOf(text, source.indexOf(after ?? text)) >= 0, `${file} has ${text}`);
      }
      assert.ok(
        stepNames().some((step) => new RegExp(`^(${steps})$`).test(step)),
        steps,
      );
    });
});
