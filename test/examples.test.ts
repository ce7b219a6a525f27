/** The programs in examples/, run: what they print is what a reader sees first. */
import assert from 'node:assert/strict';
import { init } from 'hopgrad';

const load = (name: string) => import(new URL(`../../examples/${name}.js`, import.meta.url).href);
const collect = () => {
  const lines: string[] = [];
  return { lines, log: (text: unknown) => lines.push(String(text)) };
};

describe('examples', () => {
  before(() => init({ device: 'wasm' }));

  it('a classifier tells shapes apart', async () => {
    const { lines, log } = collect();
    const { right } = await (await load('classifier')).trainClassifier({ log });
    assert.ok(right > 0.75, `${right}`);
    assert.match(lines[0]!, /1,731 parameters/);
    assert.match(lines.at(-1)!, /% of new pictures right; by chance 33\.3 %$/);
  });

  it('a VAE tightens its bound, and draws with all its hidden numbers', async () => {
    const { lines, log } = collect();
    const { bounds, samples } = await (await load('vae')).trainVae({ steps: 80, log });
    assert.ok(bounds[0] > 95 && bounds.at(-1) < 40, `${bounds[0]} to ${bounds.at(-1)} nats`);
    assert.deepEqual([samples.length, samples[0].length, samples[0][0].length], [3, 12, 12]);
    assert.ok(samples.flat(2).every((value: number) => value >= 0 && value <= 1));
    assert.ok(lines.length === 5 && lines.some((line) => line.includes('█')), lines.join('\n'));
  });

  it('a transformer learns to sort', async () => {
    const { lines, log } = collect();
    const { right } = await (await load('transformer')).trainTransformer({ steps: 100, batch: 32, log });
    assert.ok(right > 0.8, `${right}`);
    assert.match(lines.at(-2)!, /^\d \d \d \d > \d \d \d \d$/);
  });
});
