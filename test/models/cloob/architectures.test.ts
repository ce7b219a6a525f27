/** The official architectures against an independent definition: names, shapes, counts, initialisation, batch norm. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { noGrad, ShapeError, UsageError } from 'hopgrad';
import { type CloobConfig, configs, createModel, readSafetensors } from 'hopgrad/models/cloob';
import { fixture, relativeError, values } from '../../helpers.js';

const json = <T>(name: string): T => JSON.parse(readFileSync(fixture(name), 'utf8'));

/** Sizes only: the defaults of a configuration written out. */
const sizes = ({ vision_patch_size = null, ...config }: CloobConfig) => ({ ...config, vision_patch_size });

interface Architecture {
  config: CloobConfig;
  parameters: number;
  entries: Record<string, number[]>;
}

describe('official architectures', () => {
  for (const [name, { config, parameters, entries }] of Object.entries(
    json<Record<string, Architecture>>('architectures.json'),
  ))
    it(`${name} has the official sizes, names, shapes and ${parameters} parameters`, () => {
      assert.deepEqual(sizes(configs[name as keyof typeof configs]), config);
      const model = createModel(name, { blank: true, device: 'reference' });
      const shapes = Object.entries(model.stateDict()).map(([key, { shape }]) => [key, shape]);
      // The scalar has one axis here; files have it without, as PyTorch does.
      assert.deepEqual(Object.fromEntries(shapes), { ...entries, logit_inv_tau: [1] });
      assert.equal(model.parameterCount(), parameters);
    });

  it('refuses other names and images of other sizes', () => {
    assert.throws(() => createModel('RN51'), UsageError);
    const { config } = json<Record<string, Architecture>>('initialisation.json').vit!;
    const model = createModel(config, { blank: true });
    const { tensors } = readSafetensors(fixture('official-tiny-vit.safetensors'), {
      select: (n) => n === 'input.images',
    });
    assert.throws(() => model.encodeImage(tensors['input.images']!), ShapeError);
  });
});

describe('initial weights', () => {
  const golden =
    json<Record<string, { config: CloobConfig; entries: Record<string, [number, number, number]> }>>(
      'initialisation.json',
    );
  for (const [kind, { config, entries }] of Object.entries(golden))
    it(`a ${kind} begins with the official distributions, entry by entry`, () => {
      const state = createModel(config, { seed: 11 }).stateDict();
      for (const [name, [mean, std, kurtosis]] of Object.entries(entries)) {
        const data = values(state[name]!);
        const n = data.length;
        const moment = (center: number, power: number) => data.reduce((sum, x) => sum + (x - center) ** power, 0) / n;
        const ownMean = moment(0, 1);
        const ownStd = Math.sqrt(moment(ownMean, 2));
        const rounding = 1e-6 + 2e-5 * Math.abs(mean); // the golden values have five digits
        const noise = 5 * Math.SQRT2; // five deviations of the difference of two samples
        assert.ok(
          Math.abs(ownMean - mean) <= (noise * std) / Math.sqrt(n) + rounding,
          `${name}: mean ${ownMean}, not ${mean}`,
        );
        assert.ok(
          Math.abs(ownStd - std) <= (noise * std) / Math.sqrt(2 * n) + rounding,
          `${name}: deviation ${ownStd}, not ${std}`,
        );
        if (std === 0 || n < 1000) continue; // 1.8 for uniform, 3 for normal numbers
        assert.ok(
          Math.abs(moment(ownMean, 4) / ownStd ** 4 - kurtosis) < 0.6,
          `${name}: kurtosis ${kurtosis} expected`,
        );
      }
    });

  it('depends on the seed alone', () => {
    const { config } = golden.vit!;
    const first = (seed: number) => values(createModel(config, { seed }).stateDict()['visual.proj']!).slice(0, 3);
    assert.deepEqual(first(1), first(1));
    assert.notDeepEqual(first(1), first(2));
  });
});

describe('batch norm', () => {
  const golden = json<{ entries: Record<string, number[]>; features: number[][] }>('running-statistics.json');
  for (const [dtype, device, tolerance] of [
    ['float64', 'reference', 1e-7], // inputs and the first state are stored in float32, computed with in float64
    ['float32', 'wasm', 1e-5],
  ] as const)
    it(`keeps the official running statistics and uses them in evaluation: ${dtype} on ${device}`, () => {
      const { tensors, metadata } = readSafetensors(fixture('official-tiny-resnet.safetensors'), { device });
      const model = createModel(JSON.parse(metadata.config!), { dtype, device, blank: true });
      const state = Object.entries(tensors).filter(([name]) => name.startsWith('state.'));
      model.loadStateDict(Object.fromEntries(state.map(([name, value]) => [name.slice('state.'.length), value])));
      const images = tensors['input.images']!.cast(dtype);
      noGrad(() => {
        model.train();
        model.encodeImage(images);
        model.encodeImage(images.mul(-0.5));
        const after = model.stateDict();
        for (const [name, expected] of Object.entries(golden.entries))
          assert.ok(relativeError(values(after[name]!), expected) < tolerance, name);
        model.eval();
        assert.ok(relativeError(values(model.encodeImage(images)), golden.features.flat()) < tolerance);
        for (const [name, value] of Object.entries(model.stateDict()))
          if (name.includes('running')) assert.deepEqual(values(value), values(after[name]!), `${name} in evaluation`);
      });
    });
});
