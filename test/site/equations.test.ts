/** The index of equations: each stands in the code where it says, and that code computes it. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { grad, Random, randn, softmax, type Tensor, tensor } from 'hopgrad';
import { ajneStatistic, alignment, effectiveEigenvalues, uniformity } from 'hopgrad/models/cloob';
import { clipLoss, cloobLoss, dclLoss, hopfieldEnergy, hopfieldRetrieve, infoLoobLoss, infoNceLoss } from 'hopgrad/nn';

interface Equation {
  id: string;
  file: string;
}
const root = fileURLToPath(new URL('../../../', import.meta.url));
const { equations, lineOf } = (await import(new URL('../../../site/equations.mjs', import.meta.url).href)) as {
  equations: Equation[];
  lineOf(root: string, equation: Equation): number;
};

type Row = number[];
const [n, dim, beta, invTau] = [6, 4, 3, 5];
const exact = { dtype: 'float64', device: 'reference' } as const;
const unit = (seed: number) => randn([n, dim], { ...exact, seed }).l2Normalize();
const [x, y, state] = [unit(1), unit(2), randn([n, dim], { ...exact, seed: 3 })];
const rows = (t: Tensor): Row[] => {
  const data = Array.from(t.dataSync());
  return Array.from({ length: t.shape[0]! }, (_, i) =>
    data.slice((i * data.length) / t.shape[0]!).slice(0, data.length / t.shape[0]!),
  );
};
const [X, Y, S] = [rows(x), rows(y), rows(state)];

// Plain loops.
const indices = Array.from({ length: n }, (_, i) => i);
const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
const mean = (list: readonly number[]) => sum(list) / list.length;
const dot = (a: Row, b: Row) => sum(a.map((value, i) => value * b[i]!));
const norm = (a: Row) => Math.sqrt(dot(a, a));
const weights = (logits: Row) => logits.map((value) => Math.exp(value) / sum(logits.map(Math.exp)));
const mixture = (p: Row, patterns: Row[]) => patterns[0]!.map((_, c) => sum(p.map((w, i) => w * patterns[i]![c]!)));
const answer = (query: Row, patterns: Row[], b = beta) =>
  mixture(weights(patterns.map((pattern) => b * dot(pattern, query))), patterns);
const length1 = (a: Row) => a.map((value) => value / norm(a));
const nce = (A: Row[], B: Row[]) =>
  mean(indices.map((i) => -Math.log(weights(B.map((b) => invTau * dot(A[i]!, b)))[i]!)));
const loob = (A: Row[], B: Row[]) =>
  mean(
    indices.map((i) => {
      const others = indices.filter((j) => j !== i);
      return Math.log(sum(others.map((j) => Math.exp(invTau * dot(A[i]!, B[j]!))))) - invTau * dot(A[i]!, B[i]!);
    }),
  );
const energy = (xi: Row) =>
  -Math.log(sum(Y.map((pattern) => Math.exp(beta * dot(pattern, xi))))) / beta +
  dot(xi, xi) / 2 +
  Math.log(n) / beta +
  Math.max(...Y.map((pattern) => dot(pattern, pattern))) / 2;
const all = (A: Row[], i: number) => weights(Y.map((b) => invTau * dot(A[i]!, b)));
const negatives = (A: Row[], i: number) => weights(Y.map((b, j) => (j === i ? -Infinity : invTau * dot(A[i]!, b))));
const pairs = indices.flatMap((i) => indices.filter((j) => j > i).map((j) => [i, j] as const));

const lossOf = (f: typeof infoLoobLoss) => grad((a: Tensor) => f(a, y, { invTau }))(x);
const flat = (list: Row[]) => list.flat();
const numbers = (t: Tensor) => Array.from(t.dataSync());

/** What hopgrad computes and what plain loops do, for every equation. */
const computed: Record<string, () => Promise<[number[], number[]]> | [number[], number[]]> = {
  retrieval: () => [numbers(hopfieldRetrieve(x, y, { beta })), flat(X.map((query) => answer(query, Y)))],
  normalized: () => [
    numbers(hopfieldRetrieve(x, y, { beta, normalize: true })),
    flat(X.map((query) => length1(answer(query, Y)))),
  ],
  energy: () => [numbers(hopfieldEnergy(state, y, { beta })), S.map(energy)],
  'energy-gradient': () => [
    numbers(grad((xi: Tensor) => hopfieldEnergy(xi, y, { beta }).sum())(state)),
    flat(S.map((xi) => answer(xi, Y).map((value, c) => xi[c]! - value))),
  ],
  jacobian: () => {
    const row = state.slice([[0, 1]]);
    const p = weights(S[0]!);
    const jacobian = p.flatMap((_, i) =>
      numbers(
        grad((a: Tensor) =>
          softmax(a)
            .slice([
              [0, 1],
              [i, i + 1],
            ])
            .sum(),
        )(row),
      ),
    );
    return [jacobian, p.flatMap((pi, i) => p.map((pj, j) => (i === j ? pi : 0) - pi * pj))];
  },
  covariance: () => {
    // The mean Jacobian by Simpson's rule.
    const steps = 2000;
    const expected = X.map((query) => {
      const a = Y.map((pattern) => beta * dot(pattern, query));
      const change = Y.map(() => 0);
      for (let k = 0; k <= steps; k++) {
        const p = weights(a.map((value) => (value * k) / steps));
        const factor = ((k === 0 || k === steps ? 1 : k % 2 === 1 ? 4 : 2) / 3) * (1 / steps);
        p.forEach((pi, i) => {
          change[i]! += factor * pi * (a[i]! - dot(p, a));
        });
      }
      return mixture(
        change.map((value) => value + 1 / n),
        Y,
      );
    });
    return [numbers(hopfieldRetrieve(x, y, { beta })), flat(expected)];
  },
  infonce: () => [numbers(infoNceLoss(x, y, { invTau })), [nce(X, Y)]],
  clip: () => [numbers(clipLoss(x, y, { invTau })), [(nce(X, Y) + nce(Y, X)) / 2]],
  infoloob: () => [numbers(infoLoobLoss(x, y, { invTau })), [loob(X, Y)]],
  cloob: () => {
    const asked = (queries: Row[], memory: Row[]) => queries.map((query) => length1(answer(query, memory)));
    const expected = loob(asked(X, X), asked(Y, X)) + loob(asked(Y, Y), asked(X, Y));
    return [numbers(cloobLoss(x, y, { invTau, beta, scaleByTau: false })), [expected]];
  },
  dcl: () => {
    const one = (i: number) => {
      const others = indices.filter((j) => j !== i);
      const both = others.flatMap((j) => [dot(X[i]!, Y[j]!), dot(X[i]!, X[j]!)]);
      return Math.log(sum(both.map((s) => Math.exp(invTau * s)))) - invTau * dot(X[i]!, Y[i]!);
    };
    return [numbers(dclLoss(x, y, { invTau })), [mean(indices.map(one))]];
  },
  'loob-gradient': () => [
    numbers(lossOf(infoLoobLoss)),
    flat(indices.map((i) => mixture(negatives(X, i), Y).map((value, c) => (-invTau * (Y[i]![c]! - value)) / n))),
  ],
  saturation: () => [
    numbers(lossOf(infoNceLoss)),
    indices.flatMap((i) => rows(lossOf(infoLoobLoss))[i]!.map((value) => (1 - all(X, i)[i]!) * value)),
  ],
  difference: () => [
    numbers(infoLoobLoss(x, y, { invTau })),
    [nce(X, Y) + mean(indices.map((i) => Math.log(1 - all(X, i)[i]!)))],
  ],
  'matrix-gradient': () => {
    // With y = I the similarities are the anchors themselves.
    const s = randn([n, n], { ...exact, seed: 4 });
    const identity = indices.map((i) => indices.map((j) => Number(i === j)));
    const basis = tensor(identity, exact);
    const [forNce, forLoob] = [infoNceLoss, infoLoobLoss].map((f) =>
      numbers(grad((a: Tensor) => f(a, basis, { invTau }))(s)),
    );
    const expected = (leaveOut: boolean) =>
      rows(s).flatMap((row, i) =>
        weights(row.map((value, j) => (leaveOut && i === j ? -Infinity : invTau * value))).map(
          (p, j) => (invTau / n) * (p - Number(i === j)),
        ),
      );
    return [
      [...forNce!, ...forLoob!],
      [...expected(false), ...expected(true)],
    ];
  },
  'temperature-gradient': () => {
    const scale = tensor([invTau], exact);
    const found = numbers(grad((t: Tensor) => infoLoobLoss(x, y, { invTau: t }))(scale));
    const one = (i: number) =>
      dot(
        negatives(X, i),
        Y.map((b) => dot(X[i]!, b)),
      ) - dot(X[i]!, Y[i]!);
    return [found, [mean(indices.map(one))]];
  },
  bounds: () => {
    // Two correlated normal numbers, I = −½ ln(1 − ρ²), with the best critic as a product of features.
    const [random, rho, size, batches] = [new Random(5), 0.9, 32, 60];
    const information = -Math.log(1 - rho ** 2) / 2;
    const [found, expected]: [number[][], number[][]] = [[], []];
    for (let batch = 0; batch < batches; batch++) {
      const drawn = Array.from({ length: size }, () => [random.normal(), random.normal()] as const);
      const a = drawn.map(([u]) => [(rho * u) / (1 - rho ** 2), 1]);
      const b = drawn
        .map(([u, w]) => rho * u + Math.sqrt(1 - rho ** 2) * w)
        .map((v) => [v, -((rho * v) ** 2 / (2 * (1 - rho ** 2)))]);
      const [phi, psi] = [tensor(a, exact), tensor(b, exact)];
      const [lower, upper] = [infoNceLoss, infoLoobLoss].map((f) => numbers(f(phi, psi, { invTau: 1 }))[0]!);
      found.push([Math.log(size) - lower!, Math.log(size - 1) - upper!]);
      const one = (leaveOut: boolean) =>
        mean(
          a.map((u, i) => {
            const others = b.filter((_, j) => !leaveOut || j !== i);
            return dot(u, b[i]!) - Math.log(mean(others.map((v) => Math.exp(dot(u, v)))));
          }),
        );
      expected.push([one(false), one(true)]);
    }
    const means = [0, 1].map((k) => mean(found.map((pair) => pair[k]!)));
    assert.ok(means[0]! < information && information < means[1]!, `${means} around ${information}`);
    return [flat(found), flat(expected)];
  },
  eigenvalues: async () => {
    // As many of ±e_k as their share of the variance asks for.
    const pairsOf = [120, 60, 19, 1];
    const axes = pairsOf.flatMap((times, k) =>
      Array.from({ length: 2 * times }, (_, i) => pairsOf.map((_, c) => (c === k ? (i % 2 ? 1 : -1) : 0))),
    );
    const { count, eigenvalues } = await effectiveEigenvalues(tensor(axes, exact));
    return [
      [count, ...eigenvalues],
      [3, 0.6, 0.3, 0.095, 0.005],
    ];
  },
  ajne: async () => [
    [(await ajneStatistic(x)).statistic],
    [n / 4 - sum(pairs.map(([i, j]) => Math.acos(dot(X[i]!, X[j]!)))) / (n * Math.PI)],
  ],
  alignment: async () => [
    [await alignment(x, y)],
    [mean(indices.map((i) => norm(X[i]!.map((value, c) => value - Y[i]![c]!)) ** 2))],
  ],
  uniformity: async () => [
    [await uniformity(x)],
    [Math.log(mean(pairs.map(([i, j]) => Math.exp(-2 * norm(X[i]!.map((value, c) => value - X[j]![c]!)) ** 2))))],
  ],
};

describe('the index of equations', () => {
  for (const equation of equations) {
    it(`${equation.id} stands in ${equation.file}, and is what plain loops compute`, async () => {
      assert.ok(lineOf(root, equation) > 0);
      const check = computed[equation.id];
      assert.ok(check, `no computation for ${equation.id}`);
      const [found, expected] = await check();
      assert.ok(found.length > 0 && found.length === expected.length, `${found.length} and ${expected.length} numbers`);
      for (const [i, value] of expected.entries())
        assert.ok(Math.abs(found[i]! - value) <= 1e-9 * (1 + Math.abs(value)), `${i}: ${found[i]} instead of ${value}`);
    });
  }
});
