/** Normalisations, each row or channel by itself. */
import type { BatchNormSpec } from '../../kernels/device.js';
import { type Oracle, perRow } from './oracle.js';

/** (v − mean) / √(variance + ε) */
function normalized(values: number[], eps: number): number[] {
  const mean = values.reduce((a, v) => a + v, 0) / values.length;
  const variance = values.reduce((a, v) => a + (v - mean) ** 2, 0) / values.length;
  return values.map((v) => (v - mean) / Math.sqrt(variance + eps));
}

export const layerNorm: Oracle<{ eps: number }> = {
  draw(random) {
    const size = 2 + random.int(4);
    return {
      shapes: [[...(random.int(2) ? [1 + random.int(3)] : []), 1 + random.int(3), size], [size], [size]],
      params: { eps: 0.01 },
    };
  },
  oracle: ([x, w, b], { eps }) =>
    perRow(x!, (row) => normalized(row, eps).map((n, i) => n * w!.data[i]! + b!.data[i]!)),
};

export const batchNorm: Oracle<BatchNormSpec> = {
  draw(random) {
    const spec = { batch: 2 + random.int(2), channels: 1 + random.int(3), inner: 1 + random.int(4), eps: 0.01 };
    return { shapes: [[spec.batch, spec.channels, spec.inner], [spec.channels], [spec.channels]], params: spec };
  },
  oracle([x, w, b], { batch, channels, inner, eps }) {
    const y = new Array<number>(batch * channels * inner);
    for (let c = 0; c < channels; c++) {
      const places = Array.from(
        { length: batch * inner },
        (_, k) => (Math.floor(k / inner) * channels + c) * inner + (k % inner),
      );
      const values = places.map((place) => x!.data[place]!);
      normalized(values, eps).forEach((n, k) => {
        y[places[k]!] = n * w!.data[c]! + b!.data[c]!;
      });
    }
    return y;
  },
};
