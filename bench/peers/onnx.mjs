/** onnxruntime-web's side of the comparison, the engine under transformers.js: it runs what hopgrad's model is exported to. */
import * as ort from 'onnxruntime-web';
import { serve, versionOf } from '#serve';
import { init } from '../../dist/index.js';
import { toOnnx } from '../../dist/onnx/index.js';
import { modelOf } from './models.mjs';

await init({ device: 'wasm', threads: 1 });
const threads = Number(process.env.HOPGRAD_THREADS);
ort.env.logLevel = 'error';
ort.env.wasm.numThreads = threads;

await serve({
  library: `onnxruntime-web ${await versionOf('onnxruntime-web')}, wasm, ${threads} threads`,
  prepare: (array, shape) => new ort.Tensor('float32', array, shape),
  functions: {
    async embedding({ inputs: [images], work }) {
      const model = modelOf(work);
      model.eval();
      const side = work.config.image_resolution;
      const file = await toOnnx((x) => model.encodeImage(x), {
        inputs: [{ name: 'images', shape: [null, 3, side, side] }],
        names: model.stateDict(),
        device: 'wasm',
      });
      const session = await ort.InferenceSession.create(file);
      return () => {
        const results = session.run({ images });
        return { done: () => results, read: async () => [(await results).output.data], free() {} };
      };
    },
  },
});
