/** Whole models with weights that every language makes alike: what a user of the libraries waits for. */
import { noGrad, scoped, tensor } from '../../dist/index.js';
import { createModel } from '../../dist/models/cloob/index.js';
import { AdamW, cloobLoss } from '../../dist/nn/index.js';
import { noise } from './answer.mjs';

/**
 * A model of a work, its parameters filled in the order of their names: matrices and filters with noise of variance
 * 1/fan-in, scales of norms near 1, all else near 0. torch_peer.py does the same.
 */
export function modelOf({ config }) {
  const model = createModel(config, { blank: true });
  const parameters = new Map(model.namedParameters());
  parameters.delete('logit_inv_tau'); // fixed at 30
  const filled = [...parameters.keys()].sort().map((name, i) => {
    const { shape } = parameters.get(name);
    const size = shape.reduce((a, b) => a * b, 1);
    const values = noise(size, i, shape.length > 1 ? Math.sqrt((3 * shape[0]) / size) : 0.1);
    const scale = shape.length === 1 && name.endsWith('weight');
    return [name, tensor(scale ? values.map((x) => 1 + x) : values, { shape })];
  });
  model.loadStateDict(Object.fromEntries(filled), { strict: false });
  return model;
}

/** Captions [batch, length] whose last token is the end's. */
function captions(batch, { context_length: length, vocab_size: vocabulary }) {
  const ids = Int32Array.from({ length: batch * length }, (_, i) =>
    i % length === length - 1 ? vocabulary - 1 : (i * 7919) % (vocabulary - 2),
  );
  return tensor(ids, { shape: [batch, length] });
}

/** Embeddings of pictures by the image encoder in evaluation mode. */
export function embedding({ inputs: [images], work }) {
  const model = modelOf(work);
  model.eval();
  return () => {
    const embeddings = scoped(() => noGrad(() => model.encodeImage(images)));
    return {
      done: () => embeddings.data(),
      read: async () => [await embeddings.data()],
      free: () => embeddings.dispose(),
    };
  };
}

/** A step as a training makes it: loss, gradients, AdamW. Its results are the loss and two gradients that all of the model had a part in. */
export function trainingStep({ inputs: [images], work }) {
  const model = modelOf(work);
  const tokens = captions(images.shape[0], model.config);
  const optimizer = new AdamW(model.parameters(), { lr: 1e-4, weightDecay: 0.1 });
  const parameters = new Map(model.namedParameters());
  return () => {
    const loss = scoped(() => {
      model.zeroGrad();
      const [x, y] = [model.encodeImage(images).l2Normalize(), model.encodeText(tokens).l2Normalize()];
      const value = cloobLoss(x, y, { invTau: 30, beta: 8 });
      value.backward();
      return value.detach();
    });
    const stepped = optimizer.step();
    const seen = [
      loss,
      parameters.get('visual.conv1.weight').grad,
      parameters.get('transformer.token_embedding.weight').grad,
    ];
    return {
      done: async () => {
        await stepped;
        await loss.data();
      },
      read: () => Promise.all(seen.map((t) => t.data())),
      free: () => loss.dispose(),
    };
  };
}
