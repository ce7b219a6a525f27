// An op of one's own: its equation, its derivative and its kernel, which every device runs.
import { defineOp } from 'hopgrad';

const op = defineOp({
  name: 'softplus1',
  equation: 'y = ln(1 + eˣ)',
  derivative: 'x̄ = ȳ σ(x)',
  forward: ([x]) => x.exp().add(1).log(),
  vjp: [({ gradOutput, inputs: [x] }) => gradOutput.mul(x.sigmoid())],
});

export const softplus = (x) => op([x]);
