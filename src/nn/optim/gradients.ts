/** What an optimiser asks of all gradients together: how long they are, and whether they are finite. */
import type { Tensor } from '../../autograd/tensor.js';
import { freedError } from '../../autograd/tensor.js';
import { type Storage, sameDevice } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { mul } from '../../kernels/scalar.js';
import { withScope } from '../../kernels/scope.js';
import { builtIn } from '../../kernels/source/identity.js';
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
  const { sumSquares } = fused(device);
  return withScope(
    () => {
      const sums = grads.map((grad) => sumSquares(scale === 1 ? grad : zipFlat(device, mul, grad, scale)));
      return device.concat(
        sums,
        1,
        sums.map(() => 1),
      );
    },
    (storage, result) => storage === result,
    'the norm of gradients',
  );
}

/** Σ g² of each gradient; summed again in float64 where float32 cannot hold it. For devices that can be read at once. */
export function squaredNorms(grads: readonly Storage[]): number[] {
  const norms = new Map<Storage, number>();
  for (const device of new Set(grads.map((grad) => grad.device))) {
    const own = grads.filter((grad) => grad.device === device);
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

/** What scales gradients of squared norm `total` down to `most`; 1 when they are shorter. A kernel as well. */
export function clipFactor(total: number, most: number): number {
  const norm = Math.sqrt(total);
  return norm > most ? most / norm : 1;
}

function firstPositive(a: number, b: number): number {
  return a > 0 ? a : b;
}
builtIn({ clipFactor, firstPositive });

/**
 * What scales gradients down to norm `most`, and squares that are finite where the gradients are, all of it on a device
 * that cannot be read at once. Squares overflow float32 from 2e19 on; then those of gradients / 2⁶⁴ decide.
 */
export function clipUnseen(grads: readonly Storage[], most: number): { factor: Storage; squares: Storage } {
  const { device } = grads[0]!;
  const tiny = 2 ** -64;
  return withScope(
    () => {
      const [near, far] = [sumsOfSquares(grads), sumsOfSquares(grads, tiny)];
      const norm = (squares: Storage) => device.reduce('sum', squares, 1, squares.size, 1);
      const factors = [
        zipFlat(device, clipFactor, norm(near), most),
        zipFlat(device, clipFactor, norm(far), most * tiny),
      ];
      const factor = zipFlat(device, firstPositive, factors[0]!, factors[1]!); // near's is 0 where it overflowed
      return { factor, squares: most < 1e19 ? far : near }; // beyond, what is clipped has infinite squares as well
    },
    (storage, { factor, squares }) => storage === factor || storage === squares,
    'Optimizer.step',
  );
}

/**
 * @param squares  Σ g² of each gradient
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
