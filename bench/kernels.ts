/** Single operations, forward and backward, with the work that each cannot avoid. */
import { ones, randn, scoped, type Tensor, tensor } from 'hopgrad';
import { AdamW } from 'hopgrad/nn';
import type { Case } from './case.js';

const bytesPerNumber = 4;
const million = 2 ** 20;

/** Forward only, temporaries freed at once as in the trainer. */
function forward(name: string, f: () => Tensor, work: Case['work']): Case {
  const run = () => {
    scoped(() => {
      f();
    });
  };
  return work ? { name, run, work } : { name, run };
}

/** Forward, then the gradients of `inputs` for a cotangent of ones. */
function backward(name: string, f: () => Tensor, inputs: readonly Tensor[], work: Case['work']): Case {
  const cotangent = ones(f().shape);
  const run = () => {
    scoped(() => f().backward(cotangent));
    for (const x of inputs) {
      x.grad!.dispose();
      x.grad = null;
    }
  };
  return work ? { name, run, work } : { name, run };
}

const tracked = (...shape: number[]) => randn(shape, { requiresGrad: true });

function products(): Case[] {
  const square = [64, 256, 512, 1024].map((n) => {
    const [a, b] = [randn([n, n]), randn([n, n])];
    return forward(`matmul ${n}³`, () => a.matmul(b), { flops: 2 * n ** 3 });
  });
  const [a, b, heads] = [tracked(512, 512), tracked(512, 512), randn([128, 32, 32])];
  const transposed = (['transposeA', 'transposeB'] as const).map((flag) =>
    forward(`matmul 512³, ${flag}`, () => a.detach().matmul(b.detach(), { [flag]: true }), { flops: 2 * 512 ** 3 }),
  );
  return [
    ...square,
    ...transposed,
    forward('matmul 128 × 32³, batched', () => heads.matmul(heads), { flops: 128 * 2 * 32 ** 3 }),
    backward('matmul 512³, both gradients', () => a.matmul(b), [a, b], { flops: 3 * 2 * 512 ** 3 }),
  ];
}

function convolutions(): Case[] {
  const flops = 2 * 8 * 32 * 32 * 64 * 64 * 9;
  const [x, weight] = [tracked(8, 64, 32, 32), tracked(64, 64, 3, 3)];
  const pointwise = tracked(64, 64, 1, 1);
  return [
    forward('conv 3×3, 64→64, 8 × 32×32', () => x.detach().conv2d(weight.detach(), { padding: 1 }), { flops }),
    backward('conv 3×3, both gradients', () => x.conv2d(weight, { padding: 1 }), [x, weight], { flops: 3 * flops }),
    backward('conv 1×1, both gradients', () => x.conv2d(pointwise), [x, pointwise], { flops: (3 * flops) / 9 }),
  ];
}

function elementwise(): Case[] {
  const [x, y, bias] = [randn([1024, 1024]), randn([1024, 1024]), randn([1024])];
  const wanted = tracked(1024, 1024);
  const touching = (count: number) => ({ bytes: count * million * bytesPerNumber });
  return [
    forward('add, 1 M', () => x.add(y), touching(3)),
    forward('add a row, 1 M', () => x.add(bias), touching(2)),
    forward('mul by a number, 1 M', () => x.mul(0.5), touching(2)),
    forward('exp, 1 M', () => x.exp(), touching(2)),
    forward('tanh, 1 M', () => x.tanh(), touching(2)),
    forward('gelu, 1 M', () => x.gelu(), touching(2)),
    backward('quickGelu and gradient, 1 M', () => wanted.quickGelu(), [wanted], touching(5)),
    forward('transpose 1024²', () => x.transpose(), touching(2)),
    forward('sum of all, 1 M', () => x.sum(), touching(1)),
    forward('sum of rows, 1 M', () => x.sum({ axis: 1 }), touching(1)),
    forward('sum of columns, 1 M', () => x.sum({ axis: 0 }), touching(1)),
  ];
}

function normalisations(): Case[] {
  const touching = (count: number, numbers = million) => ({ bytes: count * numbers * bytesPerNumber });
  const [x, tokens, gain, shift] = [tracked(1024, 1024), tracked(1024, 512), tracked(512), tracked(512)];
  return [
    forward('softmax 1024²', () => x.detach().softmax(), touching(2)),
    backward('softmax 1024² and gradient', () => x.softmax(), [x], touching(5)),
    forward('logSumExp 1024²', () => x.detach().logSumExp({ axis: 1 }), touching(1)),
    backward(
      'layer norm 1024×512, all gradients',
      () => tokens.layerNorm({ weight: gain, bias: shift }),
      [tokens, gain, shift],
      touching(5, million / 2),
    ),
    backward('l2Normalize 1024×512 and gradient', () => tokens.l2Normalize(), [tokens], touching(5, million / 2)),
  ];
}

function lookups(): Case[] {
  const table = tracked(49408, 128);
  const ids = tensor(Int32Array.from({ length: 4096 }, (_, i) => (i * 7919) % 49408));
  return [
    forward('gather 4096 rows of 128', () => table.detach().gather(ids), { bytes: 2 * 4096 * 128 * bytesPerNumber }),
  ];
}

function optimiser(): Case[] {
  const parameter = tracked(4 * million);
  parameter.grad = randn([4 * million]);
  const adamW = new AdamW([parameter]);
  return [
    { name: 'AdamW, 4 M parameters', run: () => adamW.step(), work: { bytes: 7 * 4 * million * bytesPerNumber } },
  ];
}

export function kernelCases(): Case[] {
  return [...products(), ...convolutions(), ...elementwise(), ...normalisations(), ...lookups(), ...optimiser()];
}
