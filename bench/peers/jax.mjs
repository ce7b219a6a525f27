/** jax-js's side of the comparison, every work under jit as its documentation advises, save the one that measures its ops. */
import { blockUntilReady, defaultDevice, init, jit, lax, nn, numpy as np, vjp } from '@jax-js/jax';
import { backend, serve, versionOf } from '#serve';

await init(backend);
defaultDevice(backend);

/** f's value and its gradients in one compiled function. Its functions consume their arguments: `.ref` keeps one. */
function gradients(f) {
  return ({ inputs, cotangent }) => {
    const both = jit((seed, ...args) => {
      const [value, backward] = vjp(f, args);
      return [value, ...backward(seed)];
    });
    const seed = cotangent ?? np.array(1);
    return () => results(both(seed.ref, ...inputs.map((x) => x.ref)));
  };
}

function results(arrays) {
  return {
    done: () => blockUntilReady(arrays),
    read: () => Promise.all(arrays.map((x) => x.ref.data())),
    free: () => {
      for (const x of arrays) x.dispose();
    },
  };
}

const layerNorm = (x, weight, bias) => nn.standardize(x, -1, { epsilon: 1e-5 }).mul(weight).add(bias);
const linear = (x, weight, bias) => np.matmul(x, weight.transpose()).add(bias);
const unit = (x) => {
  const norm = np.sqrt(x.ref.mul(x.ref).sum(1, { keepdims: true }));
  return x.div(norm);
};

function block(x, inWeight, inBias, outWeight, outBias, w1, b1, fcWeight, fcBias, projWeight, projBias, w2, b2) {
  const [batch, tokens, width] = x.shape;
  const heads = 4;
  const split = (part) => part.reshape([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);
  const [q, k, v] = np.split(linear(layerNorm(x.ref, w1, b1), inWeight, inBias), 3, 2).map(split);
  // By hand: nn.dotProductAttention needs iterator helpers, which Node 20 lacks.
  const logits = np.matmul(q, k.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(width / heads));
  const attended = np.matmul(nn.softmax(logits), v).transpose([0, 2, 1, 3]).reshape([batch, tokens, width]);
  const middle = x.add(linear(attended, outWeight, outBias));
  const hidden = linear(layerNorm(middle.ref, w2, b2), fcWeight, fcBias);
  return middle.add(linear(hidden.ref.mul(nn.sigmoid(hidden.mul(1.702))), projWeight, projBias));
}

function cloobLoss(images, texts) {
  const retrieve = (state, stored) =>
    unit(np.matmul(nn.softmax(np.matmul(state, stored.ref.transpose()).mul(8), 1), stored));
  const loob = (x, y) => {
    const logits = np.matmul(x.ref, y.ref.transpose()).mul(30);
    const others = np.where(np.eye(x.shape[0]).astype(np.bool), -Infinity, logits);
    return nn.logsumexp(others, 1).sub(x.mul(y).sum(1).mul(30)).mean();
  };
  const [x, y] = [unit(images), unit(texts)];
  const imageSide = loob(retrieve(x.ref, x.ref), retrieve(y.ref, x.ref));
  const textSide = loob(retrieve(y.ref, y.ref), retrieve(x, y));
  return imageSide.add(textSide).div(30);
}

await serve({
  library: `jax-js ${await versionOf('@jax-js/jax')}, ${backend}`,
  prepare: (array, shape) => np.array(array).reshape(shape),
  functions: {
    overhead:
      ({ inputs: [x] }) =>
      () =>
        results([Array.from({ length: 200 }).reduce((y) => y.add(x.ref), x.ref)]),
    matmul({ inputs: [a, b] }) {
      const product = jit((x, y) => [np.matmul(x, y)]);
      return () => results(product(a.ref, b.ref));
    },
    matmulGradients: gradients((a, b) => np.matmul(a, b)),
    conv: gradients((x, weight) =>
      lax.convGeneralDilated(
        x,
        weight,
        [1, 1],
        [
          [1, 1],
          [1, 1],
        ],
      ),
    ),
    softmax: gradients((x) => nn.softmax(x, 1)),
    layerNorm: gradients(layerNorm),
    block: gradients(block),
    cloob: gradients(cloobLoss),
  },
});
