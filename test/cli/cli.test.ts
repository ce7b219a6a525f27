/** The command as users meet it: spawned, on small pictures of its own. */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init } from 'hopgrad';
import { ClipTokenizer, createModel, saveCheckpoint } from 'hopgrad/models/cloob';
import { loadSharp } from '#src/data/sharp.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';
import { colours, hopgrad, makePictures, makeWeights, readRows, tinyConfig } from './helpers.js';

/** Squares of two of the colours, of another size: in folders whose classes have other numbers. */
async function makeOthers(folder: string): Promise<void> {
  const sharp = await loadSharp();
  for (const name of ['red', 'yellow'] as const) {
    mkdirSync(join(folder, 'others', name), { recursive: true });
    for (let i = 0; i < 2; i++) {
      const [r, g, b] = colours[name];
      const background = { r: r - 4 * i - 2, g: g - 4 * i - 2, b };
      const picture = sharp({ create: { width: 20, height: 20, channels: 3, background } });
      await picture.png().toFile(join(folder, 'others', name, `${i}.png`));
    }
  }
}

const small = [
  'train',
  '--train-data',
  'pairs.tsv',
  '--val-data',
  'pairs.tsv',
  '--model',
  'tiny.json',
  '--batch-size',
  '4',
  '--workers',
  '0',
];

describe('hopgrad, the command', function () {
  this.timeout(900_000); // seconds each on an idle machine
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-cli-'));
    await makePictures(folder);
    await makeOthers(folder);
    const lines = readFileSync(join(folder, 'pairs.tsv'), 'utf8').split('\n');
    writeFileSync(join(folder, 'four.tsv'), `${[0, 1, 4, 7, 10].map((i) => lines[i]).join('\n')}\n`);
    writeFileSync(join(folder, 'commas.csv'), 'path,words\nsquares/red/0.png,red\n');
    writeFileSync(join(folder, 'no-weights.pt'), 'nothing');
    mkdirSync(join(folder, 'folder.json'));
    mkdirSync(join(folder, 'odd', 'manifest.json'), { recursive: true });
    await makeWeights(join(folder, 'tiny.safetensors'));
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(tinyConfig));
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await init({ device: 'wasm' }); // a test here looks for an adapter, which makes its device the default
  });

  const run = (...args: string[]) => hopgrad(folder, args);

  const mistakes: [number, RegExp, ...string[]][] = [
    [2, /unknown option '--nope'/, 'train', '--nope'],
    [2, /unknown command 'nope'/, 'nope'],
    [2, /'abc' is invalid. It must be a number/, 'train', '--lr', 'abc'],
    [2, /'2.5' is invalid. It must be a whole number/, 'train', '--batch-size', '2.5'],
    [2, /Allowed choices are infoloob, infonce, dcl, siglip/, 'train', '--loss', 'nope'],
    [2, /Allowed choices are auto, wasm/, 'train', '--device', 'abacus'],
    [2, /search: no words/, 'search'],
    [2, /--lr cannot be changed by --resume/, 'train', '--resume', 'x', '--lr', '1'],
    [2, /--model nope; expected one of RN50, /, 'train', '--model', 'nope'],
    [2, /--batch-size 1; expected at least 2/, 'train', '--batch-size', '1'],
    [2, /--init-inv-tau 0; expected a positive number/, 'train', '--init-inv-tau', '0'],
    [2, /--scale-hopfield -8; expected a positive number/, 'train', '--scale-hopfield', '-8'],
    [2, /threads 0; expected a whole number ≥ 1/, 'train', '--threads', '0'],
    [1, /no such file/, 'train', '--train-data', 'missing.tsv'],
    [1, /--csv-img-key and --csv-caption-key/, 'train', '--train-data', 'commas.csv'],
    [1, /Use a smaller --batch-size/, 'train', '--train-data', 'pairs.tsv', '--batch-size', '64'],
    [2, /--warmup 9 for a training of 2 steps/, ...small, '--steps', '2', '--warmup', '9'],
    [1, /--resume missing: no such folder/, 'train', '--resume', 'missing'],
    [1, /no run in runs-of-nobody/, 'train', '--resume', 'latest', '--logs', 'runs-of-nobody'],
    [2, /--name ..\/away; expected the name of a folder/, 'train', '--name', '../away'],
    [2, /--name \/tmp\/away; expected the name of a folder/, 'train', '--name', '/tmp/away'],
    [2, /--save-frequency -1; expected a whole number ≥ 0/, 'train', '--save-frequency', '-1'],
    [2, /--patience without data to validate on/, ...small.slice(0, 3), ...small.slice(5), '--patience', '3'],
    [2, /It must be at least 1/, 'train', '--train-num-samples', '-1'],
    [2, /--epochs 0 \(expected .*\), --lr -1 \(expected/, 'train', '--epochs', '0', '--lr', '-1'],
    [2, /--model .*missing.json; expected a file that exists/, 'train', '--model', 'missing.json'],
    [1, /no finished run in runs-of-nobody/, 'eval', '--logs', 'runs-of-nobody'],
    [1, /no-weights.pt/, 'convert', 'no-weights.pt', 'x.safetensors'],
    [1, /no index missing.safetensors/, 'search', 'red', '--index', 'missing.safetensors'],
    [
      2,
      /--csv-separator, --encoding for pairs.jsonl/,
      'train',
      '--train-data',
      'pairs.jsonl',
      '--csv-separator',
      ';',
      '--encoding',
      'latin1',
    ],
    [
      2,
      /--csv-caption-key for captions.json and x.tar; expected no such flag/,
      'train',
      '--train-data',
      'captions.json',
      '--val-data',
      'x.tar',
      '--csv-caption-key',
      'x',
    ],
    [2, /--csv-img-key for emoji/, 'train', '--csv-img-key', 'x'],
    [2, /--csv-quotes for squares/, 'embed', 'squares', '--checkpoint', 'tiny.safetensors', '--csv-quotes', 'on'],
    [
      2,
      /--encoding, --workers for pictures that are embedded already/,
      'search',
      'red',
      '--encoding',
      'latin1',
      '--workers',
      '0',
    ],
    [2, /--validation with --train-data/, ...small, '--validation'],
    [2, /--zero-shot-data with --val-data emoji/, ...small, '--val-data', 'emoji', '--zero-shot-data', 'squares'],
    [2, /--validation with --val-data/, 'eval', '--validation', '--val-data', 'pairs.tsv'],
    [2, /--train-num-samples for pairs.tsv/, ...small, '--train-num-samples', '9'],
    [1, /folder.json: a folder; expected a readable file/, 'train', '--model', 'folder.json'],
    [1, /manifest.json: a folder; expected a readable file/, 'train', '--resume', 'odd'],
    [
      1,
      /\/dev\/zero: a device; expected a readable file/,
      'zero-shot',
      '--val-data',
      'squares',
      '--class-names',
      '/dev/zero',
    ],
    [
      1,
      /^hopgrad: embed: --output nowhere\/x.safetensors: no folder nowhere/,
      'embed',
      'squares',
      '--checkpoint',
      'tiny.safetensors',
      '--output',
      'nowhere/x.safetensors',
    ],
    [
      1,
      /^hopgrad: embed: --output squares: a folder/,
      'embed',
      'squares',
      '--checkpoint',
      'tiny.safetensors',
      '--output',
      'squares',
    ],
    [
      1,
      /^hopgrad: search: --html pairs.tsv\/x.html: pairs.tsv is no folder/,
      'search',
      'red',
      '--html',
      'pairs.tsv/x.html',
    ],
    [
      1,
      /^hopgrad: convert: out nowhere\/x.safetensors: no folder nowhere/,
      'convert',
      'tiny.safetensors',
      'nowhere/x.safetensors',
    ],
    [2, /other pictures to measure on/, 'probe', '--train-data', 'squares'],
  ];
  for (const [code, message, ...args] of mistakes)
    it(`answers "${args.join(' ')}" with exit code ${code} and a line that says why`, async () => {
      const outcome = await run(...args);
      assert.match(outcome.stderr, message);
      assert.equal(outcome.code, code);
      assert.doesNotMatch(outcome.stderr, /^\s+at /m, 'a stack trace');
    });

  it('shows help for every command', async () => {
    const { stdout } = await run('--help');
    for (const name of ['train', 'eval', 'zero-shot', 'probe', 'stats', 'embed', 'search', 'serve', 'convert']) {
      assert.match(stdout, new RegExp(`^  ${name}`, 'm'));
      assert.equal((await run(name, '--help')).code, 0);
    }
  });

  const log = (name: string) => readRows<{ beta: number | null }>(join(folder, 'runs', name, 'log.jsonl'));

  it('trains twice to the same bits', async () => {
    const six = [...small, '--steps', '6', '--hopfield-from', '4'];
    for (const name of ['first', 'second']) {
      const { code, stdout, stderr } = await run(...six, '--name', name);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /12 pairs[\s\S]*chance[\s\S]*picture → caption/);
    }
    const weights = (name: string) => readFileSync(join(folder, 'runs', name, 'model.safetensors'));
    assert.deepEqual(log('first'), log('second'));
    assert.deepEqual(
      log('first').map(({ beta }) => beta),
      [null, null, null, null, 8, 8],
    );
    assert.ok(weights('first').equals(weights('second')));
  });

  it('tries in a few steps all that a run goes through, whatever its length', async () => {
    const long = ['--epochs', '70', '--warmup', '20000', '--hopfield-from', '1000', '--zero-shot-data', 'squares'];
    const { code, stderr, stdout } = await run(
      ...small,
      ...long,
      '--debug-run',
      '--name',
      'tried',
      '--batch-size',
      '2',
    );
    assert.equal(code, 0, stderr);
    const file = (name: string) => join(folder, 'runs', 'debug', 'tried', name);
    const betas = readRows<{ beta: number | null }>(file('log.jsonl')).map(({ beta }) => beta);
    assert.deepEqual(betas, [null, null, 8, 8]);
    const validations = readRows<{ epoch: number; sets: { pairs: number }[] }>(file('evaluations.jsonl'));
    assert.deepEqual(
      validations.map(({ epoch, sets }) => [epoch, sets[0]!.pairs]),
      [
        [1, 4],
        [2, 4],
      ],
    );
    assert.deepEqual(readdirSync(file('checkpoints')).sort(), ['best', 'step-00000002', 'step-00000004']);
    assert.equal(JSON.parse(readFileSync(file('results.json'), 'utf8')).pairs, 4);
    assert.match(stdout, /picture → caption/);
    const resumed = await run('train', '--resume', 'runs/debug/tried', '--steps', '5');
    assert.equal(resumed.code, 0, resumed.stderr);
    const newest = await run('train', '--resume', 'latest', '--debug-run');
    assert.match(newest.stderr, /--debug-run cannot be changed by --resume/);
  });

  it('evaluates, embeds, searches, classifies, probes and converts', async () => {
    const model = ['--checkpoint', 'runs/first'];
    const evaluated = await run('eval', '--val-data', 'pairs.tsv', ...model);
    assert.match(evaluated.stdout, /12 pairs[\s\S]*caption → picture/, evaluated.stderr);

    assert.match((await run('embed', 'squares', ...model)).stdout, /12 pictures as vectors of 8/);
    const found = await run('search', 'a red square', '--top', '3', '--html', 'sheet.html');
    assert.equal(found.stdout.match(/squares\/\w+\/\d\.png/g)?.length, 3, found.stderr);
    const sheet = readFileSync(join(folder, 'sheet.html'), 'utf8');
    const shown = [...sheet.matchAll(/src="([^"]+)"/g)].map(([, source]) => source!);
    assert.equal(shown.length, 3);
    for (const source of shown) assert.match(source, /^data:image\/webp;base64,.{40,}/);

    const zeroShot = await run('zero-shot', '--val-data', 'squares', ...model);
    assert.match(zeroShot.stdout, /12 pictures, 4 classes, 2 prompts a class\ntop-1 [\d.]+ % \(chance 25.0 %\)/);
    const names = await run('zero-shot', '--val-data', 'squares', '--class-names', 'commas.csv', ...model);
    assert.equal(names.code, 1);
    assert.match(names.stderr, /2 class names for 4 classes/);

    writeFileSync(join(folder, 'templates.txt'), 'no place for a name\n');
    const bad = await run('zero-shot', '--val-data', 'squares', '--templates', 'templates.txt', ...model);
    assert.match(bad.stderr, /line 1 of templates.txt/);

    const probe = await run('probe', '--train-data', 'squares', '--val-data', 'others', '--l2', '0.01', ...model);
    assert.match(probe.stdout, /Trained on 12 pictures of 4 classes[\s\S]*On 4 others: top-1 100.0 %/, probe.stderr);
    symlinkSync(join(folder, 'squares'), join(folder, 'same'));
    for (const again of ['./squares', 'same', join(folder, 'squares')]) {
      const { code, stderr } = await run('probe', '--train-data', 'squares', '--val-data', again, ...model);
      assert.equal(code, 2);
      assert.match(stderr, /the same pictures; expected other pictures/);
    }
    const unknown = await run('probe', '--train-data', 'others', '--val-data', 'squares', ...model);
    assert.match(unknown.stderr, /2 classes of .* that .* does not have: blue, green/);

    const converted = await run('convert', 'runs/first/model.safetensors', 'half.safetensors', '--floats', 'F16');
    assert.match(converted.stdout, /M parameters in F16/);
    assert.match((await run('eval', '--val-data', 'pairs.tsv', '--checkpoint', 'half.safetensors')).stdout, /12 pairs/);
  });

  for (const device of ['gpujs-cpu', 'webgpu'])
    it(`trains, evaluates and goes on with --device ${device}`, async function () {
      if (device === 'webgpu') await needWebGpu.call(this); // also tells the commands where the adapter is
      const name = `on-${device}`;
      const args = ['--model', 'tiny.json', '--batch-size', '4', '--steps', '2', '--workers', '0', '--device', device];
      const trained = await run(
        'train',
        '--train-data',
        'pairs.tsv',
        '--val-data',
        'four.tsv',
        ...args,
        '--name',
        name,
      );
      assert.equal(trained.code, 0, trained.stderr);
      assert.match(trained.stdout, /4 pairs[\s\S]*caption → picture/);
      rmSync(join(folder, 'runs', name, 'results.json'));
      const resumed = await run('train', '--resume', `runs/${name}`);
      assert.match(resumed.stderr, /Continuing at step 2 of 2/);
      assert.doesNotMatch(resumed.stderr, /to rounding only/, 'the device is that of the run');
      assert.ok(existsSync(join(folder, 'runs', name, 'results.json')));
      const evaluated = await run('eval', '--val-data', 'four.tsv', '--checkpoint', `runs/${name}`, '--device', device);
      assert.equal(evaluated.code, 0, evaluated.stderr);
      assert.match(evaluated.stdout, /4 pairs[\s\S]*caption → picture/);
    });

  it('trains a small model with the published vocabulary', async () => {
    const { code, stderr } = await run(...small, '--steps', '1', '--vocab-size', '49408', '--name', 'published');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /49408 tokens/);
  });

  it('refuses to evaluate weights that are not finite', async () => {
    const model = createModel(tinyConfig);
    const [parameter] = model.parameters();
    parameter!.storage.device.copyInto(parameter!.storage, parameter!.mul(Number.NaN).storage);
    const tokenizer = ClipTokenizer.train(['a square'], { vocabSize: 520 });
    await saveCheckpoint(join(folder, 'nan.safetensors'), { model, tokenizer });
    const { code, stderr } = await run('eval', '--val-data', 'pairs.tsv', '--checkpoint', 'nan.safetensors');
    assert.equal(code, 1);
    assert.match(stderr, /nan.safetensors: .* not finite/);
  });
});
