/** What an operation costs beside its arithmetic: chains of a hundred on ten elements, as a user writes them. */
import { noGrad, randn, scoped, type Tensor } from 'hopgrad';
import type { Case } from './case.js';

const length = 100;

function chain(x: Tensor, f: (y: Tensor) => Tensor): Tensor {
  let y = x;
  for (let i = 0; i < length; i++) y = f(y);
  return y;
}

/** A turn of the event loop, in which unused tensors are returned. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function chains(name: string, x: Tensor, f: (y: Tensor) => Tensor): Case[] {
  return [
    {
      name: `${name}, forward without a graph`,
      run: () =>
        scoped(() => {
          noGrad(() => chain(x, f));
        }),
      repeats: length,
    },
    {
      name: `${name}, forward`,
      run: () =>
        scoped(() => {
          chain(x, f);
        }),
      repeats: length,
    },
    {
      name: `${name}, forward and backward`,
      run: () => {
        scoped(() => chain(x, f).sum().backward());
        x.grad = null;
      },
      repeats: length,
    },
    {
      name: `${name}, forward and backward, left to the collector`,
      run: async () => {
        chain(x, f).sum().backward();
        x.grad = null;
        await turn();
      },
      repeats: length,
    },
  ];
}

export function smallCases(): Case[] {
  const x = randn([10], { requiresGrad: true });
  const other = randn([10]);
  const matrix = randn([10, 10]);
  const row = randn([1, 10], { requiresGrad: true });
  return [
    ...chains('add', x, (y) => y.add(other)),
    ...chains('mul by a number', x, (y) => y.mul(0.999)),
    ...chains('exp', x, (y) => y.exp().neg()).map((c) => ({
      ...c,
      name: c.name.replace('exp', 'exp and neg'),
      repeats: 2 * length,
    })),
    ...chains('matmul [1, 10] · [10, 10]', row, (y) => y.matmul(matrix)),
  ];
}
