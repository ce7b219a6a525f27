/** Clipping of gradients, for loops that do it by hand; `maxGradNorm` of an optimiser does it within its step. */
import { tensor, zeros } from '../../autograd/create.js';
import { noGrad } from '../../autograd/graph.js';
import { Tensor } from '../../autograd/tensor.js';
import { sameDevice } from '../../kernels/device.js';
import { withScope } from '../../kernels/scope.js';
import { DomainError } from '../../tensor/errors.js';
import { formatShape } from '../../tensor/shape.js';
import { assign, Parameter } from '../module.js';
import { checkFinite, checkFits, clipFactor, clipUnseen, squaredNorms } from './gradients.js';

interface WithGrad {
  parameter: Tensor;
  grad: Tensor;
}

/** What has a gradient, each once. @throws DomainError for a limit that is none; as checkFits() */
function withGrads(op: string, parameters: Iterable<Tensor>, limit: number): WithGrad[] {
  if (!(limit > 0)) throw new DomainError(op, { received: `a limit of ${limit}`, expected: 'a number > 0' });
  return [...new Set(parameters instanceof Tensor ? [parameters] : parameters)].flatMap((parameter) => {
    const { grad } = parameter;
    if (grad === null) return [];
    checkFits(op, parameter, grad);
    return { parameter, grad };
  });
}

/** Runs `body` without a record of it, and frees what it makes, but the result. */
function tidily<T extends Tensor | void>(op: string, body: () => T): T {
  return withScope(
    () => noGrad(body),
    (storage, result) => result instanceof Tensor && storage === result.storage,
    op,
  );
}

/**
 * Scales all gradients down together when their norm is larger: g ← g · min(1, maxNorm/n), n = √Σ‖g‖², in place.
 * @param maxNorm > 0
 * @returns n, as it was before: a tensor of shape [], for which nothing waits
 * @throws DomainError for a gradient that is not finite, where the device can be read at once; nothing is changed then
 * @source Pascanu et al. 2013, "On the difficulty of training recurrent neural networks"
 */
export function clipGradNorm(parameters: Iterable<Tensor>, maxNorm: number): Tensor {
  const op = 'clipGradNorm';
  const found = withGrads(op, parameters, maxNorm);
  if (found.length === 0) return zeros([]);
  const storages = found.map(({ grad }) => grad.storage);
  const [{ device, dtype }] = storages as [(typeof storages)[0]];
  if (device.synchronous) {
    const squares = squaredNorms(storages);
    checkFinite(op, squares, (i) => describe(found[i]!, i, found.length));
    const norm = Math.sqrt(squares.reduce((a, b) => a + b, 0));
    const factor = clipFactor(norm, maxNorm);
    if (factor < 1)
      tidily(op, () => {
        for (const { grad } of found) assign(grad, grad.mul(factor));
      });
    return tensor(norm, { dtype, device: device.name });
  }
  for (const storage of storages) sameDevice(op, device, storage.device);
  return tidily(op, () => {
    const { norm, factor } = clipUnseen(storages, maxNorm);
    const scale = new Tensor(factor, []);
    for (const { grad } of found) assign(grad, grad.mul(scale));
    return new Tensor(norm, []);
  });
}

function describe({ parameter }: WithGrad, i: number, count: number): string {
  const place = `tensor ${i + 1} of ${count} with a gradient, of shape ${formatShape(parameter.shape)}`;
  return parameter instanceof Parameter && parameter.name !== null ? `${parameter.name} (${place})` : place;
}

/**
 * Limits every element of all gradients: g ← min(max(g, −limit), limit), in place. NaN stays NaN.
 * @param limit > 0
 * @throws DomainError
 */
export function clipGradValue(parameters: Iterable<Tensor>, limit: number): void {
  const found = withGrads('clipGradValue', parameters, limit);
  tidily('clipGradValue', () => {
    for (const { grad } of found) assign(grad, grad.maximum(-limit).minimum(limit));
  });
}
