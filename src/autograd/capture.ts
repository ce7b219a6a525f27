/** A computation run once by its code, and then again by its kernels alone. */
import { within } from '../kernels/context.js';
import { type Storage, sameDevice } from '../kernels/device.js';
import { withScope } from '../kernels/scope.js';
import { UsageError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { Tensor } from './tensor.js';

/** Most signatures (shapes and dtypes of the inputs) that one captured function keeps. */
const limit = 8;

/** What {@link capture} must know beside the function. */
export interface CaptureOptions {
  /** Tensors whose `.grad` the function fills by backward(): every call sets it anew. */
  parameters?: Iterable<Tensor>;
}

/**
 * Captures a computation. The first call with inputs of some shapes runs `f` and writes down the kernels it starts;
 * later calls start the same kernels on the new inputs, without the graph and without the code of `f`. The results
 * are those of `f`, bit for bit, but for one thing on a graphics card: elementwise steps that only one other reads are computed
 * within that one, where a driver may round a·b + c once instead of twice. On devices that cannot record (wasm, reference) `f` itself runs every time, and the same
 * things are refused in it.
 *
 * What is captured is the work on tensors: `f` must depend on its inputs alone (parameters and buffers are read, and
 * updated, as they are at each call), must not read tensors, draw random numbers (but from a `seed`) or step an optimiser; the same
 * decisions hold for all calls with the same shapes.
 *
 * @param f takes tensors and returns a tensor, or a list of them; they come back without history
 * @throws UsageError when `f` does so all the same, gives no tensors or a promise, or gets no tensor
 * @example
 * const step = capture((images, tokens) => {
 *   const loss = cloobLoss(model.encodeImage(images).l2Normalize(), model.encodeText(tokens).l2Normalize(), options);
 *   loss.backward();
 *   return loss;
 * }, { parameters: model.parameters() });
 * for (const { images, tokens } of batches) {
 *   const loss = step(images, tokens);
 *   await optimizer.step();
 * }
 */
export function capture<A extends readonly Tensor[], R extends Tensor | readonly Tensor[]>(
  f: (...inputs: A) => R,
  { parameters = [] }: CaptureOptions = {},
): (...inputs: A) => R {
  const leaves = parameters instanceof Tensor ? [parameters] : [...parameters];
  const plans = new Map<string, (inputs: readonly Storage[]) => R>();

  /** Runs f once; its tensors and the gradients it left. */
  const run = (inputs: A): { outputs: Tensor[]; single: boolean; grads: (Tensor | null)[] } => {
    for (const leaf of leaves) leaf.grad = null;
    const value = within('capture', { capturing: true }, () => f(...inputs));
    const outputs = value instanceof Tensor ? [value] : value;
    if (!Array.isArray(outputs) || !outputs.every((output) => output instanceof Tensor))
      throw new UsageError('capture', {
        received: 'a function that returns something else',
        expected: 'a tensor or a list of tensors',
      });
    return {
      outputs: outputs.map((output: Tensor) => output.detach()),
      single: value instanceof Tensor,
      grads: leaves.map(({ grad }) => grad),
    };
  };

  /** Sets the gradients, and puts outputs in the form in which f gives them. */
  const deliver = (outputs: Tensor[], single: boolean, grads: readonly (Tensor | null)[]): R => {
    leaves.forEach((leaf, i) => {
      leaf.grad = grads[i]!;
    });
    return (single ? outputs[0] : outputs) as R;
  };

  return (...inputs) => {
    const first = inputs[0]?.storage;
    if (!first || !inputs.every((x) => x instanceof Tensor))
      throw new UsageError('capture', { received: 'no tensors as inputs', expected: 'at least one tensor' });
    for (const x of inputs) sameDevice('capture', first.device, x.storage.device);
    const storages = inputs.map(({ storage }) => storage);
    const key = `${first.device.name}: ${inputs.map(({ shape, dtype }) => formatShape(shape) + dtype).join()}`;
    const known = plans.get(key);
    if (known) return known(storages);

    const tensorsOf = ({ outputs, grads }: ReturnType<typeof run>) => [
      ...outputs,
      ...grads.filter((grad) => grad !== null),
    ];
    const storagesOf = (value: ReturnType<typeof run>) => tensorsOf(value).map(({ storage }) => storage);
    const scopedRun = () =>
      withScope(
        () => run(inputs),
        (storage, value) => storagesOf(value).includes(storage),
        'capture',
      );
    const { device } = first;
    if (!device.record) {
      const { outputs, single, grads } = scopedRun();
      return deliver(outputs, single, grads);
    }
    const { value, replay } = device.record(storages, scopedRun, storagesOf);
    const { outputs, single, grads } = value;
    const shapes = tensorsOf(value).map(({ shape }) => shape);
    const has = grads.map((grad) => grad !== null);
    if (plans.size === limit) plans.delete(plans.keys().next().value!);
    plans.set(key, (others) => {
      const tensors = replay(others).map((storage, i) => new Tensor(storage, shapes[i]!));
      let next = outputs.length;
      return deliver(
        tensors.slice(0, next),
        single,
        has.map((present) => (present ? tensors[next++]! : null)),
      );
    });
    return deliver(outputs, single, grads);
  };
}
