/**
 * Sums over nothing, in every kernel that has a sum, on memory that was used before: zeros (or what the kernel says),
 * never what the memory held.
 */
import { apply, registry } from '../autograd/op.js';
import { Tensor } from '../autograd/tensor.js';
import type { Device, Storage } from '../kernels/device.js';
import { deviceByName } from '../kernels/devices.js';
import { fused } from '../kernels/fused.js';
import { allocate } from '../tensor/dtype.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import type { ConformanceCase } from './conformance.js';

/** Leaves NaN in memory that the device will give out next. */
export function poison(device: Device): void {
  const storages: Storage[] = [];
  for (let size = 16; size <= 16384; size *= 2)
    for (let i = 0; i < 6; i++) storages.push(device.fill(size, NaN, 'float32'));
  for (const storage of storages) storage.free();
}

/** What a kernel gave, and the value of all its elements. */
type Expected = [result: Storage, value: number];

/** The cases in a dtype. */
function casesIn(dtype: 'float32' | 'float64'): Record<string, (device: Device) => Expected[]> {
  const ones = (device: Device, size: number) => device.upload(allocate(dtype, size).fill(1));

  /** The result of an op whose inputs are 1 everywhere, and the gradient to each under ones. */
  function withGradients(device: Device, name: string, shapes: readonly Shape[], params: unknown) {
    const inputs = shapes.map((shape) => new Tensor(ones(device, sizeOf(shape)), shape));
    for (const x of inputs) x.requiresGrad = true;
    const output = apply(registry.get(name)!, inputs, params);
    output.backward(new Tensor(ones(device, output.size), output.shape));
    return { output: output.storage, grads: inputs.map(({ grad }) => grad!.storage) };
  }

  return {
    matmul: (device) =>
      [0, 1, 2, 3].map((flags) => {
        const spec = { batch: 2, m: 5, n: 7, k: 0, broadcastA: false, broadcastB: flags > 1 };
        const transposes = { transposeA: (flags & 1) === 1, transposeB: flags > 1 };
        return [device.matmul(ones(device, 0), ones(device, 0), { ...spec, ...transposes }), 0];
      }),
    'conv2d and its gradients': (device) =>
      (['batch', 'inChannels', 'outChannels'] as const).flatMap((empty) =>
        [1, 2].flatMap((stride) => {
          const s = {
            ...{ batch: 2, inChannels: 3, outChannels: 4, height: 7, width: 9, kernelHeight: 3, kernelWidth: 3 },
            ...{ strideY: stride, strideX: stride, paddingY: 1, paddingX: 1 },
            ...(stride === 1 ? { outHeight: 7, outWidth: 9 } : { outHeight: 4, outWidth: 5 }),
            [empty]: 0,
          };
          const x = ones(device, s.batch * s.inChannels * s.height * s.width);
          const weight = ones(device, s.outChannels * s.inChannels * 9);
          const gradOutput = ones(device, s.batch * s.outChannels * s.outHeight * s.outWidth);
          return [
            device.conv2d(x, weight, s),
            device.conv2dInputGrad(gradOutput, weight, s),
            device.conv2dWeightGrad(x, gradOutput, s),
          ].map((result): Expected => [result, 0]);
        }),
      ),
    'reduce and sumSquares': (device) => {
      const x = ones(device, 0);
      return [1, 3, 40].flatMap((inner): Expected[] => [
        [device.reduce('sum', x, 5, 0, inner), 0],
        [device.reduce('max', x, 5, 0, inner), -Infinity],
        [device.reduce('min', x, 5, 0, inner), Infinity],
        [fused(device).sumSquares([x, x]), 0],
      ]);
    },
    scatterAdd: (device) => [[device.scatterAdd(ones(device, 0), device.upload(new Int32Array(0)), 2, 5, 3), 0]],
    logSumExp: (device) => [[fused(device).logSumExp(ones(device, 0), 5, 0), -Infinity]],
    'gradients of layerNorm over no rows': (device) => {
      const { grads } = withGradients(device, 'layerNorm', [[0, 20], [20], [20]], { eps: 1e-5 });
      return grads.map((grad) => [grad, 0]);
    },
    'gradients of batchNorm over no images': (device) =>
      [1, 5].flatMap((inner): Expected[] => {
        const [none, one] = [ones(device, 0), ones(device, 20)]; // the op refuses such a batch, which has no variance
        const spec = { batch: 0, channels: 20, inner, eps: 1e-5 };
        const grads = device.fused.batchNormGrad?.(none, none, one, one, one, spec);
        return Object.values(grads ?? {}).map((grad) => [grad, 0]);
      }),
    'attention and its gradients': (device) =>
      (['batch', 'queries', 'keys', 'headDim'] as const).flatMap((empty): Expected[] => {
        const spec = { batch: 2, heads: 3, queries: 5, keys: 4, headDim: 6, scale: 0.5, causal: false, [empty]: 0 };
        const width = spec.heads * spec.headDim;
        const shapes = [spec.queries, spec.keys, spec.keys].map((tokens) => [spec.batch, tokens, width]);
        const { output, grads } = withGradients(device, 'attention', shapes, spec);
        const [q, k, v] = shapes.map((shape) => ones(device, sizeOf(shape))) as [Storage, Storage, Storage];
        const { probabilities } = fused(device).attention(q, k, v, spec);
        return [[probabilities, 1 / spec.keys], ...[output, ...grads].map((result): Expected => [result, 0])];
      }),
  };
}

/** One case a family of kernels. */
export function emptySums(dtype: 'float32' | 'float64' = 'float32'): ConformanceCase[] {
  return Object.entries(casesIn(dtype)).map(([name, compute]) => ({
    group: 'kernel',
    name: `sums over nothing: ${name}`,
    async run(deviceName) {
      const device = deviceByName(deviceName);
      poison(device);
      for (const [i, [result, value]] of compute(device).entries()) {
        const wrong = (await device.read(result)).find((element) => element !== value);
        if (wrong !== undefined)
          return { error: Infinity, tolerance: 0, detail: `result ${i} holds ${wrong}, not ${value}` };
      }
      return { error: 0, tolerance: 0 };
    },
  }));
}
