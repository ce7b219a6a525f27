/** The rules that ARCHITECTURE.md states, checked on the source text itself, and the package as its users import it. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as hopgrad from 'hopgrad';
import * as cloob from 'hopgrad/models/cloob';
import * as nn from 'hopgrad/nn';
import * as testing from 'hopgrad/testing';
import { testOf } from '#src/testing/oracles/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/assembly|generated/.test(name))
  .map((name) => ({ name: name.replaceAll('\\', '/'), text: readFileSync(join(root, 'src', name), 'utf8') }));

/** Modules that a file names in import and export statements, and in import(). */
function imports(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '');
  return [
    ...code.matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^;]*?from\s+'([^']+)'|import\(\s*'([^']+)'|(?:^|\n)import '([^']+)'/g,
    ),
  ].map((match) => (match[1] ?? match[2] ?? match[3])!);
}

/** What each layer may import from, beside itself. */
const below: Record<string, string[]> = {
  tensor: [],
  kernels: ['tensor'],
  autograd: ['tensor', 'kernels'],
  functions: ['tensor', 'kernels', 'autograd'],
  inspect: ['tensor', 'kernels', 'autograd'],
  nn: ['tensor', 'kernels', 'autograd', 'functions', 'formats'],
  formats: ['tensor', 'kernels', 'autograd'],
  'models/cloob': ['tensor', 'kernels', 'autograd', 'functions', 'nn', 'formats'],
  testing: ['tensor', 'kernels', 'autograd'],
  evaluate: ['tensor', 'kernels', 'autograd', 'functions', 'nn', 'formats', 'models/cloob'],
  data: ['tensor', 'kernels', 'autograd', 'functions', 'nn', 'formats', 'models/cloob', 'evaluate'],
  train: [
    'tensor',
    'kernels',
    'autograd',
    'functions',
    'nn',
    'formats',
    'models/cloob',
    'evaluate',
    'data',
    'distributed',
  ],
  report: ['tensor', 'evaluate', 'formats', 'train'],
  experiment: ['tensor', 'evaluate', 'formats', 'train'],
  onnx: ['tensor', 'kernels', 'autograd', 'models/cloob'],
  distributed: ['tensor', 'kernels', 'autograd', 'nn'],
  cli: [
    'distributed',
    'tensor',
    'kernels',
    'autograd',
    'functions',
    'nn',
    'formats',
    'models/cloob',
    'evaluate',
    'data',
    'train',
    'report',
    'experiment',
    'onnx',
  ],
};
const layerOf = (path: string) =>
  path.startsWith('models/') ? path.split('/').slice(0, 2).join('/') : path.split('/')[0]!;

describe('architecture', () => {
  it('every folder of src is a layer, and every layer is on the map', () => {
    const layers = new Set(files.filter(({ name }) => name.includes('/')).map(({ name }) => layerOf(name)));
    for (const layer of layers) assert.ok(layer in below, `src/${layer} is no layer that this test knows`);
    const map = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
    for (const layer of layers)
      assert.ok(map.includes(`src/${layer}`), `ARCHITECTURE.md does not mention src/${layer}`);
  });

  it('imports point from higher layers to lower ones', () => {
    let seen = 0;
    for (const { name, text } of files) {
      if (!name.includes('/') || name === 'models/cloob/index.ts') continue; // public modules that gather
      for (const from of imports(text).filter((module) => module.startsWith('.'))) {
        const layer = layerOf(relative('.', join(dirname(name), from)));
        const own = layerOf(name);
        seen++;
        assert.ok(
          layer === own || below[own]!.includes(layer),
          `src/${name} imports ${from}: ${own} must not know ${layer}`,
        );
      }
    }
    assert.ok(seen > 200, `${seen} imports found`);
  });

  it('gpu.js is known to src/kernels/gpu only', () => {
    const users = files.filter(({ text }) => imports(text).some((name) => name.endsWith('gpujs.js')));
    assert.deepEqual(
      users.map(({ name }) => name),
      ['kernels/gpu/module.ts'],
    );
  });

  it('packages that src imports are dependencies, not development tools', () => {
    const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(
      readFileSync(join(root, 'package.json'), 'utf8'),
    );
    const declared = { ...dependencies, ...optionalDependencies, ...peerDependencies };
    for (const { name, text } of files)
      for (const module of imports(text)) {
        if (module.startsWith('.') || module.startsWith('node:') || module.startsWith('#')) continue;
        const packageName = module
          .split('/')
          .slice(0, module.startsWith('@') ? 2 : 1)
          .join('/');
        assert.ok(packageName in declared, `src/${name} imports ${module}`);
      }
  });

  it('files are short', () => {
    for (const { name, text } of files.filter((file) => !file.name.includes('/generated/'))) {
      assert.ok(text.split('\n').length <= 450, `src/${name} has ${text.split('\n').length} lines`);
    }
  });

  it('exported functions and classes say what they do', () => {
    const silent: string[] = [];
    for (const { name, text } of files) {
      const lines = text.split('\n');
      const seen = new Set<string>(); // of overloads the first speaks for all
      lines.forEach((line, i) => {
        const declared =
          /^export (?:(?:abstract )?(?:async )?(?:function\*?|class) (\w+)|const (\w+): (?:Unary|Binary) )/.exec(line);
        const named = declared?.[1] ?? declared?.[2];
        if (named === undefined || seen.has(named)) return;
        seen.add(named);
        let above = i - 1;
        while (/^\s*(\/\/|@)/.test(lines[above] ?? '')) above--;
        if (!lines[above]?.trimEnd().endsWith('*/')) silent.push(`${name}: ${line}`);
      });
    }
    // Kernels are described where the vocabulary is.
    const elsewhere = /^kernels\/(wasm|gpu)\/|^kernels\/scalar/;
    const undescribed = silent.filter((entry) => !elsewhere.test(entry));
    assert.deepEqual(undescribed, []);
  });

  it('every op states its equation, derivative and test', () => {
    for (const op of hopgrad.registeredOps().values()) {
      if (!op.builtIn) continue;
      assert.ok(op.equation.length > 4 && op.derivative.length >= 4, op.name);
      assert.ok(!op.shape || op.numbers || op.shapes, `${op.name}: tell its shape rule for a person in \`shapes\``);
      assert.ok(testOf(op).scalar || testOf(op).oracle, `${op.name} has an oracle`);
      assert.ok(!op.test?.draw && !op.test?.oracle, `${op.name} keeps its oracle in src/testing`);
    }
  });
});

describe('generated pages', () => {
  it('say what the registry says (npm run docs)', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/docs.mjs'), '--check'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  });
});

describe('the package', () => {
  const names = {
    hopgrad: [
      hopgrad,
      'init device withDevice tensor zeros ones full arange eye randn uniform Tensor grad valueAndGrad noGrad checkpoint scoped defineOp manualSeed',
    ],
    'hopgrad/nn': [
      nn,
      'Module Linear Conv2d BatchNorm2d LayerNorm Embedding MultiheadAttention Transformer hopfieldRetrieve infoNceLoss infoLoobLoss clipLoss cloobLoss AdamW cosineWarmup cosineHardRestarts',
    ],
    'hopgrad/models/cloob': [
      cloob,
      'createModel loadCheckpoint saveCheckpoint ClipTokenizer zeroShotClassifier retrievalMetrics linearProbe',
    ],
    'hopgrad/testing': [testing, 'checkGradients assertGradients shapes broadcastableShapes tensors'],
  } as const;
  for (const [path, [module, list]] of Object.entries(names))
    it(`${path} exports its promised names`, () => {
      for (const name of list.split(' '))
        assert.equal(typeof (module as Record<string, unknown>)[name], 'function', name);
    });

  it('every method of an op is a function of its name', () => {
    const own = new Set(Object.getOwnPropertyNames(hopgrad.Tensor.prototype));
    const x = hopgrad.tensor([[0.5, 0.25]]);
    for (const name of 'constructor backward data dataSync item array detach dispose toJSON toString'.split(' '))
      own.delete(name);
    const methods = [...own].filter((name) => typeof (x as unknown as Record<string, unknown>)[name] === 'function');
    assert.ok(methods.length > 55, `${methods.length} methods`);
    for (const name of methods) assert.equal(typeof (hopgrad as Record<string, unknown>)[name], 'function', name);
    const functions = hopgrad as unknown as Record<string, (x: hopgrad.Tensor) => hopgrad.Tensor>;
    for (const { name, builtIn, test } of hopgrad.registeredOps().values())
      if (builtIn && test?.scalar?.length === 1 && own.has(name) && !['cast', 'to'].includes(name))
        assert.deepEqual(
          functions[name]!(x).dataSync(),
          (x as unknown as Record<string, () => hopgrad.Tensor>)[name]!().dataSync(),
          name,
        );
  });

  it('Tensor has its promised methods', () => {
    const methods =
      'add sub mul div pow neg exp log sqrt abs sin cos tanh sigmoid relu gelu quickGelu maximum minimum where matmul sum mean max min argmax softmax logSoftmax logSumExp reshape permute transpose slice concat stack expand gather conv2d avgPool2d layerNorm l2Normalize backward detach to data item array dataSync';
    const x = hopgrad.ones([1]) as unknown as Record<string, unknown>;
    for (const name of methods.split(' ')) assert.equal(typeof x[name], 'function', name);
  });

  /** Runs a module in a process of its own, from inside the repository, and gives what it printed. */
  function run(code: string): string {
    const folder = mkdtempSync(join(root, '.build/run-'));
    try {
      writeFileSync(join(folder, 'main.mjs'), code);
      return execFileSync(process.execPath, [join(folder, 'main.mjs')], { encoding: 'utf8', cwd: folder });
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  for (const [path, code] of [
    ['hopgrad/nn', "import { Linear } from 'hopgrad/nn'; console.log(new Linear(2, 2).weight.mul(2).size);"],
    [
      'hopgrad/models/cloob',
      "import { createModel } from 'hopgrad/models/cloob'; console.log(createModel('emoji-vit').logit_inv_tau.mul(4).size + 3);",
    ],
    [
      'hopgrad/testing',
      "import { checkGradients } from 'hopgrad/testing'; console.log((await checkGradients((x) => x.square(), [[1, 2, 3, 4]])).checked);",
    ],
  ] as const)
    it(`${path} works when it is all that is imported`, () => assert.equal(run(code).trim(), '4'));

  it('hopgrad/testing checks gradients where fast-check is not installed', () => {
    const hook = `export const resolve = (name, context, next) => {
      if (name === 'fast-check') throw new Error('no such package');
      return next(name, context);
    };`;
    const printed = run(`
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
      const { checkGradients, tensors } = await import('hopgrad/testing');
      console.log((await checkGradients((x) => x.square(), [[1, 2, 3, 4]])).checked);
      try { tensors() } catch (error) { console.log(error.message) }`);
    assert.match(printed, /^4\ntensors: no fast-check \(Error: no such package\).*npm install/);
  });

  it('the example of the README runs and prints what it says', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const example = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
    assert.ok(example.includes('cloobLoss'));
    const comment = /console\.log\(.*\/\/ (.*)/.exec(example)![1]!;
    const measured = `
      const embed = (x) => encoder.forward(x).l2Normalize();
      console.log(await cloobLoss(embed(images), embed(texts), { invTau: 30, beta: 8 }).item());`;
    const before = run(example.replace('step < 100', 'step < 0') + measured)
      .trim()
      .split('\n');
    const after = run(example + measured)
      .trim()
      .split('\n');
    assert.equal(after[0]!.replaceAll(' ', ''), comment.replaceAll(' ', ''));
    assert.ok(Number(after[1]) < Number(before[1]) - 0.1, `${before[1]} → ${after[1]}`);
  });

  for (const [page, least] of [
    ['tour', 15],
    ['pitfalls', 8],
    ['own-kernel', 10],
  ] as const)
    it(`the program of docs/${page}.md runs and prints what its comments say`, () => {
      const text = readFileSync(join(root, `docs/${page}.md`), 'utf8');
      const program = [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]).join('\n');
      const expected = [...program.matchAll(/(?:console\.log|await slope)\(.*\); \/\/ (.*)/g)].map(
        (match) => match[1]!,
      );
      assert.ok(expected.length > least, `${expected.length}`);
      const squeeze = (printed: string) => printed.replace(/\s+/g, '');
      assert.equal(squeeze(run(program)), squeeze(expected.join('')));
    });
});
