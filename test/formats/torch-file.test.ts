/** Files of torch.save: every storage, strides and containers; programs in pickles are refused by name. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import { openTorchFile, type TorchTensor } from 'hopgrad/models/cloob';
import { unpickle } from '#src/formats/pickle.js';
import { fixture } from '../helpers.js';

type Dictionary = Map<unknown, unknown>;
const refused = (pattern: RegExp) => (error: Error) => {
  assert.ok(error instanceof DataError, String(error.stack));
  assert.match(error.message, pattern);
  return true;
};

describe('torch files', () => {
  const expected: Record<string, { shape: number[]; values: string[] }> = JSON.parse(
    readFileSync(fixture('torch-layouts.json'), 'utf8'),
  );
  const number = (text: string) => (text === 'inf' ? Infinity : text === 'nan' ? Number.NaN : Number(text));

  for (const name of ['layouts', 'layouts-protocol-4', 'zip64'])
    it(`reads every storage, stride and container: ${name}`, async () => {
      const { value, close } = await openTorchFile(fixture(`torch-${name}.pt`));
      try {
        const tensors = (value as Dictionary).get('tensors') as Map<string, TorchTensor>;
        assert.deepEqual([...tensors.keys()], Object.keys(expected));
        for (const [key, { shape, values }] of Object.entries(expected)) {
          const stored = tensors.get(key)!;
          assert.deepEqual(stored.shape, shape, key);
          assert.deepEqual([...stored.read()], values.map(number), key);
        }
        const plain = (value as Dictionary).get('plain') as Dictionary;
        assert.deepEqual(plain.get('list'), [1, -2, 3.5, null, true]);
        assert.deepEqual(plain.get('tuple'), [2 ** 40, 2n ** 70n, -(2n ** 70n)]);
        assert.equal(plain.get('text'), 'Grüße 🎈');
        assert.deepEqual(plain.get(7), new Map([['nested', []]]));
        assert.deepEqual(plain.get('set'), new Set([3]));
        assert.deepEqual(plain.get('size'), [4, 5]);
        if (name.endsWith('protocol-4')) assert.deepEqual(plain.get('bytes'), Uint8Array.of(0, 255));
      } finally {
        close();
      }
    });

  for (const [name, reason] of [
    ['harmful', /the object (posix|nt)\.system; expected tensors/],
    ['whole-module', /the object torch\.nn\.modules\.linear\.Linear/],
    ['legacy', /the layout of PyTorch before 1\.6/],
    ['script', /a TorchScript archive/],
    ['compressed', /is compressed/],
  ] as const)
    it(`refuses torch-${name}.pt by name`, async () => {
      await assert.rejects(openTorchFile(fixture(`torch-${name}.pt`)), refused(reason));
    });

  it('refuses whole numbers that int32 does not hold', async () => {
    const { value, close } = await openTorchFile(fixture('torch-long-too-large.pt'));
    const n = (value as Map<string, TorchTensor>).get('n')!;
    assert.throws(() => n.read(), refused(/2147483648/));
    close();
  });

  it('refuses what is missing, cut off or something else', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
    const path = join(folder, 'x.pt');
    await assert.rejects(openTorchFile(path), refused(/no such file/));
    const whole = readFileSync(fixture('torch-layouts.pt'));
    for (const length of [0, 3, 100, whole.length - 30]) {
      writeFileSync(path, whole.subarray(0, length));
      await assert.rejects(openTorchFile(path), refused(/expected/));
    }
    rmSync(folder, { recursive: true });
    assert.ok(!existsSync(folder));
  });

  /** A pickle from opcodes and texts. */
  const pickle = (...parts: (string | number[])[]) =>
    Uint8Array.from(parts.flatMap((p) => (typeof p === 'string' ? [...p].map((c) => c.charCodeAt(0)) : p)));
  const read = (bytes: Uint8Array) =>
    unpickle(bytes, { label: 'test', globals: { 'collections.OrderedDict': () => new Map() }, persistent: () => null });

  it('refuses every name that was not allowed, however it is asked for', () => {
    assert.throws(() => read(pickle('cos\nsystem\n(K\x01tR.')), refused(/os\.system/));
    assert.throws(
      () => read(pickle([0x80, 4, 0x8c, 2], 'os', [0x8c, 6], 'system', [0x93], '.')),
      refused(/os\.system/),
    );
    assert.throws(() => read(pickle('c__builtin__\neval\n.')), refused(/__builtin__\.eval/));
    assert.throws(() => read(pickle('c\nconstructor\n.')), refused(/constructor/));
    assert.throws(() => read(pickle('(ios\nsystem\n.')), refused(/opcode "i"/));
    assert.throws(() => read(pickle('(cos\nsystem\no.')), refused(/os\.system/));
    assert.throws(() => read(pickle([0x82, 1], '.')), refused(/opcode/));
  });

  it('refuses calls of what is no function', () => {
    assert.throws(() => read(pickle('K\x01)R.')), refused(/a call of no function/));
    assert.throws(() => read(pickle('ccollections\nOrderedDict\nK\x01R.')), refused(/a call of no function/));
  });
});
