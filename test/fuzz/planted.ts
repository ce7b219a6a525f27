/**
 * Faults that hopgrad has had, as changes to its text: `npm run fuzz -- --planted` puts each back by itself and tells
 * after how many random programs it is found.
 */

export interface Change {
  /** Below src. */
  file: string;
  /** Stands there once; or, where `after` is given, is the next behind that. */
  text: string;
  instead: string;
  after?: string;
}

export interface Fault {
  name: string;
  changes: Change[];
  /** Steps that programs need to show it, as a pattern; longer searches draw these alone. */
  steps: string;
}

const change = (file: string, text: string, instead: string, after?: string): Change => ({
  file,
  text,
  instead,
  ...(after && { after }),
});
const ops = 'autograd/ops';
const assembly = 'kernels/wasm/assembly';

/** An op that lets whole numbers through to kernels of floats. */
const unruled = (op: string, file: string): Fault => ({
  name: `int32 ${op} takes the bits for floats`,
  changes: [change(`${ops}/${file}.ts`, "int32: 'refused'", "int32: 'exact'", `name: '${op}'`)],
  steps: op,
});

export const faults: Fault[] = [
  {
    name: 'a number beside operands of more than three axes is read as a list',
    changes: [
      change(
        'kernels/wasm/device.ts',
        '(size, flat) => this.#elementwise(f, size, flat, dtype)',
        `(size, flat) =>
        this.#elementwise(f, size, flat.map((x) => typeof x === 'number' ? { storage: this.fill(1, x, dtype), strides: [1] } : x), dtype)`,
      ),
    ],
    steps: 'where|add|mul',
  },
  unruled('matmul', 'matmul'),
  unruled('conv2d', 'conv'),
  unruled('avgPool2d', 'conv'),
  {
    name: 'neg, abs, sign, square and relu of int32 are computed in float32',
    changes: [
      change(
        'kernels/wasm/device.ts',
        'return this.#elementwise(f, [x.size], [flat(x)], x.dtype);',
        `return x.dtype === 'int32' ? this.cast(this.map(f, this.cast(x, 'float32')), 'int32') : this.#elementwise(f, [x.size], [flat(x)], x.dtype);`,
      ),
    ],
    steps: 'neg|abs|sign|square|relu',
  },
  {
    name: 'int32 products are those of doubles, cut',
    changes: [change(`${ops}/arithmetic.ts`, '  kernelInt32: f.imul,\n', '')],
    steps: 'mul',
  },
  {
    name: 'the mean of int32 divides a sum that has wrapped',
    changes: [change(`${ops}/reduce.ts`, "x.dtype === 'int32' ? x.cast('float32') : x", 'x')],
    steps: 'mean',
  },
  {
    name: 'pad cuts its value to int32',
    changes: [
      change(
        `${ops}/slicing.ts`,
        "  if (x.dtype === 'int32') checkInt32('pad', value);\n",
        "  if (x.dtype === 'int32') checkInt32('pad', Math.trunc(value));\n",
      ),
    ],
    steps: 'pad',
  },
  {
    name: 'a convolution without channels returns what memory held',
    changes: [
      change('kernels/wasm/conv.ts', 'size === 0 || s.inChannels === 0) return zeros', 'size === 0) return zeros'),
    ],
    steps: 'conv2d',
  },
  {
    name: 'logSoftmax is x − ln Σ eˣ in one step',
    changes: [
      change(
        `${assembly}/rows.ts`,
        'v128.sub<T>(v128.sub<T>(v128.load(x), centre), logarithm)',
        'v128.sub<T>(v128.load(x), v128.add<T>(centre, logarithm))',
      ),
    ],
    steps: 'logSoftmax',
  },
  {
    name: 'logSumExp of ∞ is ∞ − ∞',
    changes: [
      change(`${assembly}/rows.ts`, 'if (m > most<T>()) return', 'if (m < 0 && m > 0) return'),
      change('kernels/decomposed.ts', 'zip(f.minimum, max, largestOf[max.dtype])', 'max'),
    ],
    steps: 'logSumExp',
  },
  {
    name: 'gelu(−∞) is −∞ · 0',
    changes: [
      change(
        `${assembly}/operations.ts`,
        'v128.mul<T>(atLeast<T>(a, all<T>(-1000)), normalCdf<T>(a, bell<T>(a)))',
        'v128.mul<T>(a, normalCdf<T>(a, bell<T>(a)))',
      ),
      change(`${ops}/activations.ts`, 'y === -1 ? 0 : 0.5 * x * (1 + y)', '0.5 * x * (1 + y)'),
    ],
    steps: 'gelu',
  },
  {
    name: 'quickGelu(−∞) is −∞ / ∞',
    changes: [
      change(
        `${assembly}/operations.ts`,
        'v128.mul<T>(atLeast<T>(a, all<T>(-1000)), sigmoid<T>(v128.mul<T>(a, all<T>(1.702))))',
        'v128.mul<T>(a, sigmoid<T>(v128.mul<T>(a, all<T>(1.702))))',
      ),
      change(`${ops}/activations.ts`, 'x < -1000 ? 0 : x / (1', 'x / (1'),
    ],
    steps: 'quickGelu',
  },
  {
    name: 'l2Normalize of a row with NaN is 0 in its other places',
    changes: [
      change(`${ops}/norm.ts`, 'squares.lessEqual(least.square())', 'squares.greater(least.square()).equal(0)'),
    ],
    steps: 'l2Normalize',
  },
  {
    name: 'l2Normalize squares 3e20',
    changes: [change(`${ops}/norm.ts`, 'extreme.where(largest, 1)', 'extreme.mul(0).where(largest, 1)')],
    steps: 'l2Normalize',
  },
  {
    name: 'sums overflow in a block though the sum is finite',
    changes: [
      change(`${assembly}/sums.ts`, '  if (isFinite(result)) return result;\n', '  if (n > 0) return result;\n'),
      change(`${assembly}/reduce.ts`, '    if (!isFinite(load<T>(y))) store', '    if (columns < 0) store'),
    ],
    steps: 'sum|mean|norm',
  },
  {
    name: 'where of two numbers by a float64 condition is float32',
    changes: [change('autograd/op.ts', "if (operand.dtype === 'float64') choosing = 'float64';", '')],
    steps: 'where',
  },
  {
    name: 'the derivative of aᵇ to a at 0⁰ is 0 · 0⁻¹',
    changes: [change(`${ops}/arithmetic.ts`, 'constant.where(1, exponent)', 'constant.mul(0).where(1, exponent)')],
    steps: 'pow',
  },
  {
    name: 'the derivative of a¹ is 1 · a⁰, and that of a⁰ is 0 · a⁻¹',
    changes: [
      change(`${ops}/arithmetic.ts`, 'if (exponent === 0) return gradOutput.mul(0);', ''),
      change(`${ops}/arithmetic.ts`, 'if (exponent === 1) return gradOutput;', ''),
    ],
    steps: 'pow',
  },
  {
    name: 'the derivative of aᵇ to b is 0 where a is negative',
    changes: [
      change(`${ops}/arithmetic.ts`, 'base.equal(0).mul(positive).where(1, base)', 'base.greater(0).where(base, 1)'),
    ],
    steps: 'pow',
  },
];
