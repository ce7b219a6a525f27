/** Schedules against PyTorch's schedulers (test/fixtures/schedules.py), step by step. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DomainError } from 'hopgrad';
import { chained, constantRate, exponentialDecay, linearRate, oneCycle, type Schedule, stepDecay } from 'hopgrad/nn';
import { fixture, relativeError } from '../../helpers.js';

const golden: Record<string, number[]> = JSON.parse(readFileSync(fixture('schedules.json'), 'utf8'));

const schedules: Record<string, Schedule> = {
  linear: linearRate({ from: 0.1, to: 0.4, steps: 7 }),
  step: stepDecay({ lr: 0.4, every: 6, factor: 0.3 }),
  exponential: exponentialDecay({ lr: 0.4, factor: 0.9 }),
  oneCycle: oneCycle({ lr: 0.4, total: 21, rise: 0.4 }),
  chained: chained([constantRate(0.2), 8], [exponentialDecay({ lr: 0.4, factor: 0.8 })]),
};

describe('schedules of PyTorch', () => {
  for (const [name, expected] of Object.entries(golden))
    it(`${name} gives the same rates`, () => {
      const rates = expected.map((_, step) => schedules[name]!(step));
      assert.ok(relativeError(rates, expected, 1e-12) < 1e-12, `${rates} instead of ${expected}`);
    });

  it('stay at their last rate beyond their end', () => {
    assert.equal(schedules.linear!(100), 0.4);
    assert.ok(Math.abs(schedules.oneCycle!(500) - 0.4 / 25e4) < 1e-12);
  });

  it('refuse what is no schedule', () => {
    for (const wrong of [
      () => constantRate(-1),
      () => constantRate(Number.NaN),
      () => linearRate({ from: 0, to: 1, steps: 0 }),
      () => stepDecay({ lr: 1, every: 0 }),
      () => exponentialDecay({ lr: 1, factor: -1 }),
      () => oneCycle({ lr: 1, total: 1 }),
      () => oneCycle({ lr: 1, total: 10, rise: 1 }),
      () => chained(),
      () => chained([constantRate(1)], [constantRate(2)]),
    ])
      assert.throws(wrong, DomainError);
  });
});
