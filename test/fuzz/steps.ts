/**
 * One step of a program. Elementwise ops come from the registry with operands that broadcast; methods with arguments
 * of their own are listed here; any other op of the registry, also one that is new, runs on its own trials.
 */
import { type DType, registeredOps, Tensor } from 'hopgrad';
import { drawTrial } from 'hopgrad/testing';
import type { Builder, Value } from './build.js';

/** A number as source text. */
export const literal = (x: number) => (Object.is(x, -0) ? '-0' : String(x));

const json = (value: unknown) =>
  JSON.stringify(value, (_, v) => (typeof v === 'number' && !Number.isFinite(v) ? `§${v}§` : v)).replace(/"§|§"/g, '');

const options = (entries: Record<string, unknown>) => {
  const list = Object.entries(entries).filter(([, value]) => value !== undefined);
  return list.length === 0
    ? ''
    : `{ ${list.map(([key, value]) => `${key}: ${typeof value === 'string' ? value : json(value)}`).join(', ')} }`;
};

type Method = (b: Builder, x: Value) => void;

/** An axis, sometimes counted from the end. */
const axisOf = (b: Builder, rank: number) => {
  const axis = b.choices.int(Math.max(1, rank));
  return b.choices.once(2) ? axis - rank : axis;
};
const someAxes = (b: Builder, rank: number) => {
  const chosen = b.choices.flags(rank);
  const axes = chosen.flatMap((yes, axis) => (yes ? [axis] : []));
  return b.choices.once(3) ? undefined : axes.length === 1 && b.choices.once(2) ? axes[0] : axes;
};
const keepDims = (b: Builder) => (b.choices.once(2) ? true : undefined);

const reduction =
  (name: string): Method =>
  (b, x) => {
    b.add(`${x.name}.${name}(${options({ axis: someAxes(b, x.tensor.rank), keepDims: keepDims(b) })})`);
  };
const alongOne =
  (name: string, keeps: boolean): Method =>
  (b, x) => {
    const axis = b.choices.once(3) ? undefined : axisOf(b, x.tensor.rank);
    b.add(`${x.name}.${name}(${options({ axis, keepDims: keeps ? keepDims(b) : undefined })})`);
  };

/** `name`, brought to `shape` when it has another one and elements to fill it. */
const fitted = (value: Value, shape: readonly number[]) =>
  value.tensor.shape.join() === shape.join() ? value.name : `fit(${value.name}, ${json(shape)})`;

/** An operand of a given shape: a value brought to it, or a new input. */
function operand(b: Builder, shape: readonly number[], dtype?: DType): string {
  const value = b.value();
  if (b.choices.once(2) && value.tensor.size > 0 && (!dtype || value.tensor.dtype === dtype))
    return fitted(value, shape);
  return b.input(shape, dtype && { dtype }).name;
}

/** A part of each axis, sometimes with a step. */
const ranges = (b: Builder, shape: readonly number[]) =>
  shape.map((size) => {
    const start = b.choices.int(size + 1);
    const end = start + b.choices.int(size - start + 1);
    const range = b.choices.once(4) ? [0, null] : b.choices.once(4) && end < size ? [start, end - size] : [start, end];
    return b.choices.once(4) ? [...range, 1 + b.choices.int(3)] : range;
  });

/** A shape with as many elements: sizes moved about, axes of size 1 put in, two axes joined. */
function reshaped(b: Builder, shape: readonly number[]): number[] {
  let sizes = [...shape];
  const turn = b.choices.int(Math.max(1, sizes.length));
  sizes = [...sizes.slice(turn), ...sizes.slice(0, turn)];
  if (b.choices.once(2) && sizes.length > 1) sizes.splice(0, 2, sizes[0]! * sizes[1]!);
  if (b.choices.once(2) && sizes.length < 6) sizes.splice(b.choices.int(sizes.length + 1), 0, 1);
  if (b.choices.once(4) && sizes.length > 0) sizes[b.choices.int(sizes.length)] = -1;
  return sizes;
}

/** Leading axes that broadcast with others: each the same or 1, some dropped. */
const related = (b: Builder, shape: readonly number[]) => {
  const ones = b.choices.flags(shape.length);
  return shape.map((size, i) => (ones[i] ? 1 : size)).slice(b.choices.once(3) ? b.choices.int(shape.length + 1) : 0);
};

/** Images of at most `most` elements, made from a value or new. */
function image(b: Builder): { name: string; shape: number[] } {
  const size = (least = 0) => b.choices.pick([2, 1, 3, 4, 2, 5, 3, 7, 2, 9, least]);
  const shape = [b.choices.pick([1, 2, 3, 0]), b.choices.pick([1, 2, 3, 0, 4, 5]), size(1), size(1)];
  return { name: operand(b, shape), shape };
}

export const methods: Record<string, Method> = {
  sum: reduction('sum'),
  mean: reduction('mean'),
  max: reduction('max'),
  min: reduction('min'),
  variance: reduction('variance'),
  argmax: alongOne('argmax', true),
  argmin: alongOne('argmin', true),
  softmax: alongOne('softmax', false),
  logSoftmax: alongOne('logSoftmax', false),
  logSumExp: alongOne('logSumExp', true),
  l2Normalize(b, x) {
    const text = `${x.name}.l2Normalize(${options({ axis: b.choices.once(3) ? undefined : axisOf(b, x.tensor.rank) })})`;
    b.add(text, `wide(() => ${text})`);
  },
  layerNorm(b, x) {
    const size = x.tensor.shape.slice(-1);
    const part = () => (b.choices.once(2) ? operand(b, size) : undefined);
    b.add(
      `${x.name}.layerNorm(${options({ weight: part(), bias: part(), eps: b.choices.pick([undefined, 0.01, 1]) })})`,
    );
  },
  reshape: (b, x) => void b.add(`${x.name}.reshape(${json(reshaped(b, x.tensor.shape))})`),
  permute(b, x) {
    const order = x.tensor.shape.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = b.choices.int(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    b.add(`${x.name}.permute(${b.choices.once(5) ? '' : json(order)})`);
  },
  transpose(b, x) {
    const { rank } = x.tensor;
    b.add(`${x.name}.transpose(${b.choices.once(2) && rank > 0 ? `${axisOf(b, rank)}, ${axisOf(b, rank)}` : ''})`);
  },
  expand(b, x) {
    const more = Array.from({ length: b.choices.int(Math.max(1, 7 - x.tensor.rank)) % 3 }, () => 1 + b.choices.int(3));
    const repeated = x.tensor.shape.map((size) => (size === 1 ? b.choices.int(4) : size));
    b.add(`${x.name}.expand(${json([...more, ...repeated])})`);
  },
  unsqueeze: (b, x) => void (x.tensor.rank < 6 && b.add(`${x.name}.unsqueeze(${axisOf(b, x.tensor.rank + 1)})`)),
  squeeze: (b, x) => void b.add(`${x.name}.squeeze(${b.choices.once(2) ? axisOf(b, x.tensor.rank) : ''})`),
  flatten: (b, x) => void b.add(`${x.name}.flatten(${b.choices.once(2) ? axisOf(b, x.tensor.rank) : ''})`),
  slice: (b, x) => void b.add(`${x.name}.slice(${json(ranges(b, x.tensor.shape))})`),
  split(b, x) {
    if (x.tensor.rank === 0) return;
    const axis = axisOf(b, x.tensor.rank);
    const size = x.tensor.shape.at(axis)!;
    const part = Math.max(1 + b.choices.int(4), Math.ceil(size / 40));
    const count = Math.ceil(size / part);
    if (count > 0) b.add(`${x.name}.split(${part}, { axis: ${axis} })[${b.choices.int(count)}]`);
  },
  pad(b, x) {
    const widths = x.tensor.shape.map(() => [b.choices.int(3), b.choices.int(3)]);
    const value = b.choices.pick([0, 3, b.regime === 'special' ? -Infinity : 0.5]);
    b.add(`${x.name}.pad(${json(widths)}, ${value})`);
  },
  concat(b, x) {
    if (x.tensor.rank === 0) return;
    const axis = axisOf(b, x.tensor.rank);
    const place = axis < 0 ? axis + x.tensor.rank : axis;
    const others = Array.from({ length: 1 + b.choices.int(2) }, () =>
      operand(
        b,
        x.tensor.shape.map((size, i) => (i === place ? b.choices.int(4) : size)),
        x.tensor.dtype,
      ),
    );
    b.add(`${x.name}.concat([${others}], { axis: ${axis} })`);
  },
  stack(b, x) {
    if (x.tensor.rank === 6) return;
    b.add(
      `${x.name}.stack([${operand(b, x.tensor.shape, x.tensor.dtype)}], { axis: ${axisOf(b, x.tensor.rank + 1)} })`,
    );
  },
  gather(b, x) {
    if (x.tensor.rank === 0) return;
    const axis = axisOf(b, x.tensor.rank);
    const rows = x.tensor.shape.at(axis)!;
    if (rows === 0) return;
    const shape = b.choices.pick([[2], [3], [], [2, 2], [0], [1, 3], [7]]);
    const data = Array.from({ length: shape.reduce((p, n) => p * n, 1) }, () => b.choices.int(rows));
    b.add(`${x.name}.gather(${b.input(shape, { dtype: 'int32', data }).name}, { axis: ${axis} })`);
  },
  scatterAdd(b, x) {
    if (x.tensor.rank === 0) return;
    const axis = axisOf(b, x.tensor.rank);
    const rows = 1 + b.choices.int(5);
    const data = Array.from({ length: x.tensor.shape.at(axis)! }, () => b.choices.int(rows));
    b.add(`${x.name}.scatterAdd(${b.input([data.length], { dtype: 'int32', data }).name}, ${rows}, { axis: ${axis} })`);
  },
  matmul(b, x) {
    const { shape } = x.tensor;
    const [transposeA, transposeB] = [b.choices.once(3) || undefined, b.choices.once(3) || undefined];
    const k = shape.length < 2 ? (shape[0] ?? 1) : shape.at(transposeA ? -2 : -1)!;
    const n = b.choices.pick([2, 1, 3, 4, 5, 9, 0, 17]);
    const last = b.choices.once(5) ? [k] : transposeB ? [n, k] : [k, n];
    const lead = b.choices.once(2) ? related(b, shape.slice(0, -2)) : [];
    b.add(
      `${x.name}.matmul(${[operand(b, last.length > 1 ? [...lead, ...last] : last, x.tensor.dtype), options({ transposeA, transposeB })].filter(Boolean).join(', ')})`,
    );
  },
  conv2d(b) {
    const { name, shape } = image(b);
    const size = (most: number) => b.choices.pick([1, 2, 3].filter((k) => k <= Math.max(1, most)));
    const weight = operand(b, [b.choices.pick([1, 2, 3, 5, 0]), shape[1]!, size(shape[2]!), size(shape[3]!)]);
    const stride = b.choices.pick([undefined, 2, [1, 2], 3]);
    const padding = b.choices.pick([undefined, 1, [0, 1], 2]);
    const dilation = b.choices.once(4) ? b.choices.pick([2, [1, 2]]) : undefined;
    b.add(`${name}.conv2d(${[weight, options({ stride, padding, dilation })].filter(Boolean).join(', ')})`);
  },
  avgPool2d(b) {
    const { name, shape } = image(b);
    const kernel = [1 + b.choices.int(Math.min(3, shape[2]!)), 1 + b.choices.int(Math.min(3, shape[3]!))];
    const padding = b.choices.once(3) ? kernel.map((size) => size >> 1) : undefined;
    b.add(`${name}.avgPool2d(${options({ kernel, stride: b.choices.pick([undefined, 1, 2, [3, 1]]), padding })})`);
  },
  cast(b, x) {
    if (x.tensor.dtype === 'int32') b.add(`${x.name}.cast('float32')`, `${x.name}.clone()`);
    else if (x.tensor.dataSync().every((v) => Math.abs(v) < 2 ** 31)) b.add(`${x.name}.cast('int32')`);
  },
};

/** Adds a step by its name. Some cannot be made from what there is; then nothing is added. */
export function step(b: Builder, name: string): void {
  const method = methods[name];
  const op = registeredOps().get(name);
  if (method) method(b, b.value());
  else if (op!.test?.scalar && name in Tensor.prototype) elementwise(b, name);
  else trial(b, name);
}

/** Numbers as operands: some that float32 holds, some not. */
const numbers = [1, 2, 0.1, -1, 0, 0.5, 3, -2.5, 1e-3];
const edgeNumbers = [1, 2, 0, 3, -1, 0.5];

function elementwise(b: Builder, name: string): void {
  const op = registeredOps().get(name)!;
  const { scalar, domain } = op.test!;
  const arity = scalar!.length;
  const lows = Array.from(
    { length: arity },
    (_, i) =>
      [domain?.[0], domain?.[i]].map((d) => (Array.isArray(d) ? d : domain)?.[0] as number | undefined)[
        Array.isArray(domain?.[0]) ? 1 : 0
      ] ?? -2,
  );
  /** A tensor moved to where the op is smooth, mostly. */
  const inDomain = (value: Value, i: number): Value => {
    const way = lows[i]! > -0.85 && b.regime !== 'edges' ? b.choices.int(6) : 5;
    if (way === 5) return value;
    if (way === 4) return b.add(`${value.name}.square()`) ?? value;
    const positive = b.add(`${value.name}.abs()`) ?? value;
    return b.add(`${positive.name}.add(${Math.max(0.25, lows[i]!)})`) ?? value;
  };
  const first = inDomain(b.value(), 0);
  const operands: (Value | number)[] = [first];
  for (let i = 1; i < arity; i++) {
    const beside = typeof operands[i - 1] === 'number'; // two numbers are a case of their own: `where(0.1, 0.2)`
    const kind = beside && b.choices.once(2) ? 0 : b.choices.int(4);
    if (kind === 0) {
      const number = b.choices.pick(b.regime === 'edges' ? edgeNumbers : numbers);
      operands.push(lows[i]! > -1 ? Math.abs(number) || 1 : number);
    } else operands.push(inDomain(partner(b, first.tensor.shape, kind === 1), i));
  }
  const text = (render: (operand: Value | number) => string) => {
    const [self, ...rest] = operands.map(render);
    return `${self}.${name}(${rest.join(', ')})`;
  };
  const shown = text((x) => (typeof x === 'number' ? literal(x) : x.name));
  const shape = broadcast(operands.map((x) => (typeof x === 'number' ? [] : x.tensor.shape)));
  if (!shape) return void b.add(shown);
  const written = (x: Value | number) =>
    typeof x === 'number'
      ? `same(${literal(x)}, ${json(shape)})`
      : x.tensor.shape.join() === shape.join()
        ? x.name
        : `same(${x.name}, ${json(shape)})`;
  const whole = operands.every((x) => (typeof x === 'number' ? Number.isInteger(x) : x.tensor.dtype === 'int32'));
  if (whole && name === 'mul') b.add(shown, `product(${operands.map(written).join(', ')})`);
  else if (whole && name === 'square') b.add(shown, `product(${first.name}, ${first.name})`);
  else b.add(shown, text(written));
}

/** NumPy's rule, written again; null where shapes do not go together. */
function broadcast(shapes: (readonly number[])[]): number[] | null {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  const result = new Array<number>(rank).fill(1);
  for (const shape of shapes)
    for (const [i, size] of shape.entries()) {
      const axis = rank - shape.length + i;
      if (size === 1) continue;
      if (result[axis] !== 1 && result[axis] !== size) return null;
      result[axis] = size;
    }
  return result;
}

/** A value that broadcasts with a shape: one there is, or a new input. */
function partner(b: Builder, shape: readonly number[], existing: boolean): Value {
  if (existing) {
    const value = b.value();
    if (broadcast([value.tensor.shape, shape])) return value;
  }
  const own = related(b, shape).map((size) => (size === 1 && b.choices.once(3) ? 1 + b.choices.int(3) : size));
  if (own.length < 6 && own.length === shape.length && b.choices.once(5)) own.unshift(2);
  return b.input(own);
}

/** Any op of the registry on one of its own trials, inputs replaced by values of the program where these fit. */
function trial(b: Builder, name: string): void {
  const op = registeredOps().get(name)!;
  const { inputs, params } = drawTrial(op, b.choices.next());
  const names = inputs.map(({ data, shape, dtype }) =>
    dtype === 'int32' ? b.input(shape, { dtype, data }).name : operand(b, shape),
  );
  b.add(`op('${name}', [${names.join(', ')}], ${params === undefined ? 'undefined' : json(params)})`);
}
