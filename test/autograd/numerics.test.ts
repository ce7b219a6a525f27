/** Values at the edges: extreme inputs, infinities, ties, zero vectors, long sums. */
import assert from 'node:assert/strict';
import { grad, pow, Random, randn, registeredOps, type Tensor, tensor, uniform } from 'hopgrad';
import { maskedAttention } from 'hopgrad/nn';
import { relativeError, values } from '../helpers.js';

const places = [
  ['reference', 'float64'],
  ['reference', 'float32'],
  ['wasm', 'float32'],
  ['wasm', 'float64'],
] as const;

for (const [device, dtype] of places)
  describe(`numerics, ${dtype} on ${device}`, () => {
    const make = (data: Parameters<typeof tensor>[0]) => tensor(data, { dtype, device });
    const both = (f: (x: Tensor) => Tensor, data: number[]) => {
      const x = make(data);
      return [values(f(x)), values(grad((t: Tensor) => f(t).sum())(x))] as const;
    };
    const close = (actual: readonly number[], expected: number[]) =>
      actual.forEach((a, i) => {
        const e = expected[i]!;
        assert.ok(
          Object.is(a, e) || a === e || Math.abs(a - e) <= 1e-6 * Math.abs(e) + 1e-30,
          `${actual} instead of ${expected}`,
        );
      });

    it('activations reach their limits without NaN', () => {
      const far = [-1e30, -1e4, -200, 200, 1e4, 1e30];
      const limits: [(x: Tensor) => Tensor, (x: number) => number, (x: number) => number][] = [
        [(x) => x.sigmoid(), (x) => Number(x > 0), () => 0],
        [(x) => x.tanh(), Math.sign, () => 0],
        [(x) => x.softplus(), (x) => Math.max(x, 0), (x) => Number(x > 0)],
        [(x) => x.relu(), (x) => Math.max(x, 0), (x) => Number(x > 0)],
        [(x) => x.gelu(), (x) => Math.max(x, 0), (x) => Number(x > 0)],
        [(x) => x.quickGelu(), (x) => Math.max(x, 0), (x) => Number(x > 0)],
        [(x) => x.erf(), Math.sign, () => 0],
        [(x) => x.abs(), Math.abs, Math.sign],
      ];
      for (const [f, value, slope] of limits) {
        const [y, g] = both(f, far);
        close(
          y,
          far.map((x) => value(make([x]).dataSync()[0]!)),
        );
        close(g, far.map(slope));
      }
    });

    it('softmax and its relatives shift by the maximum, and take −∞ as absent', () => {
      const row = [1000, 999, -Infinity];
      const p = [1 / (1 + Math.exp(-1)), 1 / (1 + Math.E), 0];
      close(both((x) => x.softmax(), row)[0], p);
      const lse = 1000 + Math.log1p(Math.exp(-1));
      const [y, g] = both((x) => x.logSumExp(), row);
      close(y, [lse]);
      assert.ok(relativeError(g, p) < 1e-4);
      assert.ok(
        relativeError(both((x) => x.logSoftmax().slice([[0, 2]]), row)[0], [Math.log(p[0]!), Math.log(p[1]!)]) < 1e-3,
      );
      const [none, flat] = both((x) => x.logSumExp(), [-Infinity, -Infinity]);
      close(none, [-Infinity]);
      close(flat, [0, 0]);
    });

    it('softmax, its relatives and attention under a mask do so to the ends of the range', () => {
      const far = dtype === 'float64' ? 1e300 : 1e37;
      for (const shift of [far, -far]) {
        const ties = [shift, shift, 2 * shift];
        const p = shift > 0 ? [0, 0, 1] : [0.5, 0.5, 0];
        const most = shift > 0 ? 2 * shift : shift;
        close(values(make(ties).softmax()), p);
        close(values(make(ties).logSumExp()), [most]);
        close(
          values(make(ties).logSoftmax()),
          p.map((share) => (share > 0 ? Math.log(share) : -far)),
        );
        // One query of 1, keys of such values, the first of them hidden.
        const column = (data: number[]) => make(data.map((x) => [x])).reshape([1, data.length, 1]);
        const seen = maskedAttention(column([1]), column(ties), column([5, 6, 7]), make([[0, 1, 1]]), { heads: 1 });
        close(values(seen), [shift > 0 ? 7 : 6]);
      }
    });

    it('logSoftmax and logSumExp keep what a probability near 1 leaves to the others', () => {
      const rows = [[0, -20, -25], [0, -80], [-40, 30, -5], [...Array(1000).fill(-20), 0], [3, 3, -30], [2]];
      for (const row of rows) {
        const m = Math.max(...row);
        const ties = row.filter((x) => x === m).length;
        const others = row.reduce((sum, x) => sum + (x === m ? 0 : Math.exp(x - m)), 0);
        const rest = Math.log1p(ties - 1 + others);
        const precise = (actual: number[], expected: number[]) =>
          actual.forEach((a, i) => {
            const e = expected[i]!;
            assert.ok(Math.abs(a - e) <= 3e-7 * Math.abs(e), `${a} instead of ${e}`);
          });
        precise(
          values(make(row).logSoftmax()),
          row.map((x) => x - m - rest),
        );
        precise(values(make(row.map((x) => x - m)).logSumExp()), [rest]);
      }
    });

    it('the gradient of logSoftmax keeps them, too', () => {
      for (const row of [
        [0, -12, -14],
        [-80, 0],
        [30, 20],
        [...Array(1000).fill(-20), 0],
      ]) {
        const best = row.indexOf(Math.max(...row));
        const terms = row.map((x) => Math.exp(x - row[best]!));
        const others = terms.reduce((sum, e, i) => (i === best ? sum : sum + e), 0);
        const gradient = values(
          grad((x: Tensor) =>
            x
              .logSoftmax()
              .slice([[best, best + 1]])
              .sum(),
          )(make(row)),
        );
        close(
          gradient,
          terms.map((e, i) => (i === best ? others : -e) / (1 + others)),
        );
      }
    });

    it('NaN spreads through reductions and comparisons, and is the extreme', () => {
      const x = make([1, Number.NaN, 3]);
      for (const f of [x.sum(), x.mean(), x.max(), x.min(), x.maximum(2).slice([[1, 2]]), x.relu().slice([[1, 2]])])
        assert.ok(Number.isNaN(values(f)[0]));
      assert.deepEqual(values(x.argmax()), [1]);
      assert.deepEqual(values(x.equal(x)), [1, 0, 1]);
      assert.deepEqual(values(x.greater(0)), [1, 0, 1]);
    });

    it('ties share the gradient', () => {
      close(both((x) => x.max(), [2, 5, 5])[1], [0, 0.5, 0.5]);
      close(both((x) => x.min({ axis: 0 }), [1, 1, 1])[1], [1 / 3, 1 / 3, 1 / 3]);
      close(both((x) => x.maximum(3), [3, 4, 2])[1], [0.5, 1, 0]);
    });

    it('powers have their derivatives at 0', () => {
      close(both((x) => x.pow(2), [0, -3])[1], [0, -6]);
      close(both((x) => x.pow(1), [0, 2])[1], [1, 1]);
      close(both((x) => x.pow(0), [0, 2])[1], [0, 0]);
      close(both((x) => make([0, 2]).pow(x), [2, 3])[1], [0, 8 * Math.LN2]);
      close(both((x) => x.mul(2).sub(2).pow(3), [1])[0], [0]);
    });

    it('powers have all their derivatives at 0, whether the exponent is a number or a tensor', () => {
      const derivatives = (f: (x: Tensor) => Tensor, at: number) => {
        let g = f;
        return Array.from({ length: 4 }, () => {
          const h = g;
          g = (x) => grad((t: Tensor) => h(t).sum())(x);
          return values(g(make([at])))[0]!;
        });
      };
      for (const power of [(x: Tensor, n: number) => x.pow(n), (x: Tensor, n: number) => x.pow(make([n]))]) {
        close(
          derivatives((x) => power(x, 0), 0),
          [0, 0, 0, 0],
        );
        close(
          derivatives((x) => power(x, 1), 0),
          [1, 0, 0, 0],
        );
        close(
          derivatives((x) => power(x, 3), 0),
          [0, 0, 6, 0],
        );
        close(
          derivatives((x) => power(x, 2).neg().exp(), 0),
          [0, -2, 0, 12],
        );
        close(
          derivatives((x) => pow(Math.E, power(x, 2).neg()), 0),
          [0, -2, 0, 12],
        );
      }
      // ∂²(aᵇ)/∂a∂b = 1/a at b = 0: nothing is lost to guarding a = 0.
      const toBase = (b: Tensor) => grad((a: Tensor) => a.pow(b).sum())(make([2]));
      close(values(grad((b: Tensor) => toBase(b).sum())(make([0]))), [0.5]);
      close(both((b) => pow(0, b), [2, 0, -1])[1], [0, 0, -Infinity]);
      assert.deepEqual(both((b) => pow(-2, b), [3])[1], [Number.NaN]);
    });

    it('masked gradients are 0 even where what arrives is infinite', () => {
      const arrives = (f: (x: Tensor) => Tensor) =>
        values(
          grad((x: Tensor) =>
            f(x)
              .mul(make([Infinity, 1]))
              .sum(),
          )(make([-1, 2])),
        );
      close(
        arrives((x) => x.relu()),
        [0, 1],
      );
      close(
        arrives((x) => x.maximum(0)),
        [0, 1],
      );
      close(
        arrives((x) => x.minimum(-5)),
        [0, 0],
      );
      close(
        values(
          grad((x: Tensor) =>
            grad((t: Tensor) =>
              t
                .relu()
                .mul(make([Infinity, 1]))
                .sum(),
            )(x)
              .mul(x)
              .sum(),
          )(make([-1, 2])),
        ),
        [0, 1],
      );
    });

    it('sums that overflow in a part of their terms only are finite', () => {
      const terms = [...new Array(40).fill(2e38), ...new Array(39).fill(-2e38), 1e38];
      const total = 3e38;
      const near = (actual: number[], expected: number) =>
        assert.ok(
          actual.every((a) => Math.abs(a / expected - 1) < 1e-6),
          `${actual} instead of ${expected}`,
        );
      near(values(make(terms).sum()), total);
      for (const columns of [1, 3, 4, 16, 21]) // in the middle of [outer, length, inner]
        near(values(make(terms).reshape([1, -1, 1]).expand([2, terms.length, columns]).sum({ axis: 1 })), total);
      const long = make([...terms, ...new Array(70_000).fill(0)]);
      near(values(long.sum()), total);
      near(
        values(
          make([3e20, 4e20, 0])
            .l2Normalize()
            .slice([[0, 1]]),
        ),
        0.6,
      );
      near(
        values(
          make([3e-30, 4e-30])
            .l2Normalize({ eps: 1e-40 })
            .slice([[0, 1]]),
        ),
        0.6,
      );
      near(values(make([1e-40, 1e-40]).l2Normalize()), values(make([1e-40]))[0]! * 1e12);
    });

    it('numbers chosen by a condition have the dtype of the condition', () => {
      const chosen = make([1, 0]).where(0.1, 0.2);
      assert.equal(chosen.dtype, dtype);
      assert.deepEqual(values(chosen), values(make([0.1, 0.2])));
    });

    it('a number beside a tensor is a tensor of it, also one that float32 rounds', () => {
      const numbers = [0.1, 0.7, -1 / 3, 16777217, 1e39, -1e39, 1e-46, Number.NaN];
      const x = make([...numbers, 1e-5, 1e20]);
      let tried = 0;
      for (const { name, numbers: walks, test } of registeredOps().values()) {
        if (!walks || test?.scalar?.length !== 2 || !(name in x)) continue;
        const method = (a: Tensor, b: Tensor | number): Tensor => Reflect.get(a, name).call(a, b);
        for (const number of numbers)
          assert.deepEqual(values(method(x, number)), values(method(x, make(number))), name);
        tried++;
      }
      assert.ok(tried > 10, `${tried}`);
    });

    it('uniform never gives its upper end', () => {
      /** A generator of the one number from which rounding goes up. */
      const top = new Random(0);
      top.uniform = () => 1 - 2 ** -53;
      for (const [low, high] of [
        [0, 1],
        [-1, 1],
        [100, 101],
        [-3, 0],
        [-2, -1],
        [0, 0.1],
        [1e16, 1e16 + 4],
      ] as const) {
        const [drawn] = values(uniform([1], { low, high, random: top, dtype, device }));
        assert.ok(drawn! < high && drawn! >= low - Math.abs(low) * 1e-7, `${drawn} of [${low}, ${high})`);
        const step = dtype === 'float32' ? 2 ** -22 : 2 ** -51;
        assert.ok(high - drawn! <= step * Math.max(Math.abs(high), high - low), `${drawn} is close to ${high}`);
      }
      assert.deepEqual(values(uniform([1], { low: 5, high: 5, random: top, dtype, device })), [5]);
    });

    it('zero vectors normalise to zero with finite gradients', () => {
      const [y, g] = both((x) => x.l2Normalize(), [0, 0, 0]);
      close(y, [0, 0, 0]);
      assert.ok(g.every(Number.isFinite));
      const long = both((x) => x.l2Normalize(), [3e10, 4e10])[0];
      close(long, [0.6, 0.8]);
      assert.ok(
        both((x) => x.layerNorm(), [7, 7, 7])
          .flat()
          .every((v) => v === 0 || Math.abs(v) < 1e-2),
      );
    });

    it('long sums are accurate: 0.1 a million times, and a large mean with a small spread', () => {
      const tenth = make([0.1]).expand([1_000_000]);
      const exact = make([0.1]).dataSync()[0]! * 1e6;
      assert.ok(Math.abs(values(tenth.sum())[0]! / exact - 1) < 2e-7, `${values(tenth.sum())}`);
      const shifted = randn([1, 4096], { seed: 1, dtype, device }).add(1000);
      const spread = values(shifted.layerNorm().square().mean())[0]!;
      assert.ok(Math.abs(spread - 1) < 1e-3, `${spread}`);
    });
  });
