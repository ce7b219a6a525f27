/** The language of kernels: what is in it computes alike on every device, and what is not is refused, by name, on all. */
import assert from 'node:assert/strict';
import { transformSync } from 'esbuild';
import fc from 'fast-check';
import { defineOp, init, KernelError, type Tensor, tensor, UsageError, withDevice } from 'hopgrad';
import type { ScalarKernel } from '#src/kernels/device.js';
import { mathFunctions } from '#src/kernels/source/syntax.js';
import { flat } from '#src/kernels/walk.js';
import { property } from '../helpers.js';
import { needWebGpu } from './gpu/adapter.js';

const outside = 3;
const helper = (x: number) => x + 1;

/** A kernel from a text, as an expression. */
const kernel = (text: string) => new Function(`return (${text})`)() as ScalarKernel;

/** Kernels of one number that break a rule, and what the message must name. */
const broken: [string, ScalarKernel, RegExp][] = [
  ['a closure', (x) => x * outside, /outside.*neither a parameter nor declared inside.*closures/],
  ['a call', (x) => helper(x), /a call of helper.*functions of Math/],
  ['a native function', Math.sin, /native or bound.*Math\.sin\(x\)/],
  ['a bound function', helper.bind(null), /native or bound/],
  ['a function of Math that is not everywhere', () => Math.random(), /Math\.random/],
  ['infinity', (x) => (x > 1 ? Infinity : x), /Infinity.*operand/],
  ['a statement', kernel('function f(x) { switch (x) { default: return x; } }'), /the statement switch/],
  ['a path that returns nothing', kernel('function f(x) { if (x > 0) return x; }'), /path that returns nothing/],
  ['an operator', (x) => x | 0, /operator \|.*Math\.floor/],
  ['a property', kernel('function f(x) { return x.y; }'), /a property of x/],
  ['an object', kernel('function f(x) { return this.a; }'), /this/],
  ['an array', kernel('function f(x) { return [x][0]; }'), /\[/],
  ['a string', kernel('function f(x) { return "1"; }'), /"/],
  ['a default value', kernel('function f(x = 1) { return x; }'), /default value/],
  ['a rest parameter', kernel('function f(...x) { return 1; }'), /parameter/],
  ['a pattern', kernel('function f({ x }) { return x; }'), /parameter/],
  ['an async function', kernel('async function f(x) { return x; }'), /async/],
  ['a generator', kernel('function* f(x) { return x; }'), /generator/],
  ['a class', kernel('class A {}'), /class/],
  ['an assignment inside', kernel('function f(x) { let y = 1; return x + (y = 2); }'), /assignment inside/],
  ['an assignment to a constant', kernel('function f(x) { const y = 1; y = x; return y; }'), /constant y/],
  ['a number beyond float32', kernel('function f(x) { return x + 1e39; }'), /1e39/],
  ['too many parameters', ((x: number, y: number) => x + y) as ScalarKernel, /a function of 2 numbers for 1/],
  ['no function', 3 as never, /a function of numbers/],
];

/** Kernels of one number in every form that they may have. */
const sound: Record<string, ScalarKernel> = {
  'a power with a fraction': (x) => Math.abs(x) ** 0.5,
  'a power of a power': (x) => 2 ** ((0.5 * x) ** 2),
  'a function': function named(x) {
    return x + 1;
  },
  'an arrow with a body': (x) => {
    const y = x * x;
    return y - x;
  },
  'a method': {
    squared(x: number) {
      return x * x;
    },
  }.squared,
  'an early return': (x) => {
    if (x < 0) return -1;
    if (x < 1) {
      return x / 2;
    }
    return x - 0.5;
  },
  'loops, counted and not': (x) => {
    let sum = 0;
    for (let i = 1; i < 6; i++) sum += x / i;
    let y = Math.abs(x) + 2;
    while (y > 1) y = y / 2;
    for (let k = 3; k > y; k -= 0.5) sum = sum + k;
    return sum + y;
  },
  'truth as a number': (x) => Number.NaN && (x as never),
  'names of shading languages': (half) => {
    const sample = half * 2;
    let float = sample;
    float += 1;
    return float;
  },
  'a variable of an inner block': (x) => {
    let y = 1;
    if (x > 0) {
      const y = 5;
      x = x + y;
    }
    y = y + x;
    return y;
  },
  'a parameter that is assigned': (x) => {
    x = x * 3;
    x++;
    return x;
  },
  'NaN told apart': (x) => (x !== x ? 7 : x === x && x > 1 ? 1 : 0),
  'a remainder': (x) => (x * 3) % 2,
  'constants and numbers': (x) => x * Math.PI + 0x10 + 1_000 + 0.5e-2 + 1e3,
};
delete sound['truth as a number'];
sound['truth as a number'] = kernel('(x) => (x > 0) + (x && 2) + (x || 4) + !x + (x > 1 && x < 3 ? 1 : 0)');

const points = [-3.5, -2, -1, -0.5, 0, 0.25, 0.5, 1, 1.5, 2, 3, 7.25, Number.NaN];

/** Domains of the functions of Math, where these are no more than numbers. */
const domains: Record<string, number[]> = {
  acosh: [1, 1.01, 2, 50],
  exp: [-5, -1, 0, 0.5, 3],
  expm1: [-5, -1e-4, 0, 0.5, 3],
  cosh: [-4, 0, 1, 4],
  sinh: [-4, 0, 1e-3, 4],
};

/** Texts of random kernels of a and b. */
const kernels: fc.Arbitrary<string> = (() => {
  const leaf = fc.constantFrom('a', 'b', 'v', '0.5', '2', '1', '-3', '.25');
  const { expression } = fc.letrec<{ expression: string; truth: string }>((tie) => ({
    expression: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc
        .tuple(tie('expression'), fc.constantFrom('+', '-', '*'), tie('expression'))
        .map(([x, op, y]) => `(${x} ${op} ${y})`),
      fc.tuple(tie('expression'), tie('expression')).map(([x, y]) => `(${x} / (1 + Math.abs(${y})))`),
      fc.tuple(tie('truth'), tie('expression'), tie('expression')).map(([t, x, y]) => `(${t} ? ${x} : ${y})`),
      fc
        .tuple(fc.constantFrom('abs', 'floor', 'sign', 'tanh', 'cos'), tie('expression'))
        .map(([f, x]) => `Math.${f}(${x})`),
      fc
        .tuple(fc.constantFrom('min', 'max'), tie('expression'), tie('expression'))
        .map(([f, x, y]) => `Math.${f}(${x}, ${y})`),
      tie('expression').map((x) => `-${x.startsWith('-') ? `(${x})` : x}`),
    ),
    truth: fc.oneof(
      { depthSize: 'small' },
      fc.tuple(tie('expression'), fc.constantFrom('<', '>='), tie('expression')).map(([x, op, y]) => `${x} ${op} ${y}`),
      fc.tuple(tie('truth'), fc.constantFrom('&&', '||'), tie('truth')).map(([x, op, y]) => `(${x} ${op} ${y})`),
      tie('truth').map((t) => `!(${t})`),
    ),
  }));
  const truth = fc.tuple(expression, expression).map(([x, y]) => `${x} < ${y}`);
  const { statement } = fc.letrec<{ statement: string }>((tie) => ({
    statement: fc.oneof(
      { depthSize: 'small' },
      fc
        .tuple(fc.constantFrom('v', 'a'), fc.constantFrom('=', '+=', '-='), expression)
        .map((parts) => `${parts.join(' ')};`),
      fc.tuple(truth, tie('statement'), tie('statement')).map(([t, x, y]) => `if (${t}) { ${x} } else { ${y} }`),
      fc.tuple(truth, expression).map(([t, x]) => `if (${t}) return ${x};`),
      fc.tuple(expression, tie('statement')).map(([x, y]) => `{ const w = ${x}; { let b = w; ${y} v = v + b; } }`),
      expression.map((x) => `for (let i = 1; i < 4; i++) v = (v + ${x}) / (i + 1);`),
    ),
  }));
  return fc
    .tuple(fc.array(statement, { maxLength: 4 }), expression)
    .map(([statements, result]) => `function f(a, b) { let v = 1; ${statements.join(' ')} return ${result}; }`);
})();

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'] as const)
  describe(`the language of kernels on ${device}`, () => {
    let x: Tensor;
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
      x = withDevice(device, () => tensor(points));
    });
    after(() => init({ device: 'wasm' }));
    const own = () => x.storage.device;
    const mapped = async (f: ScalarKernel, data = points) => {
      const given = withDevice(device, () => tensor(data));
      return Array.from(await own().read(own().map(f, given.storage)));
    };
    const close = (actual: number[], expected: number[], tolerance: number, what: string) =>
      actual.forEach((value, i) => {
        const wanted = Math.fround(expected[i]!);
        const right = Object.is(value, wanted) || Math.abs(value - wanted) <= tolerance * Math.max(1, Math.abs(wanted));
        assert.ok(right || value === wanted, `${what}: element ${i} is ${value}, not ${wanted}`);
      });

    for (const [what, f, message] of broken)
      it(`refuses ${what}`, () => {
        assert.throws(
          () => own().map(f, x.storage),
          (error: Error) => error instanceof KernelError && message.test(error.message),
        );
      });

    it('refuses the same in zip, and in the kernel of an op', () => {
      assert.throws(() => own().zip((a, b) => a * b * outside, [points.length], flat(x.storage), 2), KernelError);
      const plain = defineOp({
        name: `a function of numbers on ${device}`,
        equation: '',
        derivative: '',
        kernel: ((v: number) => v * 2) as never,
        vjp: '',
      });
      assert.throws(
        () => plain([x], undefined),
        (error: Error) => error instanceof UsageError && /NaN from its kernel.*device\.map/.test(error.message),
      );
    });

    for (const [what, f] of Object.entries(sound))
      it(`has ${what}`, async () => {
        close(
          await mapped(f),
          points.map((v) => Number(f(v))),
          1e-5,
          what,
        );
      });

    it('has the functions of Math', async () => {
      for (const [name, [, most]] of Object.entries(mathFunctions)) {
        const two = most > 1 && !['min', 'max'].includes(name);
        const f = Math[name as 'pow'] as (...values: number[]) => number;
        const text = two || most > 1 ? `(x) => Math.${name}(x, 1.5)` : `(x) => Math.${name}(x)`;
        const data = domains[name] ?? (['asin', 'acos', 'atanh'].includes(name) ? [-1.5, -0.5, 0, 0.3, 0.9] : points);
        if (name === 'imul') continue; // of whole numbers, see int32.test.ts
        close(
          await mapped(kernel(text), data),
          data.map((v) => (most > 1 ? f(v, 1.5) : f(v))),
          device === 'webgpu' ? 2e-3 : 1e-5,
          name,
        );
      }
    });

    const runs = device === 'webgpu' ? 12 : 60;
    property(
      'random kernels, as written and minified',
      kernels,
      async (text) => {
        const f = kernel(text);
        const minified = transformSync(`g(${text})`, { minify: true, target: 'es2022' }).code.trim();
        const small = kernel(minified.slice(2, minified.lastIndexOf(')')));
        const a = [-2, -0.75, 0, 0.5, 3];
        const b = [1.25, -1, 2, 0.125, -4];
        const [s, t] = withDevice(device, () => [tensor(a), tensor(b)] as const);
        const expected = a.map((v, i) => f(v, b[i]!));
        if (expected.some((v) => Math.abs(v) > 1e6)) return;
        const scale = Math.max(1, ...expected.map(Math.abs));
        for (const [g, what] of [
          [f, text],
          [small, minified],
        ] as const) {
          const result = Array.from(await own().read(own().zip(g, [5], flat(s.storage), flat(t.storage))));
          result.forEach((v, i) => {
            // A float32 may fall on the other side of a step or a comparison: where float64 is near one, nothing is known.
            const near = [1e-5, -1e-5].flatMap((e) => [f(a[i]! + e, b[i]!), f(a[i]!, b[i]! + e)]);
            if (near.some((other) => Math.abs(other - expected[i]!) > 1e-2 * scale)) return;
            assert.ok(
              Math.abs(v - expected[i]!) <= 1e-2 * scale,
              `${what}: ${v}, not ${expected[i]} for ${a[i]}, ${b[i]}`,
            );
          });
        }
      },
      runs,
    );
  });
