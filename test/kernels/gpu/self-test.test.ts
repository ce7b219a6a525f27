/** A device that gives wrong numbers must not be used. */
import assert from 'node:assert/strict';
import { DeviceError } from 'hopgrad';
import type { Device } from '#src/kernels/device.js';
import { deviceByName } from '#src/kernels/devices.js';
import { selfTest } from '#src/kernels/gpu/self-test.js';
import * as scalar from '#src/kernels/scalar.js';
import { zipFlat } from '#src/kernels/walk.js';

/** The reference device with one of its kernels replaced. */
function lying(changes: Partial<Record<keyof Device, unknown>>): Device {
  const honest = deviceByName('reference');
  return new Proxy(honest, {
    get(target, name) {
      const value = name in changes ? changes[name as keyof Device] : target[name as keyof Device];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('the self-test of devices', () => {
  const honest = deviceByName('reference');

  it('trusts the reference device', () => selfTest(honest));

  const lies: [string, Partial<Record<keyof Device, unknown>>][] = [
    [
      'exp(x)',
      {
        map: (f: never, x: never) => zipFlat(honest, scalar.mul, honest.map(f, x), 1.001),
      },
    ],
    [
      'the sum of',
      {
        reduce: (kind: 'sum', x: never, o: number, l: number, i: number) =>
          honest.reduce(kind, x, o, kind === 'sum' ? l - 1 : l, i),
      },
    ],
    ['a product', { matmul: (_a: never, b: never) => honest.cast(b, 'float32') }],
  ];
  for (const [what, changes] of lies)
    it(`refuses one that is wrong about ${what}`, async () => {
      await assert.rejects(
        selfTest(lying(changes)),
        (error) => error instanceof DeviceError && error.message.includes(what),
      );
    });
});
