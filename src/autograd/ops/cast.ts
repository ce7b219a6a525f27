/** Changing dtype and device. Both are identities to the gradient, which travels back the other way. */

import { deviceByName } from '../../kernels/devices.js';
import type { DType } from '../../tensor/dtype.js';
import { checkDType } from '../../tensor/dtype.js';
import { DeviceError, DTypeError } from '../../tensor/errors.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';

const castOp = defineBuiltIn<{ from: DType; to: DType }>({
  name: 'cast',
  equation: 'y = x, rounded to the dtype',
  derivative: 'x̄ = ȳ, as the dtype of x',
  dtype: (_, { to }) => to,
  saves: {},
  kernel: ([x], { device, params }) => device.cast(x as never, params.to),
  vjp: [({ gradOutput, params }) => gradOutput.cast(params.from)],
  test: { scalar: (x) => x! },
});

/** The same values as another dtype; toward zero when going to int32. @throws DTypeError when the device lacks it */
export function cast(x: Tensor, dtype: DType): Tensor {
  checkTensor('cast', 'x', x);
  checkDType('cast', dtype);
  if (dtype === x.dtype) return x;
  const { device } = x.storage;
  if (!device.dtypes.includes(dtype))
    throw new DTypeError('cast', {
      received: `${dtype} on ${device.name}`,
      expected: device.dtypes.join(' or '),
      hint: dtype === 'float64' ? "Double precision lives on wasm and reference: x.to('wasm').cast('float64')." : '',
    });
  return castOp([dtype === 'int32' ? x.detach() : x], { from: x.dtype, to: dtype }); // rounding has no derivative
}

const transfer = defineBuiltIn<{ from: string; to: string }>({
  name: 'to',
  equation: 'y = x, on another device',
  derivative: 'x̄ = ȳ, on the device of x',
  saves: {},
  kernel: ([x], { device, params }) => deviceByName(params.to).upload(device.readSync(x as never)),
  vjp: [({ gradOutput, params }) => gradOutput.to(params.from)],
  test: { scalar: (x) => x! },
});

/** The same values on another device. Differentiable. Copies through the host. */
export function to(x: Tensor, device: string): Tensor {
  checkTensor('to', 'x', x);
  const target = deviceByName(device);
  if (target === x.storage.device) return x;
  if (!target.dtypes.includes(x.dtype))
    throw new DeviceError('to', {
      received: `a ${x.dtype} tensor for ${device}`,
      expected: `${target.dtypes.join(' or ')} there`,
      hint: "Use cast('float32') first.",
    });
  return transfer([x], { from: x.device, to: device });
}

const cloneOp = defineBuiltIn<void>({
  name: 'clone',
  equation: 'y = x',
  derivative: 'x̄ = ȳ',
  saves: {},
  kernel: ([x], { device, shapes }) =>
    device.slice(
      x as never,
      shapes[0]!,
      shapes[0]!.map(() => 0),
      shapes[0]!,
    ),
  vjp: [({ gradOutput }) => gradOutput],
  test: { scalar: (x) => x! },
});

/** A copy with storage of its own, connected to the graph. */
export function clone(x: Tensor): Tensor {
  return cloneOp([x]);
}
