/** Half precision in memory: bits kept through files and state dicts, numbers rounded once. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  DataError,
  DomainError,
  DTypeError,
  memory,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  UsageError,
} from 'hopgrad';
import { readSafetensors, writeSafetensors } from 'hopgrad/models/cloob';
import { HalfTensor, type HalfType, Linear, toHalf } from 'hopgrad/nn';
import { property } from '../helpers.js';

const types: HalfType[] = ['float16', 'bfloat16'];

/** Every number of a type, but only one NaN. */
function allNumbers(dtype: HalfType): HalfTensor {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((b) => {
    const exponent = dtype === 'float16' ? 0x7c00 : 0x7f80;
    return (b & exponent) !== exponent || (b & ~(exponent | 0x8000)) === 0;
  });
  return new HalfTensor(dtype, [bits.length], bits);
}

/** Rounding by arithmetic: whole multiples of the unit of the last of 11 or 8 bits. */
function nearest(x: number, dtype: HalfType): number {
  const [bits, leastUnit, largest] = dtype === 'float16' ? [10, -24, 65504] : [7, -133, (2 - 2 ** -7) * 2 ** 127];
  let exponent = Math.floor(Math.log2(Math.abs(x) || 1));
  if (2 ** exponent > Math.abs(x)) exponent--;
  const unit = 2 ** Math.max(exponent - bits, leastUnit);
  const scaled = x / unit;
  const whole = Math.abs(scaled % 1) === 0.5 ? 2 * Math.round(scaled / 2) : Math.round(scaled);
  return Math.abs(whole * unit) > largest ? Math.sign(x) * Infinity : whole * unit;
}

describe('half precision in memory', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-half-'));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'half.safetensors');

  for (const dtype of types) {
    it(`${dtype}: every number survives widening and rounding`, async () => {
      const all = allNumbers(dtype);
      const wide = all.toTensor();
      assert.equal(wide.dtype, 'float32');
      assert.deepEqual((await HalfTensor.from(wide, dtype)).bits, all.bits);
    });

    property(
      `${dtype}: rounding is to the nearest, ties to even`,
      fc.float({ noNaN: true, noDefaultInfinity: true, ...(dtype === 'float16' && { min: -70000, max: 70000 }) }),
      async (x) => {
        const [rounded] = (await HalfTensor.from(tensor([x]), dtype)).toFloat32();
        assert.equal(rounded! + 0, nearest(x, dtype) + 0); // −0 is 0
      },
      300,
    );

    it(`${dtype}: half way between neighbours, the even one`, async () => {
      const wide = allNumbers(dtype)
        .toFloat32()
        .filter((x) => (x > 0 || Object.is(x, 0)) && x < Infinity); // ascending
      const middles = wide.slice(1).map((x, i) => (x + wide[i]!) / 2);
      const { bits } = await HalfTensor.from(tensor(middles), dtype);
      assert.ok(bits.length > 30_000);
      bits.forEach((b, i) => {
        if (b !== i + (i % 2)) assert.fail(`${middles[i]} became ${b}, between ${i} and ${i + 1}`);
      });
    });

    it(`${dtype}: a file read, kept and written is the same numbers in half the bytes`, async () => {
      const values = randn([50, 40]);
      await writeSafetensors(
        path,
        { a: values, n: tensor([1, 2], { dtype: 'int32' }) },
        {},
        { floats: dtype === 'float16' ? 'F16' : 'BF16' },
      );
      const before = memory().liveBytes;
      const { tensors } = readSafetensors(path, { half: 'keep' });
      assert.ok(memory().liveBytes - before < 100); // the int32 tensor only
      const { a, n } = tensors;
      assert.ok(a instanceof HalfTensor);
      assert.deepEqual([a.dtype, a.shape, a.bits.buffer.byteLength], [dtype, [50, 40], 2 * 2000]);
      assert.equal((n as Tensor).dtype, 'int32');
      const widened = readSafetensors(path).tensors.a!;
      assert.deepEqual(a.toTensor().dataSync(), widened.dataSync());
      const again = join(folder, 'again.safetensors');
      await writeSafetensors(again, tensors);
      assert.deepEqual(readFileSync(again), readFileSync(path));
      const bytes = new Uint8Array(readFileSync(path));
      const kept = readSafetensors(bytes, { half: 'keep' }).tensors.a as HalfTensor;
      bytes.fill(0); // the numbers are a copy, not a view of the file
      assert.deepEqual(kept.bits, a.bits);
    });
  }

  it('a state dict in half precision goes back into the model', async () => {
    const [model, other] = [new Linear(6, 5), new Linear(6, 5)];
    const state = await toHalf(model.stateDict(), 'bfloat16');
    assert.ok(Object.values(state).every((value) => value instanceof HalfTensor));
    const before = memory().storages;
    other.loadStateDict(state);
    assert.equal(memory().storages, before); // what was widened is gone again
    assert.deepEqual(other.weight.dataSync(), (state.weight as HalfTensor).toFloat32());
    assert.throws(() => new Linear(5, 6).loadStateDict(state), /mismatch|shape/i);
  });

  it('leaves other dtypes in a state dict alone', async () => {
    const whole = tensor([1], { dtype: 'int32' });
    const double = tensor([0.1], { dtype: 'float64' });
    assert.deepEqual(await toHalf({ whole, double }, 'float16'), { whole, double });
  });

  it('a damaged file is refused', async () => {
    await writeSafetensors(path, { a: randn([4]) }, {}, { floats: 'F16' });
    const bytes = new Uint8Array(readFileSync(path));
    bytes[bytes.length - 1]! ^= 1;
    assert.throws(() => readSafetensors(bytes, { half: 'keep' }), DataError);
  });

  it('refuses what it cannot hold', async () => {
    await assert.rejects(HalfTensor.from(tensor([1], { dtype: 'int32' }), 'float16'), DTypeError);
    await assert.rejects(HalfTensor.from(tensor([1], { dtype: 'float64' }), 'float16'), DTypeError);
    await assert.rejects(HalfTensor.from([1] as never, 'float16'), UsageError);
    await assert.rejects(toHalf({}, 'half' as never), DTypeError);
    assert.throws(() => new HalfTensor('float16', [3], new Uint16Array(2)), ShapeError);
    assert.throws(() => new HalfTensor('float16', [2], [1, 2] as never), UsageError);
    assert.throws(() => readSafetensors(path, { half: 'yes' as never }), UsageError);
    const endless = await HalfTensor.from(tensor([1e6]), 'float16'); // beyond 65504
    await assert.rejects(writeSafetensors(path, { endless }, {}, { finite: true }), DomainError);
  });
});
