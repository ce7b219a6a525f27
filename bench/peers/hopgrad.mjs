/** hopgrad's side of the comparison; HOPGRAD_THREADS sets its threads. */

import { backend, serve } from '#serve';
import { device, init, noGrad, scoped, tensor } from '../../dist/index.js';
import { cloobLoss, ResidualAttentionBlock } from '../../dist/nn/index.js';
import { embedding, trainingStep } from './models.mjs';

await init({ device: backend });

/** The value of `f` and the gradients of `inputs`, computed as a training loop does. */
function differentiated(f, inputs, cotangent) {
  return () => {
    const value = scoped(() => {
      const y = f(...inputs);
      y.backward(cotangent);
      return y.detach();
    });
    return results([value, ...inputs.map((x) => x.grad)], inputs);
  };
}

function results(tensors, inputs = []) {
  return {
    // On wasm an operation has been done when it returns.
    done: async () => (backend === 'wasm' ? undefined : device().settle()),
    read: () => Promise.all(tensors.map((t) => t.data())),
    free() {
      for (const t of tensors) t.dispose();
      for (const x of inputs) x.grad = null;
    },
  };
}

const gradients =
  (f) =>
  ({ inputs, cotangent }) =>
    differentiated(f, inputs, cotangent);

await serve({
  library: `hopgrad, ${device().description}`,
  prepare: (array, shape) => tensor(array, { shape, requiresGrad: true }),
  functions: {
    overhead:
      ({ inputs: [x] }) =>
      () =>
        results([scoped(() => noGrad(() => Array.from({ length: 200 }).reduce((y) => y.add(x), x)))]),
    matmul:
      ({ inputs: [a, b] }) =>
      () =>
        results([scoped(() => a.matmul(b))]),
    matmulGradients: gradients((a, b) => a.matmul(b)),
    conv: gradients((x, weight) => x.conv2d(weight, { padding: 1 })),
    softmax: gradients((x) => x.softmax({ axis: 1 })),
    layerNorm: gradients((x, weight, bias) => x.layerNorm({ weight, bias })),
    block({ inputs: [x, ...weights], cotangent, names }) {
      const block = new ResidualAttentionBlock(128, 4);
      block.loadStateDict(Object.fromEntries(names.slice(1).map((name, i) => [name, weights[i]])));
      const byName = new Map(block.namedParameters());
      const parameters = names.slice(1).map((name) => byName.get(name));
      return differentiated(() => block.forward(x), [x, ...parameters], cotangent);
    },
    cloob: gradients((images, texts) => cloobLoss(images.l2Normalize(), texts.l2Normalize(), { invTau: 30, beta: 8 })),
    residualStep: trainingStep,
    transformerStep: trainingStep,
    embedding,
  },
});
