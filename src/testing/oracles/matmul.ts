/** The matrix product as three nested loops. */
import { sizeOf } from '../../tensor/shape.js';
import type { Oracle } from './oracle.js';

export const matmul: Oracle<{ transposeA: boolean; transposeB: boolean }> = {
  draw(random) {
    const [m, k, n] = [random.int(4), random.int(4), random.int(4)];
    const batch = Array.from({ length: random.int(3) }, () => 1 + random.int(2));
    const params = { transposeA: random.int(2) === 1, transposeB: random.int(2) === 1 };
    const a = [...(random.int(3) === 0 ? [] : batch), ...(params.transposeA ? [k, m] : [m, k])];
    const b = [...(a.length > 2 && random.int(3) === 0 ? [] : batch), ...(params.transposeB ? [n, k] : [k, n])];
    return { shapes: [a, b], params };
  },
  oracle([a, b], { transposeA, transposeB }, outputShape) {
    const [m, n] = outputShape.slice(-2) as [number, number];
    const k = a!.shape.at(transposeA ? -2 : -1)!;
    return Array.from({ length: sizeOf(outputShape) }, (_, index) => {
      const [batch, i, j] = [Math.floor(index / (m * n)), Math.floor(index / n) % m, index % n];
      const offsetA = a!.shape.length > 2 ? batch * m * k : 0;
      const offsetB = b!.shape.length > 2 ? batch * k * n : 0;
      let sum = 0;
      for (let p = 0; p < k; p++)
        sum +=
          a!.data[offsetA + (transposeA ? p * m + i : i * k + p)]! *
          b!.data[offsetB + (transposeB ? j * k + p : p * n + j)]!;
      return sum;
    });
  },
};
