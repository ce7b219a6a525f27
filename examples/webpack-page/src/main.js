// A curve finds its way through points by gradient descent, drawn as it goes.
import { init, tensor, valueAndGrad } from 'hopgrad';

const device = new URLSearchParams(location.search).get('device') ?? 'auto';
const chosen = await init({ device });
document.querySelector('#device').textContent = `${chosen.device}: ${chosen.description}`;

const xs = Array.from({ length: 40 }, (_, i) => i / 20 - 1);
const x = tensor(xs);
const y = tensor(xs.map((v) => Math.sin(3 * v)));

/** ŷ = a x + b x³ + c x⁵, and half the mean square of what it misses. */
const predict = ([a, b, c]) =>
  a
    .mul(x)
    .add(b.mul(x.pow(3)))
    .add(c.mul(x.pow(5)));
const loss = (a, b, c) => predict([a, b, c]).sub(y).square().mean().mul(0.5);
const step = valueAndGrad(loss);

const context = document.querySelector('canvas').getContext('2d');
function draw(values, points) {
  context.clearRect(0, 0, 320, 240);
  const at = (i, v) => [160 + 150 * xs[i], 120 - 90 * v];
  for (const [i, v] of points.entries()) context.fillRect(...at(i, v), 3, 3);
  context.beginPath();
  for (const [i, v] of values.entries()) context.lineTo(...at(i, v));
  context.stroke();
}

const points = await y.data();
let weights = [tensor(0), tensor(0), tensor(0)];
for (let i = 0; i <= 50; i++) {
  const { value, grad } = step(...weights);
  if (i % 10 === 0) {
    draw(await predict(weights).data(), points);
    const error = await value.item();
    document.querySelector('#loss').textContent = `step ${i}: loss ${error.toFixed(5)}`;
    document.body.dataset.loss = error;
  }
  weights = weights.map((w, k) => w.sub(grad[k].mul(2.5)));
}
document.body.dataset.ready = 'yes';
