/** One step on one, two and four ranks is one step: over MPI of both families, and over threads. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randn } from 'hopgrad';
import { Group, joinGroup, startRanks } from 'hopgrad/distributed';
import { DomainError } from '#src/tensor/errors.js';
import { relativeError } from '../helpers.js';
import { needsLaunchers, type Start, starts } from './start.js';

const program = new URL('./rank.js', import.meta.url);

interface Step {
  loss: number;
  gradients: Record<string, number[]>;
}
interface Found {
  name: string;
  cloob: Step;
  clip: Step;
}

describe('ranks', function () {
  this.timeout(180_000);
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-ranks-'));
  after(() => rmSync(folder, { recursive: true }));
  let files = 0;
  async function exact(start: Start, size: number, device: string): Promise<Found> {
    const file = join(folder, `${files++}.json`);
    const { code, output } = await start(program, size, 'exact', device, file);
    assert.equal(code, 0, output);
    return JSON.parse(readFileSync(file, 'utf8'));
  }
  function same(actual: Found, expected: Found, bound: number): void {
    for (const method of ['cloob', 'clip'] as const) {
      const [a, b] = [actual[method], expected[method]];
      assert.ok(Math.abs(a.loss - b.loss) <= bound * Math.abs(b.loss), `${method}: ${a.loss} for ${b.loss}`);
      for (const [name, values] of Object.entries(b.gradients)) {
        const error = relativeError(a.gradients[name]!, values, Math.max(...values.map(Math.abs), 1e-3));
        assert.ok(error <= bound, `${method}, ${name}: ${error}`);
      }
    }
  }

  for (const [what, { start, needs, name }] of Object.entries(starts))
    describe(`over ${what}`, () => {
      let one: Found;
      before(async function () {
        needsLaunchers(this, needs);
        one = await exact(starts.threads.start, 1, 'reference');
      });

      for (const size of [2, 4])
        it(`${size} ranks: losses and gradients are those of one, to 1e-10 in float64`, async () => {
          const found = await exact(start, size, 'reference');
          assert.match(found.name, name);
          same(found, one, 1e-10);
        });

      it('two ranks: to rounding in float32 on wasm', async () => {
        const found = await exact(start, 2, 'wasm');
        same(found, one, 2e-4);
        same(await exact(starts.threads.start, 1, 'wasm'), found, 2e-4);
      });

      for (const size of what === 'threads' ? [1, 2, 3] : [2])
        it(`${size} ranks: gathering with its derivatives, sums in both orders, broadcasts, ranks that differ`, async () => {
          for (const device of ['reference', 'wasm']) {
            const { code, output } = await start(program, size, 'ops', device);
            assert.equal(code, 0, output);
          }
        });

      it('a rank that is late, that throws, or that is gone ends all, and is named', async () => {
        const late = await start(program, 2, 'late');
        assert.notEqual(late.code, 0);
        assert.match(late.output, /rank 0 waited 1 s for/);
        const failed = await start(program, 2, 'fails');
        assert.notEqual(failed.code, 0);
        assert.match(failed.output, /rank 1 has had enough/);
        const gone = await start(program, 2, 'dies');
        assert.notEqual(gone.code, 0);
        assert.match(gone.output, /rank 1 ended with code 7/);
      });
    });

  it('a group of one costs nothing: its gathering is the tensor itself', async () => {
    const group = await joinGroup();
    assert.deepEqual([group.transport.name, group.rank, group.size], ['alone', 0, 1]);
    const x = randn([2, 3]);
    assert.equal(group.allGather(x), x);
    assert.equal(group.allReduce(x).storage, x.storage);
    assert.equal(new Group().broadcast(x).storage, x.storage);
    group.barrier();
  });

  it('refuses numbers of ranks and transports that are none', async () => {
    for (const size of [0, 1.5, Number.NaN]) await assert.rejects(startRanks(program, size), DomainError);
    await assert.rejects(startRanks(program, 1, { timeout: 0 }), DomainError);
    await assert.rejects(joinGroup({ transport: 'nccl' as never }), DomainError);
  });
});
