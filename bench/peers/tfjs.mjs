/** tfjs's side of the comparison, on its wasm or webgpu backend. */
import * as tf from '@tensorflow/tfjs';
import { backend, serve } from '#serve';

await import(`@tensorflow/tfjs-backend-${backend}`);
await tf.setBackend(backend);
await tf.ready();

function gradients(f) {
  return ({ inputs, cotangent }) => {
    const both = tf.valueAndGrads(f);
    return () => {
      const { value, grads } = both(inputs, cotangent ?? undefined);
      return results([value, ...grads]);
    };
  };
}

function results(tensors) {
  return {
    done: async () => (backend === 'webgpu' ? submit(tf.backend()) : undefined),
    read: () => Promise.all(tensors.map((t) => t.data())),
    free: () => tf.dispose(tensors),
  };
}

/** Hands over what its WebGPU backend has gathered; wasm has done an operation when it returns. */
function submit(webgpu) {
  if (!webgpu.commandEncoder) return;
  webgpu.endComputePassEncoder();
  webgpu.submitQueue();
}

/** Its WebGPU backend computes small tensors on the CPU until something has put them on the device. */
function onDevice(x) {
  if (backend !== 'webgpu') return;
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  x.add(x).dispose();
  tf.env().set('WEBGPU_CPU_FORWARD', true);
}

const linear = (x, weight, bias) => {
  const rows = x.reshape([-1, x.shape.at(-1)]);
  return tf
    .matMul(rows, weight, false, true)
    .add(bias)
    .reshape([...x.shape.slice(0, -1), weight.shape[0]]);
};
const layerNorm = (x, weight, bias) => {
  const { mean, variance } = tf.moments(x, -1, true);
  return x.sub(mean).div(variance.add(1e-5).sqrt()).mul(weight).add(bias);
};
const unit = (x) => x.div(x.square().sum(1, true).sqrt());

function block(x, inWeight, inBias, outWeight, outBias, w1, b1, fcWeight, fcBias, projWeight, projBias, w2, b2) {
  const [batch, tokens, width] = x.shape;
  const heads = 4;
  const parts = tf.split(linear(layerNorm(x, w1, b1), inWeight, inBias), 3, -1);
  const [q, k, v] = parts.map((t) => t.reshape([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]));
  const weights = tf.softmax(tf.matMul(q, k, false, true).mul(1 / Math.sqrt(width / heads)));
  const attended = tf.matMul(weights, v).transpose([0, 2, 1, 3]).reshape([batch, tokens, width]);
  const middle = x.add(linear(attended, outWeight, outBias));
  const hidden = linear(layerNorm(middle, w2, b2), fcWeight, fcBias);
  return middle.add(linear(hidden.mul(tf.sigmoid(hidden.mul(1.702))), projWeight, projBias));
}

function cloobLoss(images, texts) {
  const retrieve = (state, stored) => unit(tf.matMul(tf.softmax(tf.matMul(state, stored, false, true).mul(8)), stored));
  const loob = (x, y) => {
    const logits = tf.matMul(x, y, false, true).mul(30);
    const n = x.shape[0];
    const others = tf.where(tf.eye(n).cast('bool'), tf.fill([n, n], -Infinity), logits);
    return tf.logSumExp(others, 1).sub(x.mul(y).sum(1).mul(30)).mean();
  };
  const [x, y] = [unit(images), unit(texts)];
  return loob(retrieve(x, x), retrieve(y, x))
    .add(loob(retrieve(y, y), retrieve(x, y)))
    .div(30);
}

await serve({
  library: `tfjs ${tf.version.tfjs}, ${backend}`,
  prepare: (array, shape) => tf.tensor(array, shape),
  functions: {
    overhead({ inputs: [x] }) {
      onDevice(x);
      return () => results([tf.tidy(() => Array.from({ length: 200 }).reduce((y) => y.add(x), x))]);
    },
    matmul:
      ({ inputs: [a, b] }) =>
      () =>
        results([tf.matMul(a, b)]),
    matmulGradients: gradients((a, b) => tf.matMul(a, b)),
    // Its convolutions want channels last.
    conv: gradients((x, weight) =>
      tf.conv2d(x.transpose([0, 2, 3, 1]), weight.transpose([2, 3, 1, 0]), 1, 'same').transpose([0, 3, 1, 2]),
    ),
    softmax: gradients((x) => tf.softmax(x)),
    layerNorm: gradients(layerNorm),
    block: gradients(block),
    cloob: gradients(cloobLoss),
  },
});
