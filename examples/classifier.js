/**
 * A small convolutional network learns to tell discs, squares and crosses apart.
 *
 *     node examples/classifier.js
 */
import { pathToFileURL } from 'node:url';
import { manualSeed, noGrad, scoped } from 'hopgrad';
import {
  BatchNorm2d,
  Conv2d,
  cosineWarmup,
  crossEntropy,
  Dropout,
  Flatten,
  Linear,
  ReLU,
  Sequential,
  SGD,
} from 'hopgrad/nn';
import { drawShapes, kinds } from './shapes.js';

export const makeClassifier = () =>
  new Sequential(
    new Conv2d(1, 8, 3, { stride: 2, padding: 1 }), // [batch, 8, 6, 6]
    new BatchNorm2d(8),
    new ReLU(),
    new Conv2d(8, 16, 3, { stride: 2, padding: 1 }), // [batch, 16, 3, 3]
    new BatchNorm2d(16),
    new ReLU(),
    new Flatten(),
    new Dropout(0.1),
    new Linear(16 * 3 * 3, kinds.length),
  );

/** Share of right answers on fresh pictures. */
async function accuracy(model, count = 300) {
  const { images, labels } = drawShapes(count);
  model.eval();
  const answers = noGrad(() => model.forward(images).argmax({ axis: 1 }));
  model.train();
  return answers.equal(labels).mean().item();
}

export async function trainClassifier({ steps = 80, batch = 32, log = console.log } = {}) {
  manualSeed(1);
  const model = makeClassifier();
  log(model.summary(drawShapes(1).images));
  const optimizer = new SGD(model.parameters(), { momentum: 0.9, nesterov: true, weightDecay: 1e-3, maxGradNorm: 1 });
  const rate = cosineWarmup({ lr: 0.1, warmup: 5, total: steps });
  for (let step = 0; step < steps; step++) {
    const loss = scoped(() => {
      const { images, labels } = drawShapes(batch);
      optimizer.zeroGrad();
      const value = crossEntropy(model.forward(images), labels, { labelSmoothing: 0.05 });
      value.backward();
      return value.detach();
    });
    optimizer.lr = rate(step);
    await optimizer.step();
    if (step % 20 === 0) log(`step ${step}: loss ${(await loss.item()).toFixed(3)}`);
  }
  const right = await accuracy(model);
  log(`${(100 * right).toFixed(1)} % of new pictures right; by chance ${(100 / kinds.length).toFixed(1)} %`);
  return { model, right };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await trainClassifier();
