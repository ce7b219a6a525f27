import assert from 'node:assert/strict';
import { defineOp, describe as describeOp, Random, registeredOps, UsageError } from 'hopgrad';
import type { Op, Trial } from '#src/autograd/op.js';
import { testOf } from '#src/testing/oracles/index.js';

/** '[…, m, k]' as ['…', 'm', 'k']; null for words. */
function pattern(text: string): string[] | null {
  const inside = /^\[(.*)\]$/.exec(text.trim())?.[1];
  if (inside === undefined || inside.includes('[')) return null;
  const names = inside.split(', ').filter(Boolean);
  return names.every((name) => /^(…|\w+)$/.test(name)) ? names : null;
}

/** Binds the names of a pattern to sizes; says whether they fit. */
function fits(names: readonly string[], shape: readonly number[], bound: Map<string, string>): boolean {
  const open = names.indexOf('…');
  const rest = shape.length - names.length + 1;
  if (open < 0 ? shape.length !== names.length : rest < 0) return false;
  const sizes =
    open < 0 ? shape : [...shape.slice(0, open), shape.slice(open, open + rest), ...shape.slice(open + rest)];
  return names.every((name, i) => {
    const size = String(sizes[i]);
    const before = bound.get(name);
    bound.set(name, size);
    return before === undefined || before === size;
  });
}

/** Shapes of one trial of an op, and of its result. */
function trialOf(op: Op<unknown>, draw: (random: Random) => Trial<unknown>, random: Random) {
  const { shapes, params } = draw(random);
  return { shapes, result: op.shape ? op.shape(shapes, params) : shapes[0]! };
}

describe('describe', () => {
  it('gives equation, derivative, shapes and source', () => {
    const text = describeOp('gelu');
    assert.match(text, /^gelu\n {2}equation {4}y = x Φ\(x\)/);
    assert.match(text, /\n {2}derivative {2}x̄ = /);
    assert.match(text, /\n {2}shapes {6}as x\n/);
    assert.match(text, /\n {2}source {6}Hendrycks & Gimpel 2016/);
    assert.match(describeOp('add'), /shapes {6}broadcast/);
    assert.match(describeOp('argmax'), /keeps {7}nothing: an index is a whole number/);
    assert.match(describeOp('norm'), /^norm, composed of other ops\n/);
  });

  it('knows ops of your own', () => {
    defineOp({
      name: 'testDescribed',
      equation: 'y = x',
      derivative: 'x̄ = ȳ',
      forward: ([x]) => x!,
      vjp: [({ gradOutput }) => gradOutput],
    });
    assert.match(describeOp('testDescribed'), /^testDescribed \(your own\)\n {2}equation {4}y = x\n/);
  });

  it('says what it does not know, and what is near', () => {
    const message = (name: unknown) => {
      try {
        describeOp(name as string);
      } catch (error) {
        assert.ok(error instanceof UsageError);
        return error.message;
      }
      return assert.fail('no error');
    };
    assert.match(message('Soft'), /softplus, softmax, logSoftmax/);
    assert.match(message('mean'), /composed of ops/);
    assert.match(message('zzz'), /registeredOps/);
    assert.match(message(3), /^describe: 3;/);
  });

  it('shapes that are told by names are those of the trials', () => {
    const random = new Random(3);
    let checked = 0;
    for (const op of registeredOps().values()) {
      if (!op.builtIn) continue;
      const { draw } = testOf(op);
      if (!op.shapes || !draw) continue;
      const [from, to] = op.shapes.split(';')[0]!.split(' → ');
      if (to === undefined) continue;
      const inputs = from!.split(/(?<=\]), /).map(pattern);
      const output = pattern(to);
      assert.ok(output && inputs.every(Boolean), `${op.name}: ${op.shapes}`);
      for (let trial = 0; trial < 20; trial++) {
        const { shapes, result } = trialOf(op, draw, random);
        const bound = new Map<string, string>();
        const all = [...inputs.map((names, i) => [names!, shapes[i]!] as const), [output, result] as const];
        assert.equal(shapes.length, inputs.length, op.name);
        for (const [names, shape] of all)
          assert.ok(fits(names, shape, bound), `${op.name}: ${op.shapes} for ${JSON.stringify([shapes, result])}`);
      }
      checked++;
    }
    assert.ok(checked > 12, `${checked}`);
  });
});
