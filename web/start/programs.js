// What the editor begins with.
export const programs = {
  'A derivative': `import { grad, tensor } from 'hopgrad';

// The derivative of Σ x³ is 3x²; and its derivative again is 6x.
const f = (x) => x.pow(3).sum();
const slope = grad(f);
const curvature = grad((x) => slope(x).sum());

const x = tensor([1, 2, 3]);
console.log('3x²', await slope(x).array());
console.log('6x ', await curvature(x).array());
`,
  'A Hopfield memory': `import { randn } from 'hopgrad';
import { hopfieldRetrieve } from 'hopgrad/nn';

// 64 stored patterns, and one of them with noise.
const stored = randn([64, 16], { seed: 1 }).l2Normalize();
const wanted = stored.slice([[7, 8]]);
const query = wanted.add(randn([1, 16], { seed: 2 }).mul(0.15));

for (const beta of [1, 8, 30]) {
  const found = hopfieldRetrieve(query, stored, { beta, normalize: true });
  const cosine = await found.mul(wanted).sum().item();
  console.log('β', beta, ' cosine with the pattern', cosine.toFixed(3));
}
`,
  'CLOOB in ten lines': `import { randn } from 'hopgrad';
import { AdamW, cloobLoss, Linear } from 'hopgrad/nn';

const encoder = new Linear(8, 4);
const optimizer = new AdamW(encoder.parameters(), { lr: 1e-2 });
const [images, texts] = [randn([16, 8]), randn([16, 8])];
for (let step = 0; step <= 100; step++) {
  encoder.zeroGrad();
  const x = encoder.forward(images).l2Normalize();
  const y = encoder.forward(texts).l2Normalize();
  const loss = cloobLoss(x, y, { invTau: 30, beta: 8 });
  loss.backward();
  await optimizer.step();
  if (step % 20 === 0) console.log('step', step, ' loss', (await loss.item()).toFixed(4));
}
`,
};
