/** A model as a table of its layers. */
import { Tensor } from '../autograd/tensor.js';
import { context, within } from '../kernels/context.js';
import { withScope } from '../kernels/scope.js';
import { bytesPerElement, type DType } from '../tensor/dtype.js';
import { UsageError } from '../tensor/errors.js';
import { formatTable } from '../tensor/print.js';
import { Random } from '../tensor/random.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import type { Module } from './module.js';

/** A module of the model, where it is, and the tensors that are its own. */
export interface SummaryEntry {
  path: string;
  module: Module;
  own: readonly Tensor[];
}

/** What a layer gave. */
interface Output {
  shape: Shape;
  dtype: DType;
}

/** The text of Module.summary, which says what is in it. */
export function summarize(model: Module, entries: readonly SummaryEntry[], example: readonly unknown[]): string {
  const outputs = example.length > 0 ? outputsOf(model, entries, example) : new Map<Module, Output>();
  const trained = new Set<Tensor>(model.parameters());
  const counted = new Set<Tensor>();
  const around: string[] = []; // the paths of the modules that the next may be in
  const rows = entries.map(({ path, module, own }) => {
    const fresh = own.filter((tensor) => !counted.has(tensor));
    for (const tensor of fresh) counted.add(tensor);
    const output = outputs.get(module);
    while (around.length > 0 && !path.startsWith(around.at(-1)!)) around.pop();
    const name = path.slice(around.at(-1)?.length ?? 0);
    const indent = '  '.repeat(around.length);
    around.push(path && `${path}.`);
    return [
      `${indent}${name && `${name}: `}${module.constructor.name}`,
      output ? formatShape(output.shape) : '',
      own.length > 0
        ? `${count(fresh.filter((t) => trained.has(t)))}${fresh.length < own.length ? ' (shared)' : ''}`
        : '',
      own.length > 0 ? size(fresh) : '',
    ];
  });
  const layers = formatTable([['layer', outputs.size > 0 ? 'output' : '', 'parameters', 'memory'], ...rows], 2);
  return `${layers}\n${sums(model, [...counted], [...outputs.values()])}`;
}

/** What a model holds: its parameters, and the memory of all that is in it. */
export function sums(model: Module, tensors: readonly Tensor[], outputs: readonly Output[] = []): string {
  const frozen = model.parameters().filter((parameter) => !parameter.requiresGrad);
  const total = [
    `${count(model.parameters())} parameters${frozen.length > 0 ? `, ${count(frozen)} of them frozen` : ''}`,
    `${size(tensors)} with buffers`,
    ...(outputs.length > 0 ? [`${size(outputs)} of outputs`] : []),
  ];
  return total.join(', ');
}

/** Runs the example and notes what each forward() gives. */
function outputsOf(model: Module, entries: readonly SummaryEntry[], example: readonly unknown[]): Map<Module, Output> {
  type Forward = (...inputs: unknown[]) => unknown;
  const outputs = new Map<Module, Output>();
  const undo: (() => void)[] = [];
  for (const module of new Set(entries.map((entry) => entry.module)) as Set<Module & { forward?: Forward }>) {
    const { forward } = module;
    if (typeof forward !== 'function') continue;
    const own = Object.getOwnPropertyDescriptor(module, 'forward');
    const noting: Forward = (...inputs) => {
      const output = forward.apply(module, inputs);
      if (output instanceof Tensor) outputs.set(module, { shape: output.shape, dtype: output.dtype });
      return output;
    };
    Object.defineProperty(module, 'forward', { value: noting, configurable: true });
    undo.push(() => (own ? Object.defineProperty(module, 'forward', own) : Reflect.deleteProperty(module, 'forward')));
  }
  const [first] = example;
  const run = typeof first === 'function' ? first : (model as { forward?: Forward }).forward?.bind(model, ...example);
  try {
    if (!run)
      throw new UsageError('summary', {
        received: `an example for ${model.constructor.name}, which has no forward()`,
        expected: 'a function that runs the model, such as () => model.encodeImage(images)',
      });
    const apart = { recording: false, replaying: true, random: Random.fromState(context.random.state) };
    const freeAll = () => false;
    withScope(() => within('summary', apart, () => void run(model)), freeAll, 'summary');
  } finally {
    for (const back of undo) back();
  }
  return outputs;
}

const count = (tensors: readonly { shape: Shape }[]) =>
  tensors.reduce((sum, { shape }) => sum + sizeOf(shape), 0).toLocaleString('en');

/** Bytes for a person. */
function size(tensors: readonly { shape: Shape; dtype: DType }[]): string {
  const bytes = tensors.reduce((sum, { shape, dtype }) => sum + sizeOf(shape) * bytesPerElement[dtype], 0);
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  const unit = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${unit === 0 ? bytes : (bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`;
}
