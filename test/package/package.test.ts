/** The package as npm packs it, unpacked elsewhere, beside nothing but what it declares. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { build } from 'esbuild';
import { publint } from 'publint';
import { emojiPackages } from '#src/data/emoji.js';
import { declarations } from './declarations.js';
import { examples } from './examples.js';
import { manifest, type Packed, pack, root, run } from './packed.js';

describe('the packed package', function () {
  this.timeout(180_000);
  let packed: Packed;
  let names: string[];
  let app: string;
  let installed: string;

  before(() => {
    packed = pack();
    names = packed.names;
    app = join(packed.folder, 'app');
    mkdirSync(join(app, 'node_modules'), { recursive: true });
    installed = join(app, 'node_modules/hopgrad');
    cpSync(join(packed.folder, 'package'), installed, { recursive: true });
    for (const name of Object.keys(manifest.dependencies)) link(name);
    writeFileSync(join(app, 'package.json'), '{ "type": "module" }');
  });
  after(() => packed?.remove());

  /** Puts a package of this repository beside the unpacked one. */
  function link(name: string): void {
    const to = join(app, 'node_modules', name);
    mkdirSync(dirname(to), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), to);
  }

  const evaluate = (code: string) => run(process.execPath, ['--input-type=module', '--eval', code], app);

  it('is built when it is packed, and holds what it needs, nothing twice, and nothing of how it is made', () => {
    for (const needed of [
      ...['LICENSE', 'NOTICE', 'README.md', 'ARCHITECTURE.md', 'docs/tour.md', 'docs/bundlers.md'],
      ...['examples/vite-page/train.js', 'examples/webpack-page/index.html', 'examples/classifier.js'],
      ...[
        'dist/kernels/wasm/hopgrad.wasm',
        'dist/kernels/gpu/gpujs.js',
        'dist/hopgrad.js',
        'src/autograd/ops/matmul.ts',
      ],
      ...Object.values(manifest.exports).map((entry) => (typeof entry === 'string' ? entry : entry.default).slice(2)),
      ...Object.values(manifest.bin).map((path) => normalize(path)),
    ])
      assert.ok(names.includes(needed), `${needed} is missing`);
    assert.ok(!names.includes('dist/left-over.js'), 'what no source makes any more');
    const belongs = /^(dist|src|docs|examples)\/|^bench\/RESULTS|^[A-Z]+(\.md)?$|^package\.json$/;
    assert.deepEqual(
      names.filter((name) => !belongs.test(name) || /^(?!examples).*\.test\b|\.(tsbuildinfo|gz)\b/.test(name)),
      [],
    );
    assert.equal(names.filter((name) => /clip-merges.*\.(gz|js)$/.test(name)).length, 1, "CLIP's merges");
    const bytes = names.reduce((sum, name) => sum + readFileSync(join(installed, name)).length, 0);
    assert.ok(bytes < 11e6, `${bytes} bytes`);
  });

  it('has every file that its pages link to', () => {
    for (const page of names.filter((name) => name.endsWith('.md')))
      for (const [, link] of readFileSync(join(installed, page), 'utf8').matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
        assert.ok(existsSync(join(installed, dirname(page), link!)), `${page} links to ${link}`);
  });

  it('has no fault that publint knows, and a changelog of its version', async () => {
    const { messages } = await publint({ pkgDir: join(packed.folder, 'package'), pack: false, strict: true });
    assert.deepEqual(messages, []);
    assert.match(readFileSync(join(root, 'CHANGELOG.md'), 'utf8'), new RegExp(`^## ${manifest.version}$`, 'm'));
  });

  it('imports by every path, without the packages that are optional', () => {
    const paths = Object.keys(manifest.exports).filter((path) => path !== './package.json');
    assert.deepEqual(paths, ['.', './nn', './models/cloob', './testing', './data', './onnx', './distributed']);
    const imports = paths.map((path) => `Object.keys(await import('hopgrad${path.slice(1)}')).length > 2`);
    assert.equal(evaluate(`console.log([${imports}].join())`).trim(), paths.map(() => 'true').join());
  });

  it('computes gradients and checks them; generators say what they need', () => {
    const told = evaluate(`
      import { grad, tensor } from 'hopgrad';
      import { assertGradients, shapes } from 'hopgrad/testing';
      console.log(await grad((x) => x.pow(3).sum())(tensor([1, 2, 3])).array());
      await assertGradients((x) => x.exp().sum(), [tensor([1, 2], { dtype: 'float64' })]);
      try { shapes() } catch (error) { console.log(error.name, error.message) }`);
    assert.match(told, /\[ 3, 12, 27 \]\nUsageError .*no fast-check.*npm install --save-dev fast-check/);
  });

  describe('in a bundle for pages, minified', () => {
    /** Builds `code`. @returns its chunks by name; the first is what a page loads before it asks for a device */
    const bundle = async (code: string) => {
      const { outputFiles } = await build({
        stdin: { contents: code, resolveDir: app },
        ...{ bundle: true, minify: true, splitting: true, format: 'esm', write: false, outdir: app },
      });
      return outputFiles.map(({ path, text }) => ({ path, text }));
    };
    /** The first chunk with all that it imports at once. */
    const first = async (code: string) => {
      const chunks = new Map((await bundle(code)).map(({ path, text }) => [basename(path), text]));
      const needed = new Set(['stdin.js']);
      for (const name of needed)
        for (const [, other] of chunks.get(name)!.matchAll(/(?:from|import)"\.\/([^"]+)"/g)) needed.add(other!);
      return [...needed].map((name) => chunks.get(name)!).join('');
    };

    for (const [code, most] of Object.entries({
      "import { tensor } from 'hopgrad'; console.log(tensor)": 70_000,
      "import { grad, tensor } from 'hopgrad'; console.log(grad, tensor)": 73_000,
      "import { ShapeError } from 'hopgrad'; console.log(ShapeError)": 1700,
    }))
      it(`${code.split(';')[0]} is at most ${most} bytes, devices and equations apart`, async () => {
        const text = await first(code);
        const bytes = Buffer.byteLength(text);
        assert.ok(bytes <= most && bytes > 0.9 * most, `${bytes} bytes`);
      });

    it('one tensor has all its methods, functions come when they are named, and init() is asked for by name', async () => {
      const code = `import { init, tensor } from 'hopgrad';
        try { tensor(1) } catch (error) { console.log(error.name, error.message) }
        await init({ device: 'reference' });
        console.log(tensor([1, 2]).exp().sum().shape);`;
      for (const { path, text } of await bundle(code)) writeFileSync(path, text);
      assert.match(run(process.execPath, ['stdin.js'], app), /^DeviceError .*await init\(\) once.*\n\[\]\n$/);
      const few = await first("export { grad } from 'hopgrad'");
      const more = await first("export { takeAlongAxis } from 'hopgrad'");
      assert.ok(!few.includes('takeAlongAxis') && more.includes('takeAlongAxis'));
      const described = await first("export { describe } from 'hopgrad'");
      assert.ok(!few.includes('ȳ cos x') && !few.includes('\\u0233 cos x') && /cos x/.test(described), 'equations');
    });
  });

  it('names Dawn, which webgpu needs in Node, where it is missing', () => {
    const told = evaluate(`
      import { init } from 'hopgrad';
      await init({ device: 'webgpu' }).catch((error) => console.log(error.name, error.message));
      console.log((await init({ device: 'gpujs-cpu' })).device);`);
    assert.match(told, /DeviceError .*"webgpu" cannot be loaded.*npm install webgpu[\s\S]*\ngpujs-cpu\n$/);
  });

  it('brings the command', () => {
    const path = join(installed, manifest.bin.hopgrad!);
    assert.equal(run(process.execPath, [path, '--version'], app).trim(), manifest.version);
    assert.match(readFileSync(path, 'utf8'), /^#!\/usr\/bin\/env node\n/);
  });

  it('asks for all the data that the default training needs at once, and finds them beside the app', () => {
    const train = () => {
      const path = join(installed, manifest.bin.hopgrad!);
      return spawnSync(process.execPath, [path, 'train', '--steps', '1'], { cwd: app, encoding: 'utf8' });
    };
    const { status, stderr } = train();
    assert.equal(status, 1);
    const [, told] =
      /without 10 of the 10 data packages; .*npm install --save-dev (.*)\n$/.exec(stderr) ?? assert.fail(stderr);
    assert.deepEqual(told!.split(' '), emojiPackages);
    link('emojilib');
    assert.match(train().stderr, /without 9 of the 10/);
    assert.ok(emojiPackages.every((name) => name in manifest.devDependencies));
  });

  declarations(() => ({ packed, app, link }));
  examples(() => packed);
});
