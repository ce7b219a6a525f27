/** One program held to the truth on several targets; what fails is told as code. */
import assert from 'node:assert/strict';
import { codeOf } from './code.js';
import { type Program, type Results, run } from './program.js';
import type { Target } from './targets.js';
import { compare, float32, graphics, type Rounding, rounded, truth } from './tolerance.js';

/** @throws AssertionError with the program as code where a target's answer is not explained by rounding */
export async function check(program: Program, targets: readonly Target[]): Promise<void> {
  const centre = await truth(program);
  const samples = new Map<Rounding, Results[]>([
    [float32, []],
    [graphics, []],
  ]);
  const sample = async (rounding: Rounding, count: number) => {
    const list = samples.get(rounding)!;
    while (list.length < count) list.push(await rounded(program, rounding, list.length));
    return list;
  };
  for (const target of targets) {
    if (target.cannot?.(program, centre)) continue;
    const rounding = target.graphics ? graphics : float32;
    const actual = await answer(program, target);
    let difference = compare(program, actual, centre, await sample(rounding, 2), target.scale);
    // Two samples are few; before anything is called wrong, rounding gets many more chances to explain it.
    if (difference) difference = compare(program, actual, centre, await sample(rounding, 40), target.scale);
    if (difference) {
      const { where, expected, tolerance } = difference;
      const text = `${where} is ${difference.actual}, not ${expected} (±${tolerance.toPrecision(2)})`;
      fail(program, target, difference.order, text);
    }
    const { refused } = program;
    if (refused && actual.refused !== refused.error)
      fail(program, target, 0, `${refused.text} ended in ${actual.refused}, not in ${refused.error}`);
  }
}

async function answer(program: Program, target: Target): Promise<Results> {
  target.use?.();
  try {
    return await (target.run ?? run)(program, target.form);
  } catch (error) {
    return fail(program, target, program.order, (error as Error).stack!);
  }
}

function fail(program: Program, { label, form }: Target, order: number, what: string): never {
  const devices = [...new Set(['reference', form.device])];
  assert.fail(`${label}: ${what}\n\n${codeOf(program, order, devices)}\n`);
}
