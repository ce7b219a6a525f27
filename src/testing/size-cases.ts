/** Checks of kernels at sizes that other cases do not reach: every element has its value, or the first that has not is named. */
import type { Device } from '../kernels/device.js';
import { deviceByName } from '../kernels/devices.js';
import * as scalar from '../kernels/scalar.js';
import { zipFlat } from '../kernels/walk.js';
import type { ConformanceCase } from './conformance.js';

/** Checks that say themselves what is right. */
function size(name: string, run: (device: Device) => Promise<string | null>): ConformanceCase {
  return {
    group: 'size',
    name,
    async run(deviceName) {
      const wrong = await run(deviceByName(deviceName));
      return wrong === null ? { error: 0, tolerance: 0 } : { error: Infinity, tolerance: 0, detail: wrong };
    },
  };
}

/** One element's wanted value where it is not there. */
function firstWrong(actual: ArrayLike<number>, expected: (i: number) => number): string | null {
  for (let i = 0; i < actual.length; i++)
    if (actual[i] !== expected(i)) return `element ${i} is ${actual[i]}, not ${expected(i)}`;
  return null;
}

/** Checks of sizes beyond what float32 counts and one dimension of a dispatch holds. */
export function sizeCases(): ConformanceCase[] {
  const columns = 8;
  const rows = 2 ** 21 + 40; // 2²⁴ + 320 elements
  const value = (i: number) => (i % 509) - 250;
  const huge = () => Float32Array.from({ length: rows * columns }, (_, i) => value(i));
  return [
    size('elements beyond 2²⁴: map, slice, gather', async (device) => {
      const x = device.upload(huge());
      const doubled = zipFlat(device, scalar.mul, x, 2);
      const end = device.slice(doubled, [rows, columns], [rows - 50, 0], [50, columns]);
      const wrong = firstWrong(await device.read(end), (i) => 2 * value((rows - 50) * columns + i));
      if (wrong) return `slice: ${wrong}`;
      const picked = [rows - 1, 3, rows - 37, 2 ** 21 + 1];
      const gathered = device.gather(x, device.upload(Int32Array.from(picked)), 1, rows, columns);
      const bad = firstWrong(await device.read(gathered), (i) =>
        value(picked[Math.floor(i / columns)]! * columns + (i % columns)),
      );
      for (const storage of [x, doubled, end, gathered]) storage.free();
      return bad && `gather: ${bad}`;
    }),
    size('elements beyond 2²⁴: reduce and permute', async (device) => {
      const x = device.upload(huge());
      const sums = device.reduce('sum', x, rows, columns, 1);
      const sum = (row: number) =>
        Array.from({ length: columns }, (_, j) => value(row * columns + j)).reduce((a, b) => a + b);
      const wrong = firstWrong((await device.read(sums)).slice(-64), (i) => sum(rows - 64 + i));
      if (wrong) return `reduce: ${wrong}`;
      const turned = device.permute(x, [rows, columns], [1, 0]);
      const last = device.slice(turned, [columns, rows], [columns - 1, rows - 64], [1, 64]);
      const bad = firstWrong(await device.read(last), (i) => value((rows - 64 + i) * columns + columns - 1));
      for (const storage of [x, sums, turned, last]) storage.free();
      return bad && `permute: ${bad}`;
    }),
    size('a grid beyond one dimension of a dispatch', async (device) => {
      const n = 600_011; // over 65535 workgroups of 8
      const x = device.upload(Float32Array.from({ length: 2 * n * 3 }, (_, i) => value(i)));
      const sums = device.reduce('sum', x, n, 3, 2);
      const expected = (i: number) =>
        [0, 2, 4].reduce((total, step) => total + value(Math.floor(i / 2) * 6 + step + (i % 2)), 0);
      const wrong = firstWrong(await device.read(sums), expected);
      if (wrong) return `two axes: ${wrong}`;
      const planes = 70_001; // over 65535 along z
      const y = device.upload(Float32Array.from({ length: planes * 2 * 3 }, (_, i) => value(i)));
      const sliced = device.slice(y, [planes, 2, 3], [0, 0, 1], [planes, 2, 2]);
      const swapped = device.permute(y, [planes, 2, 3], [0, 2, 1]);
      const bad =
        firstWrong(await device.read(sliced), (i) => value(Math.floor(i / 2) * 3 + 1 + (i % 2))) ??
        firstWrong(await device.read(swapped), (i) =>
          value(Math.floor(i / 6) * 6 + (i % 2) * 3 + (Math.floor(i / 2) % 3)),
        );
      for (const storage of [x, sums, y, sliced, swapped]) storage.free();
      return bad && `three axes: ${bad}`;
    }),
  ];
}
