import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertGradients, shapes, tensors } from 'hopgrad/testing';
import { softplus } from './softplus.js';

test('the derivative of softplus is right, to the second order, for tensors of any shape', () =>
  fc.assert(
    fc.asyncProperty(
      shapes({ maxRank: 3 }).chain((shape) => tensors({ shape, dtype: 'float64' })),
      async (x) => {
        await assertGradients(softplus, [x], { order: 2 });
      },
    ),
    { numRuns: 20 },
  ));

test('a wrong derivative is found', async () => {
  const { defineOp, tensor } = await import('hopgrad');
  const wrong = defineOp({
    name: 'wrong',
    equation: 'y = x²',
    derivative: 'x̄ = x ȳ',
    forward: ([x]) => x.mul(x),
    vjp: [({ gradOutput, inputs: [x] }) => gradOutput.mul(x)],
  });
  await assert.rejects(
    assertGradients((x) => wrong([x]), [tensor([3], { dtype: 'float64' })]),
    /wrong|gradient/i,
  );
});
