/**
 * What the fuzzer draws: a short program of tensor methods, as text. The text is what runs on every device and what
 * a failure prints, so that a printed program is the failing one. Nothing here needs Node: a page runs programs, too.
 */
import { type DType, grad, HopgradError, registeredOps, type Tensor, tensor, withDevice } from 'hopgrad';
import { apply } from '#src/autograd/op.js';

export interface Input {
  data: number[];
  shape: number[];
  dtype: DType;
  /** Indices stay whole numbers, also where all else is computed in double precision. */
  index: boolean;
}

export interface Line {
  name: string;
  /** The method call as users write it. */
  text: string;
  /** The same with every number and every broadcast operand written out in full, by `same`. */
  plain: string;
  dtype: DType;
  shape: number[];
}

export interface Program {
  inputs: Input[];
  lines: Line[];
  /** Lines that no other line uses: what the gradients are those of. */
  results: string[];
  /** A last call that must be refused by everybody, by this kind of error. */
  refused: { text: string; error: string } | null;
  /** Derivatives worth taking: 0 where values are so large or small that these leave the range of float32. */
  order: 0 | 1 | 2;
}

/** How to run a program. */
export interface Form {
  /** 'plain' runs the texts written out in full, each result passed through `bound`. */
  text: 'text' | 'plain';
  /** dtype of the inputs: their own, or float64 for all but indices. */
  dtype: 'own' | 'float32' | 'float64';
  device: string;
}

/** All that a program computes, as plain numbers. */
export interface Results {
  values: number[][];
  /** First derivatives of Σ w · results with respect to the float inputs, and those of a projection of these. */
  first: number[][];
  second: number[][];
  refused: string | null;
}

/** Helpers that the texts use. */
export interface Helpers {
  /** An op by its name in the registry, for ops that are no methods. */
  op(name: string, inputs: (Tensor | number)[], params: unknown): Tensor;
  /** x in another shape, its elements repeated or left out as that needs. */
  fit(x: Tensor, shape: number[]): Tensor;
  /** x, or a number, written out in the shape it is broadcast to. */
  same(x: Tensor | number, shape: number[]): Tensor;
  /** a · b of whole numbers, modulo 2³². */
  product(a: Tensor, b: Tensor): Tensor;
  /** Runs a composite that must not overflow inside; see tolerance.ts. */
  wide(body: () => Tensor): Tensor;
  /** Passes on an input or a line's result; see tolerance.ts. */
  bound(x: Tensor, dtype: DType): Tensor;
}

export const helpers: Helpers = {
  op: (name, inputs, params) => apply(registeredOps().get(name)!, inputs, params),
  fit(x, shape) {
    const size = shape.reduce((a, b) => a * b, 1);
    const indices = Int32Array.from({ length: size }, (_, i) => i % x.size);
    return x
      .reshape([x.size])
      .gather(tensor(indices, { device: x.device }))
      .reshape(shape);
  },
  same: () => {
    throw new Error('unreachable: only the plain form writes operands out');
  },
  product: () => {
    throw new Error('unreachable: only the plain form multiplies so');
  },
  wide: (body) => body(),
  bound: (x) => x,
};

/** The weights of the gradients: fixed, of several sizes and both signs, exact in float32. */
export const weights = (size: number, phase: number) =>
  Float32Array.from({ length: size }, (_, i) => Math.round(16 * Math.sin(1.7 * i + phase + 1)) / 8);

/** Σ w · y over all elements of all tensors; 0 for none. */
export function weighted(ys: readonly Tensor[], phase: number): Tensor {
  const sums = ys.map((y, k) =>
    y.mul(tensor(weights(y.size, phase + k), { shape: y.shape, dtype: y.dtype, device: y.device })).sum(),
  );
  return sums.length === 0 ? tensor(0) : sums.reduce((sum, part) => sum.add(part));
}

type Body = (helpers: Helpers, xs: Tensor[]) => { values: Tensor[]; results: Tensor[]; refused: () => unknown };

/** The program as a function of its inputs. */
export function compile({ inputs, lines, results, refused }: Program, text: Form['text']): Body {
  const code = lines.map((line) => `const ${line.name} = bound(${line[text]}, '${line.dtype}');`);
  return new Function(
    'helpers',
    'inputs',
    `const { op, fit, same, product, wide, bound } = helpers;
    const [${inputs.map((_, i) => `x${i}`)}] = inputs${text === 'plain' ? `.map((x, i) => (${JSON.stringify(inputs.map(({ index }) => index))}[i] ? x : bound(x, 'float32')))` : ''};
    ${code.join('\n')}
    return { values: [${lines.map(({ name }) => name)}], results: [${results}], refused: () => ${refused?.text ?? null} };`,
  ) as Body;
}

/** Runs a program. */
export async function run(
  program: Program,
  { text, dtype, device }: Form,
  own: Helpers = helpers,
  around: <T>(compute: () => T) => T = (compute) => compute(),
): Promise<Results> {
  const body = compile(program, text);
  const { values, first, second, refused } = withDevice(device, () => around(compute));
  const read = async (tensors: Tensor[]) => {
    const arrays: number[][] = [];
    for (const t of tensors) arrays.push(Array.from(await t.data()));
    return arrays;
  };
  return { values: await read(values), first: await read(first), second: await read(second), refused };

  function typed({ index, dtype: wanted }: Input): DType {
    if (index || dtype === 'own') return wanted;
    return wanted === 'int32' && dtype === 'float32' ? wanted : dtype;
  }

  function compute() {
    const inputs = program.inputs.map((input) =>
      tensor(input.data, { shape: input.shape, dtype: typed(input), device }),
    );
    const free = program.inputs.flatMap((input, i) => (input.dtype !== 'int32' ? [i] : []));
    /** The program as a function of its free inputs, with one number as result. */
    const loss = (...xs: Tensor[]) => {
      const { results } = body(
        own,
        inputs.map((x, i) => (free.includes(i) ? xs[free.indexOf(i)]! : x)),
      );
      return weighted(
        results.filter((y) => y.requiresGrad),
        0,
      );
    };
    const all = free.map((i) => inputs[i]!);
    const list = (grads: unknown) => (Array.isArray(grads) ? grads : [grads]) as Tensor[];
    const gradOf = (f: (...xs: Tensor[]) => Tensor, xs: Tensor[]) => list(grad(f)(...xs));
    const output = body(own, inputs);
    const derivatives = free.length > 0 ? program.order : 0;
    return {
      values: output.values,
      first: derivatives >= 1 ? gradOf(loss, all) : [],
      second: derivatives >= 2 ? gradOf((...xs) => weighted(gradOf(loss, xs), 1), all) : [],
      refused: program.refused && text === 'text' ? errorOf(output.refused) : null,
    };
  }
}

function errorOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof HopgradError) return error.name;
    throw error;
  }
  return 'no error';
}
