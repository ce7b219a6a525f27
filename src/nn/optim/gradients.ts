/** What an optimiser asks of all gradients together: how long they are, and whether they are finite. */
import type { Tensor } from '../../autograd/tensor.js';
import { freedError } from '../../autograd/tensor.js';
import { type Storage, sameDevice } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { mul, sqrt } from '../../kernels/scalar.js';
import { withScope } from '../../kernels/scope.js';
import { builtIn } from '../../kernels/source/own.js';
import { zipFlat } from '../../kernels/walk.js';
import { DomainError, DTypeError, ShapeError } from '../../tensor/errors.js';
import { formatShape, sameShape } from '../../tensor/shape.js';

/** @throws GraphError, ShapeError, DTypeError, DeviceError when `parameter` cannot move along its gradient */
export function checkFits(op: string, parameter: Tensor, grad: Tensor): void {
  if (grad.storage.freed) throw freedError(op, grad);
  if (!sameShape(grad.shape, parameter.shape))
    throw new ShapeError(op, {
      received: `a gradient of shape ${formatShape(grad.shape)} for a parameter of shape ${formatShape(parameter.shape)}`,
      expected: 'the same shape',
    });
  if (grad.dtype !== parameter.dtype)
    throw new DTypeError(op, {
      received: `a gradient of ${grad.dtype} for a ${parameter.dtype} parameter`,
      expected: 'the same dtype',
    });
  sameDevice(op, parameter.storage.device, grad.storage.device);
}

/** Σ (scale · g)² of each gradient, as one tensor on the device of all. */
export function sumsOfSquares(grads: readonly Storage[], scale = 1): Storage {
  const { device } = grads[0]!;
  return withScope(
    () => fused(device).sumSquares(scale === 1 ? grads : grads.map((grad) => zipFlat(device, mul, grad, scale))),
    (storage, result) => storage === result,
    'the norm of gradients',
  );
}

/** Σ g² of each gradient; summed again in float64 where float32 cannot hold it. For devices that can be read at once. */
export function squaredNorms(grads: readonly Storage[]): number[] {
  const norms = new Map<Storage, number>();
  const kind = ({ device, dtype }: Storage) => `${device.name} ${dtype}`;
  for (const alike of new Set(grads.map(kind))) {
    const own = grads.filter((grad) => kind(grad) === alike);
    const { device } = own[0]!;
    const sums = sumsOfSquares(own);
    device.readSync(sums).forEach((sum, i) => {
      norms.set(own[i]!, Number.isFinite(sum) ? sum : squaredNorm(device.readSync(own[i]!)));
    });
    sums.free();
  }
  return grads.map((grad) => norms.get(grad)!);
}

function squaredNorm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return sum;
}

/** What scales gradients of norm `norm` down to `most`; 1 when they are shorter. A kernel as well. */
export function clipFactor(norm: number, most: number): number {
  return norm > most ? most / norm : 1;
}

/** The norm from Σ g², or where that is beyond float32 from Σ (g / 2⁶⁴)². A kernel. */
function normOf(near: number, far: number): number {
  return near <= 3.4028234663852886e38 ? Math.sqrt(near) : Math.sqrt(far) * 18446744073709552000;
}
builtIn({ clipFactor, normOf });

/** √Σ g² of each gradient, as one tensor on the device of all; infinite where g² is. */
export function normsOf(grads: readonly Storage[]): Storage {
  const squares = sumsOfSquares(grads);
  const norms = squares.device.map(sqrt, squares);
  squares.free();
  return norms;
}

/**
 * On a device that cannot be read at once: the norm of each gradient, that of all together, and what clips it to `most`.
 */
export function clipUnseen(grads: readonly Storage[], most: number): Record<'norms' | 'norm' | 'factor', Storage> {
  const { device } = grads[0]!;
  return withScope(
    () => {
      const [near, far] = [sumsOfSquares(grads), sumsOfSquares(grads, 2 ** -64)];
      const total = (squares: Storage) => device.reduce('sum', squares, 1, squares.size, 1);
      const norm = zipFlat(device, normOf, total(near), total(far));
      return { norms: zipFlat(device, normOf, near, far), norm, factor: zipFlat(device, clipFactor, norm, most) };
    },
    (storage, result) => Object.values(result).includes(storage),
    'clipping',
  );
}

/**
 * @param squares  Σ g² of each gradient, or the root of that
 * @param describe says which parameter the i-th gradient belongs to
 * @throws DomainError for the first that is not finite, or not finite as float32 where that is what it will be kept in
 */
export function checkFinite(op: string, squares: ArrayLike<number>, describe: (i: number) => string): void {
  const faulty = Array.from(squares, (_, i) => i).filter((i) => !Number.isFinite(squares[i]));
  const [first] = faulty;
  if (first === undefined) return;
  const what = Number.isNaN(squares[first]) ? 'NaN' : 'an infinity, or a square beyond the dtype,';
  const others = faulty.length > 1 ? `, and in those of ${faulty.length - 1} more` : '';
  throw new DomainError(op, {
    received: `${what} in the gradient of ${describe(first)}${others}`,
    expected: 'finite gradients; nothing was changed',
    hint: 'Find its origin with detectAnomaly(), lower the learning rate, or set maxGradNorm. { checkFinite: false } lets it pass.',
  });
}
