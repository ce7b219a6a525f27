/**
 * Graphics drivers are known to be wrong: sums that drift, 4 + 4 = 16, exp far off. A device shows some known results
 * before it is trusted.
 */
import { DeviceError } from '../../tensor/errors.js';
import type { Device, Storage } from '../device.js';
import * as f from '../scalar.js';
import { zipFlat } from '../walk.js';

interface Question {
  what: string;
  ask(device: Device): Storage;
  expected: number[];
  tolerance: number;
}

const few = Float32Array.of(-10, -1, -0.1, 0, 0.1, 1, 10);
const whole = Float32Array.from({ length: 1000 }, (_, i) => i - 100);

const questions: Question[] = [
  {
    what: 'the sum of −100 … 899',
    ask: (device) => device.reduce('sum', device.upload(whole), 1, 1000, 1),
    expected: [399500],
    tolerance: 1e-6,
  },
  {
    what: 'the maxima of three rows, one with infinities, one with NaN',
    ask: (device) =>
      device.reduce(
        'max',
        device.upload(Float32Array.of(1, 3, 2, -Infinity, -Infinity, -Infinity, 1, NaN, 2)),
        3,
        3,
        1,
      ),
    expected: [3, -Infinity, NaN],
    tolerance: 0,
  },
  {
    what: 'x + x',
    ask: (device) => {
      const x = device.upload(few);
      return zipFlat(device, f.add, x, x);
    },
    expected: Array.from(few, (x) => x + x),
    tolerance: 0,
  },
  {
    what: 'exp(x)',
    ask: (device) => device.map(f.exp, device.upload(few)),
    expected: Array.from(few, Math.exp),
    tolerance: 1e-5,
  },
  {
    what: 'log(exp(x))',
    ask: (device) => device.map(f.log, device.map(f.exp, device.upload(few))),
    expected: [...few],
    tolerance: 1e-4,
  },
  {
    what: 'a product of [2, 3] and [3, 2]',
    ask: (device) =>
      device.matmul(
        device.upload(Float32Array.of(1, 2, 3, 4, 5, 6)),
        device.upload(Float32Array.of(1, 4, 2, 5, 3, 6)),
        {
          ...{ batch: 1, m: 2, n: 2, k: 3 },
          ...{ transposeA: false, transposeB: false, broadcastA: false, broadcastB: false },
        },
      ),
    expected: [14, 32, 32, 77],
    tolerance: 1e-6,
  },
];

/** @throws DeviceError naming the first known result that the device gets wrong */
export async function selfTest(device: Device): Promise<void> {
  for (const { what, ask, expected, tolerance } of questions) {
    const answer = Array.from(await device.read(ask(device)));
    const wrong = expected.findIndex((value, i) => {
      const got = answer[i]!;
      return !(Object.is(got, value) || Math.abs(got - value) <= tolerance * Math.max(1, Math.abs(value)));
    });
    if (wrong >= 0)
      throw new DeviceError('init', {
        received: `${device.name} (${device.description}), which says that ${what} is ${answer.join(', ')}`,
        expected: `${expected.join(', ')}, within ${tolerance} (element ${wrong} is off by ${Math.abs(answer[wrong]! - expected[wrong]!)})`,
        hint: 'Its results cannot be trusted here, so it is not used: take another device, or try a newer browser or driver.',
      });
  }
}
