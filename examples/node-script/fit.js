// A neural network with one hidden layer learns exclusive or.
import { manualSeed, tensor } from 'hopgrad';
import { AdamW, Linear } from 'hopgrad/nn';
import { softplus } from './softplus.js';

manualSeed(0);
const x = tensor([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
]);
const y = tensor([[0], [1], [1], [0]]);
const [hidden, out] = [new Linear(2, 8), new Linear(8, 1)];
const predict = () => out.forward(softplus(hidden.forward(x))).sigmoid();
const optimizer = new AdamW([...hidden.parameters(), ...out.parameters()], { lr: 0.05, weightDecay: 0 });
for (let step = 0; step < 300; step++) {
  optimizer.zeroGrad();
  predict().sub(y).square().mean().backward();
  await optimizer.step();
}
console.log((await predict().array()).map(([p]) => p.toFixed(2)).join(' ')); // 0.00 1.00 1.00 0.00, nearly
