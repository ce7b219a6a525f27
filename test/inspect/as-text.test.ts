/** Every public class as text: String(x), a template, what Node prints, and JSON. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { device, HopgradError, init, ones, profile, Random, Tensor, tensor, valueAndGrad } from 'hopgrad';
import * as data from 'hopgrad/data';
import * as distributed from 'hopgrad/distributed';
import * as models from 'hopgrad/models/cloob';
import * as nn from 'hopgrad/nn';
import * as onnx from 'hopgrad/onnx';
import * as testing from 'hopgrad/testing';
import * as main from '#src/index.js';

type Class = abstract new (...args: never[]) => object;
const isClass = (value: unknown): value is Class =>
  typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
const classes = [main, nn, models, testing, data, onnx, distributed].flatMap((entry) =>
  Object.entries(entry).flatMap(([name, value]) => (isClass(value) ? [[name, value] as const] : [])),
);

const fixture = (name: string) => fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url));

/** One of each; of every family of errors, layers and optimisers the first that is asked for. */
async function examples(): Promise<object[]> {
  const many = new nn.Linear(300, 300);
  const optimizer = new nn.AdamW(many.parameters(), { lr: 1e-2 });
  many
    .forward(ones([1, 300]))
    .sum()
    .backward();
  await optimizer.step();
  const file = await models.openTorchFile(new Uint8Array(readFileSync(fixture('torch-layouts.pt'))));
  const stored = (file.value as Map<string, Map<string, object>>).get('tensors')!.get('float');
  file.close();
  const rows = Array.from({ length: 500 }, (_, i) => ({ name: `${i}`, image: `${i}.png`, caption: `${i}` }));
  const source = data.listSource('pairs.tsv', rows as never);
  const transform = { size: 32, mean: [0, 0, 0], std: [1, 1, 1] } as never;
  return [
    ...[tensor(2), ones([1000]), many.weight, new nn.Buffer(ones([2]))],
    ...[many, new nn.Sequential(many, new nn.ReLU()), models.createModel('emoji-resnet'), optimizer],
    ...[new Random(3), valueAndGrad((x: Tensor) => x.pow(2).sum())(tensor([1, 2])), await profile(() => ones([2]))],
    ...[new nn.ExponentialMovingAverage(many), await nn.HalfTensor.from(ones([50]), 'float16'), stored!],
    ...[
      await models.ClipTokenizer.official(),
      new data.Loader(source, { batchSize: 8, transform }),
      new data.Preparer(0),
    ],
    ...[await distributed.joinGroup(), await testing.allClose(ones([2]), ones([2]))],
    ...[await testing.checkGradients((x) => x.sum(), [ones([2])]), new HopgradError('f', { received: 'nothing' })],
  ];
}

describe('every public class as text', () => {
  let given: object[];
  before(async () => {
    await init({ device: 'wasm' });
    given = await examples();
  });

  it('is tried here, by itself or by one that has its texts from the same class', () => {
    assert.ok(classes.length > 50, `${classes.length}`);
    const texts = ['toString', 'toJSON', Symbol.for('nodejs.util.inspect.custom')];
    const same = (own: Class) => (value: object) =>
      texts.every((method) => Reflect.get(own.prototype, method) === Reflect.get(value, method));
    assert.deepEqual(
      classes.filter(([, own]) => !given.some(same(own))).map(([name]) => name),
      [],
    );
  });

  it('says what it is in a few lines, the same in a template, and to Node no more than a page', () => {
    for (const value of given) {
      const text = String(value);
      const { name } = value.constructor;
      assert.equal(`${value}`, text, name);
      assert.doesNotMatch(text, /\[object|=>/, name);
      assert.ok(text.length > 8 && text.length < 700, `${name}: ${text.length} characters`);
      const shown = inspect(value);
      assert.ok(shown.length < (value instanceof Error ? 3000 : 4000), `${name}: ${shown.length} characters\n${shown}`);
    }
  });

  it('counts what is in it', () => {
    const text = (of: Class) => String(given.find((value) => value.constructor === of));
    assert.equal(text(nn.Linear), 'Linear: 90,300 parameters, 352.7 KiB with buffers');
    assert.equal(text(nn.AdamW), 'AdamW: 90,300 parameters, lr 0.01, step 1');
    assert.equal(text(Random), 'Random: seed 3, stream 0, position 0');
    assert.equal(text(nn.ExponentialMovingAverage), 'ExponentialMovingAverage of Linear: 0 updates, decay 0.999');
    assert.match(text(models.CloobModel), /^CloobModel: 3,\d\d\d,\d\d\d parameters, /);
    assert.match(text(models.ClipTokenizer), /^ClipTokenizer: 49,408 tokens$/);
    assert.match(text(models.TorchTensor), /^TorchTensor \[.*\] F\d\d$/);
    assert.match(text(nn.HalfTensor), /^HalfTensor \[50\] float16\n\[1, 1, .*\]$/);
    assert.equal(text(data.Loader), 'Loader: pairs.tsv, 500 rows, batches of 8');
    assert.match(String(device()), /^wasm: WebAssembly with /);
    assert.equal(text(distributed.Group), 'Group: rank 0 of 1, alone');
  });

  it('is JSON that says no less and does not spell out weights', () => {
    for (const value of given) {
      const { name } = value.constructor;
      const json = JSON.stringify(value);
      // A tensor is its numbers, a tokenizer its merges: both are read again.
      if (!(value instanceof Tensor || value instanceof models.ClipTokenizer))
        assert.ok(json.length > 8 && json.length < 700, `${name}: ${json.length} characters: ${json.slice(0, 200)}`);
      assert.doesNotMatch(json, /storage|"0":/, name);
    }
    const json = (of: Class) => JSON.parse(JSON.stringify(given.find((value) => value.constructor === of)));
    assert.deepEqual(json(nn.Linear), { module: 'Linear', parameters: 90300 });
    assert.deepEqual(json(nn.HalfTensor), Array(50).fill(1));
    const random = new Random(5, 2);
    random.uint32();
    const again = Random.fromState(JSON.parse(JSON.stringify(random)));
    assert.equal(again.uint32(), random.uint32());
  });
});
