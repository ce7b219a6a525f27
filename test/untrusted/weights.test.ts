/** Weight files of strangers: a right result or a short typed error, in time and memory that follow from the file's size. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { tensor } from 'hopgrad';
import {
  ClipTokenizer,
  type CloobConfig,
  createModel,
  HeadsModel,
  saveCheckpoint,
  writeSafetensors,
} from 'hopgrad/models/cloob';
import { leastElements } from '#src/models/cloob/checkpoint.js';
import { configs } from '#src/models/cloob/config.js';
import { fixture, property } from '../helpers.js';
import { makeTrainer, record } from '../train/helpers.js';
import { bytesOf, mutate, mutations, pickled, readerProcess, torchFile, zip } from './readers.js';

const { text, int, global, long, nested } = pickled;

describe('weight files of strangers', () => {
  const { survives, refuses } = readerProcess();
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
  after(() => rmSync(folder, { recursive: true }));

  const floatStorage = bytesOf(global('torch', 'FloatStorage'));
  const storageId = (key: Uint8Array, size: number) =>
    bytesOf('(', text('storage'), floatStorage, key, text('cpu'), int(size), 'tQ');
  const tensorOf = (shape: number[], strides: number[], size = 1, key = text('0')) =>
    bytesOf(
      global('torch._utils', '_rebuild_tensor_v2'),
      bytesOf('(', storageId(key, size), int(0), '(', ...shape.map(int), 't(', ...strides.map(int), 'ttR'),
    );
  const dictionary = (value: Uint8Array) => bytesOf('}', text('w'), value, 's.');
  const four = { 0: new Uint8Array(4) };

  it('the builders of this test make files that are read', async () => {
    const file = torchFile(dictionary(tensorOf([1], [1])), four);
    assert.equal((await survives('torch', file)).result, '1');
  });

  const deep = nested(30);
  for (const [what, pickle, message] of [
    ['a dictionary of numbers', bytesOf(global('collections', 'OrderedDict'), ']K\x01a\x85R.'), /no pairs/],
    ['a persistent id that is a number', bytesOf('K\x01Q.'), /storage of an unknown kind/],
    [
      'a persistent id that is a large integer',
      bytesOf(long(new Uint8Array(20).fill(1)), 'Q.'),
      /storage of an unknown kind/,
    ],
    ['a persistent id of gigabytes when written out', bytesOf(deep, 'Q.'), /storage of an unknown kind/],
    ['a storage key of gigabytes', bytesOf(storageId(deep, 1), '.'), /storage of an unknown kind/],
    ['a name of gigabytes', bytesOf(deep, text('x'), 0x93, '.'), /no text/],
    ['a set of a number', bytesOf(global('__builtin__', 'set'), 'K\x01\x85R.'), /no list/],
    [
      'a tensor without a storage',
      bytesOf(deep, global('torch._utils', '_rebuild_tensor_v2'), 'h\x1e\x85R.'),
      /without storage/,
    ],
    ['tensors of gigabytes from four bytes', dictionary(tensorOf([3e8], [0])), /elements; expected at most/],
    [
      'a list handed to calls again and again',
      bytesOf(
        ...[global('collections', 'OrderedDict'), 'q\x00](', ...Array(20_000).fill('K\x01K\x01\x86'), 'eq\x01'],
        ...Array(20_000).fill('h\x00h\x01\x85R'),
        '.',
      ),
      /again and again/,
    ],
    ['three million objects', bytesOf('}'.repeat(3e6), '.'), /more than 524288 steps/],
  ] as const)
    it(`refuses ${what}`, () => refuses('torch', torchFile(pickle, four), message));

  it('keeps a tensor as it was when its pickle changes the lists it was made of', async () => {
    const shape = bytesOf(']', int(1), 'aq\x05');
    const made = bytesOf(
      ...[
        shape,
        global('torch._utils', '_rebuild_tensor_v2'),
        '(',
        storageId(text('0'), 1),
        int(0),
        'h\x05h\x05tRq\x06',
      ],
      ...['h\x05', int(1e9), 'a0h\x06s'],
    );
    const { result } = await survives('torch', torchFile(bytesOf('}', text('w'), made, '.'), four));
    assert.ok(result === undefined || result === '1', result);
  });

  it('reads an integer of 140 kB in no time', async () => {
    const before = process.cpuUsage();
    await survives('torch', torchFile(bytesOf(long(new Uint8Array(140_000).fill(0x55)), '.')));
    assert.ok(process.cpuUsage(before).user < 5e6); // µs; it took a minute, now some milliseconds
  });

  it('refuses an archive that names a place beyond 2⁵³, from inside the library that reads it', () => {
    const end = bytesOf('PK\x05\x06', new Uint8Array(18));
    const locator = bytesOf('PK\x06\x07', new Uint8Array(4), new Uint8Array(8).fill(0xff), new Uint8Array(4));
    return refuses('torch', bytesOf('PK\x03\x04', new Uint8Array(92), locator, end), /zip archive|ends at byte/);
  });

  it('refuses a damaged storage, a name twice and entries that overlap', async () => {
    const whole = torchFile(dictionary(tensorOf([2], [1], 2)), { 0: Uint8Array.of(0, 0, 128, 63, 0, 0, 0, 64) });
    assert.equal((await survives('torch', whole)).result, '2');
    const damaged = Buffer.from(whole);
    damaged[damaged.indexOf(Buffer.of(0, 0, 128, 63, 0, 0, 0, 64)) + 2] ^= 1;
    await refuses('torch', damaged, /storage 0 is damaged .*expected/);
    const twice = Buffer.from(zip({ 'x/data.pkl': bytesOf('N.'), 'y/data.pkl': bytesOf('N.') }));
    for (let at = twice.indexOf('y/'); at >= 0; at = twice.indexOf('y/')) twice[at] = 'x'.charCodeAt(0);
    await refuses('torch', twice, /twice/);
  });

  it('says what it was given, and quotes no data', async () => {
    await refuses('checkpoint', folder, /a folder without weights; expected one of model\.safetensors/);
    await refuses('checkpoint', '/dev/zero', /a device; expected/);
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await refuses('checkpoint', pipe, /a pipe; expected/);
    await refuses('checkpoint', join(folder, 'none\x1b[2J.pt'), /none\\x1b\[2J\.pt: .*no such file/);
    await refuses(
      'safetensors',
      readFileSync(fixture('torch-layouts.pt')),
      /a zip archive, such as torch\.save writes/,
    );
    await refuses('safetensors', readFileSync(fixture('torch-legacy.pt')), /a pickle, such as PyTorch before 1\.6/);
    await refuses('torch', new Uint8Array(50e6), /x\.pt: not a zip archive/);
  });

  /** A safetensors file from the text of its header. */
  const safetensors = (header: string, data = new Uint8Array(8)) => {
    const json = new TextEncoder().encode(header);
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
    return bytesOf(length, json, data);
  };
  const entry = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}';

  for (const [what, header, message] of [
    [
      'a tensor twice',
      `{"x":${entry},"y":{"dtype":"F32","shape":[0],"data_offsets":[8,8]},"x":${entry}}`,
      /the key "x" twice/,
    ],
    ['a tensor twice, once in escapes', `{"x":${entry},"\\u0078" : ${entry}}`, /the key "x" twice/],
    ['a type twice', '{"x":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', /the key "dtype" twice/],
    ['a million lists in each other', `{"x":${'['.repeat(1e6)}${']'.repeat(1e6)}}`, /entry "x"/],
    ['a megabyte where a tensor should be', `{"x":"${'y'.repeat(1e6)}"}`, /entry "x"/],
  ] as const)
    it(`refuses ${what} in a header`, () => refuses('safetensors', safetensors(header), message));

  it('takes tensors with the names of what objects have', async () => {
    const { result } = await survives('safetensors', safetensors(`{"__proto__":${entry}}`));
    assert.equal(result, '1');
    await assert.rejects(
      writeSafetensors(join(folder, 'x.safetensors'), { __metadata__: tensor([1]) }),
      /called __metadata__/,
    );
    const proto = Object.fromEntries([['__proto__', tensor([1])]]);
    await writeSafetensors(join(folder, 'x.safetensors'), proto, Object.fromEntries([['__proto__', 'text']]));
    assert.equal((await survives('safetensors', readFileSync(join(folder, 'x.safetensors')))).result, '1');
  });

  const small: CloobConfig = {
    embed_dim: 8,
    image_resolution: 8,
    vision_layers: 1,
    vision_width: 8,
    vision_patch_size: 4,
    vision_heads: 1,
    context_length: 8,
    vocab_size: 600,
    transformer_width: 8,
    transformer_heads: 1,
    transformer_layers: 1,
  };
  /** A checkpoint whose header holds these texts. */
  async function checkpoint(config: unknown, tokenizer?: string): Promise<Uint8Array> {
    const path = join(folder, 'config.safetensors');
    const json = typeof config === 'string' ? config : JSON.stringify(config);
    await writeSafetensors(path, createModel(small).stateDict(), { config: json, ...(tokenizer && { tokenizer }) });
    return readFileSync(path);
  }

  it('weighs a configuration before the model is built', async () => {
    assert.match((await survives('checkpoint', await checkpoint(small))).result!, /^\d+$/);
    for (const [change, message] of [
      [{ vision_layers: 1e9 }, /1000000001 layers/],
      [{ transformer_layers: 2 ** 52 }, /layers/],
      [{ embed_dim: 2 ** 40 }, /weights; expected at most/],
      [{ vocab_size: 2 ** 45 }, /weights; expected at most/],
      [{ vision_layers: [1, 1e9, 1, 1] }, /layers/],
      [{ vision_layers: '1' }, /vision_layers "1"/],
      [{ vision_heads: 0 }, /vision_heads 0/],
      [{ vision_patch_size: [4] }, /vision_patch_size \[4\]/],
      [{ transformer_width: 1.5 }, /transformer_width 1\.5/],
      [{ vocab_size: 'x'.repeat(1e6) }, /vocab_size "x+…"/],
    ] as const)
      await refuses('checkpoint', await checkpoint({ ...small, ...change }), message);
    await refuses('checkpoint', await checkpoint('null'), /metadata config/);
    await refuses('checkpoint', await checkpoint('{'), /metadata config is no JSON/);
  });

  it('bounds the weights of every configuration from below, and closely', () => {
    for (const name of ['emoji-resnet', 'emoji-vit'] as const) {
      const count = createModel(name, { blank: true }).parameterCount();
      const least = leastElements(configs[name]);
      assert.ok(least <= count && least > 0.75 * count, `${name}: ${least} of ${count}`);
    }
  });

  it('refuses a tokenizer that is none, or of more tokens than the model', async () => {
    for (const [json, message] of [
      ['{', /metadata tokenizer is no JSON/],
      ['null', /metadata tokenizer: no list of merges/],
      ['{"merges":[1]}', /metadata tokenizer: line 1: 1/],
      ['{"merges":[["a","b"]]}', /metadata tokenizer: line 1/],
      [`{"merges":["${'a'.repeat(1e6)}"]}`, /metadata tokenizer: line 1/],
      [JSON.stringify((await ClipTokenizer.official()).toJSON()), /49408 tokens; expected at most the 600/],
    ] as const)
      await refuses('checkpoint', await checkpoint(small, json), message);
  });

  const fixtures = {
    torch: ['torch-layouts.pt', 'torch-layouts-protocol-4.pt', 'torch-zip64.pt', 'torch-script.pt'],
  };
  for (const name of fixtures.torch) {
    const bytes = readFileSync(fixture(name));
    property(
      `survive any damage: ${name}`,
      mutations,
      async (m) => void (await survives('torch', mutate(bytes, m))),
      60,
    );
  }

  const whole = readFileSync(fixture('torch-layouts.pt'));
  const start = whole.indexOf(Buffer.from([0x80, 2])); // data.pkl is stored as it is
  const pickle = whole.subarray(start, whole.indexOf('PK', start));
  const storages = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [i, new Uint8Array(48)]));
  property(
    'survive any damage of the pickle in a sound archive',
    mutations,
    async (m) => void (await survives('torch', torchFile(mutate(pickle, m), storages))),
    200,
  );

  /** Any nest of numbers, texts, containers, calls and references, right or wrong. */
  const { value: anything } = fc.letrec<{ value: Uint8Array }>((tie) => {
    const several = fc.array(tie('value'), { maxLength: 4 });
    const atoms = [
      ...[
        'N',
        '\x88',
        'K\x03',
        'G\x3f\xf0\0\0\0\0\0\0',
        '\x8a\x02\xff\xff',
        'C\x02ab',
        '\x8f',
        'q\x00h\x00',
        '(K\x01K\x02t',
      ],
      ...[
        text('storage'),
        text('0'),
        text('cpu'),
        int(0),
        int(1),
        int(-1),
        int(1 << 30),
        long(new Uint8Array(9).fill(255)),
      ],
      ...[floatStorage, storageId(text('0'), 1), tensorOf([1], [1]), global('os', 'system')],
    ].map((part) => bytesOf(part));
    const callees = [
      ...['_rebuild_tensor_v2', '_rebuild_parameter'].map((name) => global('torch._utils', name)),
      ...[global('collections', 'OrderedDict'), global('torch', 'Size'), global('__builtin__', 'set')],
    ];
    return {
      value: fc.oneof(
        { depthSize: 'medium', withCrossShrink: true },
        fc.constantFrom(...atoms),
        several.map((items) => bytesOf('](', ...items, 'e')),
        several.map((items) => bytesOf('(', ...items, 't')),
        several.map((items) => bytesOf('}(', ...items, 'u')),
        fc.tuple(fc.constantFrom(...callees), several).map(([name, args]) => bytesOf(name, '(', ...args, 'tR')),
        tie('value').map((id) => bytesOf(id, 'Q')),
      ),
    };
  });
  property(
    'survive any program of opcodes',
    anything,
    async (parts) => void (await survives('torch', torchFile(bytesOf(parts, '.'), four))),
    300,
  );

  let valid: Uint8Array;
  before(async () => {
    valid = await checkpoint(small);
  });
  property(
    'survive any damage: safetensors',
    mutations,
    async (m) => void (await survives('checkpoint', mutate(valid, m))),
    100,
  );
  property(
    'survive any damage of the header in a file of right lengths',
    mutations,
    async (m) => {
      const end = 8 + Number(Buffer.from(valid).readBigUInt64LE(0));
      const damaged = mutate(valid.subarray(8, end), m);
      const length = new Uint8Array(8);
      new DataView(length.buffer).setBigUint64(0, BigInt(damaged.length), true);
      await survives('safetensors', bytesOf(length, damaged, valid.subarray(end)));
    },
    200,
  );

  const json = fc.jsonValue({ maxDepth: 2 });
  const facts = fc.oneof(json, fc.constantFrom(-1, 0, 0.5, 1e9, 1e300, 2 ** 40, '1', null, [1, 1, 1, 1], [], {}));
  const sizes = Buffer.from(JSON.stringify(small));
  property(
    'survive any damage: model.json',
    mutations,
    async (m) => void (await survives('model', mutate(sizes, m))),
    60,
  );
  const run = Buffer.from(JSON.stringify(record(makeTrainer())));
  property(
    'survive any damage: manifest.json',
    mutations,
    async (m) => void (await survives('record', mutate(run, m))),
    60,
  );
  const headsFile = async (config: unknown) => {
    const path = join(folder, 'heads.safetensors');
    const model = new HeadsModel({ embed_dim: 2, image_features: 3, text_features: 4 });
    await writeSafetensors(path, model.stateDict(), { heads: JSON.stringify(config) });
    return readFileSync(path);
  };
  it('reads heads, and refuses those that are not of their weights', async () => {
    const right = { embed_dim: 2, image_features: 3, text_features: 4 };
    assert.equal((await survives('heads', await headsFile(right))).result, '19');
    for (const wrong of [
      { ...right, embed_dim: 1e9 },
      { ...right, embed_dim: 1 },
      { ...right, center: 3 },
      [],
      null,
      7,
    ])
      await refuses('heads', await headsFile(wrong), /./);
    const huge = { embed_dim: 2 ** 20, image_features: 2 ** 20, text_features: 1 };
    await refuses('heads', await headsFile(huge), /sizes of its weights/);
  });
  it('survives any damage of heads', async () => {
    const whole = await headsFile({ embed_dim: 2, image_features: 3, text_features: 4 });
    const survive = async (m: Parameters<typeof mutate>[1]) => void (await survives('heads', mutate(whole, m)));
    await fc.assert(fc.asyncProperty(mutations, survive), { numRuns: Number(process.env.HOPGRAD_RUNS ?? 60), seed: 1 });
  });
  property(
    'survive any configuration and tokenizer in a header',
    fc.record({
      key: fc.constantFrom(...Object.keys(small), '__proto__', 'constructor'),
      value: facts,
      tokenizer: fc.oneof(json, fc.record({ merges: fc.oneof(json, fc.array(fc.oneof(fc.string(), json))) })),
    }),
    async ({ key, value, tokenizer }) => {
      const config = `{${Object.entries({ ...small })
        .filter(([name]) => name !== key)
        .map(([name, v]) => `${JSON.stringify(name)}:${JSON.stringify(v)},`)
        .join('')}${JSON.stringify(key)}:${JSON.stringify(value)}}`;
      await survives('checkpoint', await checkpoint(config, JSON.stringify(tokenizer)));
    },
    100,
  );

  it('saves and gives back what it wrote after all this', async () => {
    const path = join(folder, 'model.safetensors');
    await saveCheckpoint(path, { model: createModel(small) });
    const { result, error } = await survives('checkpoint', path);
    assert.equal(error, undefined);
    assert.equal(Number(result), Object.keys(createModel(small).stateDict()).length);
  });
});
