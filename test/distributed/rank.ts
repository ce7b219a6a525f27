/** What a rank of the tests does: started by mpirun, or as a thread. Its arguments say what, and where to write results. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { grad, init, randn, type Tensor, tensor } from 'hopgrad';
import { clipLossOf, cloobLossOf, DistributedError, Group, joinGroup } from 'hopgrad/distributed';
import { createModel } from 'hopgrad/models/cloob';
import { ShapeError } from '#src/tensor/errors.js';

const [what, device = 'reference', file = ''] = process.argv.slice(2);
await init({ device: device as 'reference', threads: 1 });
const timeout = what === 'late' ? 1 : 60;
const group = await joinGroup({ timeout });
const { rank, size } = group;
const where = { device, dtype: device === 'reference' ? 'float64' : 'float32' } as const;

/** Loss and gradients of one step of a small model on a batch of 8, of which this rank has its part. */
function step(method: 'cloob' | 'clip') {
  const config = {
    ...{ embed_dim: 6, image_resolution: 8, vision_layers: 1, vision_width: 8, vision_patch_size: 4, vision_heads: 2 },
    ...{ context_length: 4, vocab_size: 20, transformer_width: 8, transformer_heads: 2, transformer_layers: 1 },
  };
  const model = createModel(config, { seed: 5, ...where });
  const rows = 8 / size;
  const mine = <T extends Tensor>(x: T) => x.slice([[rank * rows, (rank + 1) * rows]]);
  const images = mine(randn([8, 3, 8, 8], { seed: 1, ...where }));
  const ids = Int32Array.from({ length: 32 }, (_, i) => (i % 4 === 3 ? 19 : (i * 7) % 18));
  const tokens = mine(tensor(ids, { shape: [8, 4], device }));
  const [x, y] = [model.encodeImage(images).l2Normalize(), model.encodeText(tokens).l2Normalize()];
  const invTau = model.invTau();
  const loss = method === 'cloob' ? cloobLossOf(group, x, y, { invTau, beta: 8 }) : clipLossOf(group, x, y, { invTau });
  loss.backward();
  group.sumGradients(model.parameters());
  const gradients = Object.fromEntries(
    [...model.namedParameters()].map(([name, { grad }]) => [name, Array.from(grad!.dataSync())]),
  );
  return { loss: group.allReduce(loss).dataSync()[0]!, gradients };
}

const programs: Record<string, () => void | Promise<void>> = {
  exact() {
    const found = { name: group.transport.name, cloob: step('cloob'), clip: step('clip') };
    const again = step('cloob');
    assert.deepEqual(again, found.cloob, 'the same bits again');
    if (rank === 0) writeFileSync(file, JSON.stringify(found));
  },

  ops() {
    const x = randn([3, 2], { seed: rank, ...where });
    const all = group.allGather(x);
    const expected = Array.from({ length: size }, (_, r) => randn([3, 2], { seed: r, ...where }));
    assert.deepEqual(
      Array.from(all.dataSync()),
      expected.flatMap((t) => Array.from(t.dataSync())),
    );
    // L = Σ_s w_s · Σ [x₀; x₁; …]²: rank r gets 2 x_r Σ_s w_s, and twice Σ_s w_s as second derivative.
    const weight = rank + 1;
    const total = (size * (size + 1)) / 2;
    const slope = (t: Tensor) => grad((u: Tensor) => group.allGather(u).square().sum().mul(weight))(t);
    const close = (a: Tensor, b: Tensor) => assert.ok(Math.abs(a.sub(b).abs().max().dataSync()[0]!) < 1e-5);
    close(slope(x), x.mul(2 * total));
    close(grad((t: Tensor) => slope(t).sum())(x), x.mul(0).add(2 * total));
    const counts = [true, false].map((deterministic) => {
      const sums = new Group(group.transport, { deterministic });
      const [a, b] = sums.allReduce([x, tensor([rank + 0.5], where)]);
      close(
        a!,
        expected.reduce((s, t) => s.add(t)),
      );
      close(b!, tensor([(size * (size - 1)) / 2 + size / 2], where));
      return sums.received;
    });
    // Seven numbers, rounded up to a part for every rank, there and back; eight bytes of every other rank before.
    const numbers = Math.ceil(7 / size) * size * (where.dtype === 'float64' ? 8 : 4);
    const bytes = ((size - 1) / size) * 2 * numbers + 8 * (size - 1);
    assert.deepEqual(counts, size === 1 ? [0, 0] : [bytes, bytes]);
    const root = size - 1;
    assert.deepEqual(group.broadcast(tensor([rank, 7], where), root).dataSync(), tensor([root, 7], where).dataSync());
    // More than one piece of the threads' memory, and a length that does not divide.
    // And more than one message of a sum.
    const long = (scale: number) => tensor(new Float32Array(700_001).fill(scale * (rank + 1)), where);
    for (const [i, sum] of group.allReduce([long(1), x, long(2), long(3)]).entries())
      if (i !== 1) assert.ok(sum.dataSync().every((v) => v === Math.max(1, i) * total));
    const many = group.allGather(tensor(new Float32Array(400_001).fill(rank), { device }));
    assert.ok(many.dataSync().every((v, i) => v === Math.floor(i / 400_001)));
    group.barrier();
    assert.throws(() => group.allGather(tensor(1, where)), ShapeError);
    if (size === 1) return;
    const different = () => group.allGather(randn([rank === 1 ? 4 : 3], { seed: 1, ...where }));
    assert.throws(different, (error: Error) => {
      assert.ok(error instanceof DistributedError);
      assert.match(
        error.message,
        /allGather: rank 0 \[3\] float\d\d, rank 1 \[4\] float\d\d; expected the same on all ranks/,
      );
      return true;
    });
  },

  async late() {
    if (rank !== 0) await new Promise((resolve) => setTimeout(resolve, 20_000));
    group.barrier();
  },

  fails() {
    if (rank === 1) throw new Error('rank 1 has had enough');
    group.barrier();
  },

  /** Ends in the midst of what the others wait for. */
  dies() {
    if (rank === 1) process.exit(7);
    group.barrier();
  },
};
await programs[what!]!();
