/** The counter-based generator: known answers, streams, positions, distributions. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DomainError, Random } from 'hopgrad';
import { philox } from '#src/tensor/random.js';
import { property } from '../helpers.js';

const words = (text: string) => text.split(' ').map((word) => Number.parseInt(word, 16));
const draws = (random: Random, count: number) => Array.from({ length: count }, () => random.uint32());
const seeds = fc.maxSafeNat();
const streams = fc.nat({ max: 2 ** 32 - 1 });

describe('Random', () => {
  // The known-answer vectors that come with Random123 (Salmon et al. 2011) for philox4x32-10.
  const known = [
    ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ] as const;
  for (const [counter, key, answer] of known)
    it(`Philox of counter ${counter} with key ${key}`, () => {
      assert.deepEqual([...philox(words(counter) as never, words(key) as never)], words(answer));
    });

  property('one round of it agrees with exact integer arithmetic', fc.tuple(streams, streams), ([a, b]) => {
    // The tenth round's words depend on all high products; BigInt has no rounding to hide a wrong one.
    let c = [BigInt(a), BigInt(b), 7n, 9n] as [bigint, bigint, bigint, bigint];
    let k = [BigInt(b), BigInt(a)] as [bigint, bigint];
    const low = (x: bigint) => x & 0xffffffffn;
    for (let round = 0; round < 10; round++) {
      const [p, q] = [0xd2511f53n * c[0], 0xcd9e8d57n * c[2]];
      c = [(q >> 32n) ^ c[1] ^ k[0], low(q), (p >> 32n) ^ c[3] ^ k[1], low(p)];
      k = [low(k[0] + 0x9e3779b9n), low(k[1] + 0xbb67ae85n)];
    }
    assert.deepEqual([...philox([a, b, 7, 9], [b, a])], c.map(Number));
  });

  property(
    'seed, stream and position determine everything',
    fc.tuple(seeds, streams, fc.nat(200)),
    ([seed, stream, skip]) => {
      const all = draws(new Random(seed, stream), skip + 9);
      const seeking = new Random(seed, stream);
      seeking.seek(skip);
      assert.deepEqual(draws(seeking, 9), all.slice(skip));
      const first = new Random(seed, stream);
      draws(first, skip);
      assert.deepEqual(first.state, { seed, stream, position: skip });
      const resumed = Random.fromState(JSON.parse(JSON.stringify(first.state)));
      assert.deepEqual(draws(resumed, 9), all.slice(skip));
    },
  );

  it('goes on beyond 2^32 blocks without repeating itself', () => {
    const random = new Random(1);
    random.seek(2 ** 36 + 4);
    const far = draws(random, 4);
    assert.notDeepEqual(far, draws(new Random(1), 8).slice(4));
    assert.equal(random.state.position, 2 ** 36 + 8);
  });

  property('other seeds and streams give other numbers', fc.tuple(seeds, seeds, streams, streams), ([a, b, s, t]) => {
    fc.pre(a !== b && s !== t);
    const start = (seed: number, stream: number) => draws(new Random(seed, stream), 4).join();
    assert.equal(new Set([start(a, s), start(b, s), start(a, t), start(b, t)]).size, 4);
  });

  it('streams are uncorrelated', () => {
    const n = 4000;
    const [x, y] = [new Random(5, 0), new Random(5, 1)];
    let product = 0;
    for (let i = 0; i < n; i++) product += (x.uniform() - 0.5) * (y.uniform() - 0.5);
    assert.ok(Math.abs((product / n) * 12) < 4 / Math.sqrt(n), `correlation ${(product / n) * 12}`);
  });

  property(
    'a fork does not depend on the position, and differs by label',
    fc.tuple(seeds, fc.string(), fc.string()),
    ([seed, a, b]) => {
      fc.pre(a !== b);
      const random = new Random(seed);
      const early = draws(random.fork(a), 4);
      draws(random, 7);
      assert.deepEqual(draws(random.fork(a), 4), early);
      assert.notDeepEqual(draws(random.fork(b), 4), early);
    },
  );

  it('uniform and normal numbers have their moments', () => {
    const random = new Random(11);
    const n = 20_000;
    const moments = (next: () => number) => {
      const list = Array.from({ length: n }, next);
      const mean = list.reduce((a, b) => a + b, 0) / n;
      const central = (k: number) => list.reduce((sum, x) => sum + (x - mean) ** k, 0) / n;
      return { mean, variance: central(2), skew: central(3), fourth: central(4), list };
    };
    const u = moments(() => random.uniform());
    assert.ok(u.list.every((x) => x >= 0 && x < 1));
    assert.ok(Math.abs(u.mean - 0.5) < 0.01 && Math.abs(u.variance - 1 / 12) < 0.003);
    const z = moments(() => random.normal());
    assert.ok(z.list.every(Number.isFinite));
    assert.ok(Math.abs(z.mean) < 0.03 && Math.abs(z.variance - 1) < 0.04);
    assert.ok(Math.abs(z.skew) < 0.08 && Math.abs(z.fourth - 3) < 0.2, `${z.skew}, ${z.fourth}`);
  });

  property(
    'shuffle permutes, and does not touch its input',
    fc.tuple(seeds, fc.array(fc.integer())),
    ([seed, list]) => {
      const before = [...list];
      const shuffled = new Random(seed).shuffle(list);
      assert.deepEqual(list, before);
      const sort = (values: number[]) => [...values].sort((a, b) => a - b);
      assert.deepEqual(sort(shuffled), sort(list));
    },
  );

  it('shuffles every order equally often, and picks every index', () => {
    const random = new Random(3);
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle([0, 1, 2]).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    assert.equal(counts.size, 6);
    for (const count of counts.values()) assert.ok(Math.abs(count - 1000) < 150, `${count}`);
    const seen = new Set(Array.from({ length: 200 }, () => random.int(7)));
    assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
    assert.ok(['a', 'b'].includes(random.pick(['a', 'b'])));
  });

  it('refuses what is no seed, stream, position, bound or list', () => {
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) assert.throws(() => new Random(seed), DomainError);
    for (const stream of [-1, 0.5, 2 ** 32]) assert.throws(() => new Random(0, stream), DomainError);
    for (const position of [-1, 0.5, Number.NaN]) {
      assert.throws(() => new Random(0).seek(position), DomainError);
      assert.throws(() => Random.fromState({ seed: 0, stream: 0, position }), DomainError);
    }
    for (const bound of [0, -1, 1.5, Number.NaN]) assert.throws(() => new Random(0).int(bound), DomainError);
    assert.throws(() => new Random(0).pick([]), DomainError);
  });
});
