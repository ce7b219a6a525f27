/** Trials of elementwise ops that need more than a formula: integrals, conditions, parameters. */
import { sizeOf } from '../../tensor/shape.js';
import type { Oracle } from './oracle.js';

/** ∫₀ˣ f by Simpson's rule. */
function integrate(f: (t: number) => number, x: number): number {
  const n = 2000;
  const h = x / n;
  let sum = f(0) + f(x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * f(i * h);
  return (sum * h) / 3;
}

const density = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);

export const erf: Oracle<void> = {
  scalar: (x) => integrate((t) => (2 / Math.sqrt(Math.PI)) * Math.exp(-t * t), x!),
};

export const gelu: Oracle<void> = { scalar: (x) => x! * (0.5 + integrate(density, x!)) };

export const where: Oracle<void> = {
  draw(random) {
    const shape = [1 + random.int(3), 1 + random.int(4)];
    const shapes = [random.pick([shape, [shape[1]!]]), random.pick([shape, [shape[0]!, 1]]), shape];
    const data = Array.from({ length: sizeOf(shapes[0]!) }, () => random.int(2));
    return { shapes, params: undefined, fixed: { 0: { data, dtype: 'int32' } } };
  },
};

export const cast: Oracle<{ from: string; to: string }> = {
  draw: (random) => ({ shapes: [[random.int(5)]], params: { from: 'float64', to: 'float64' } }),
};

export const to: Oracle<{ from: string; to: string }> = {
  draw: (random) => ({ shapes: [[random.int(5)]], params: { from: 'reference', to: 'reference' } }),
};

export const clip: Oracle<{ low: boolean; high: boolean }> = {
  draw(random) {
    const shape = [1 + random.int(3), 1 + random.int(4)];
    const params = { low: random.int(3) > 0, high: random.int(3) > 0 };
    const bounds = [params.low, params.high].filter(Boolean).map(() => random.pick([shape, [shape[1]!], [1]]));
    return { shapes: [shape, ...bounds], params };
  },
  oracle([x, ...bounds], { low, high }, shape) {
    const bound = (k: number, i: number) => bounds[k]!.data[i % bounds[k]!.data.length]!;
    return Array.from({ length: sizeOf(shape) }, (_, i) => {
      const least = low ? Math.max(x!.data[i]!, bound(0, i)) : x!.data[i]!;
      return high ? Math.min(least, bound(low ? 1 : 0, i)) : least;
    });
  },
};
