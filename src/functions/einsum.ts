/** Sums of products named by their indices. */
import { defineComposite } from '../autograd/op.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { describeValue, ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { diagonal } from './diagonals.js';

const outerOp = defineComposite({
  name: 'outer',
  equation: 'y[i, j] = a[i] b[j]',
  derivative: 'ā = ȳ b, b̄ = ȳᵀ a',
  shapes: '[m], [n] → [m, n]',
  shape: ([a, b]) => [...a!, ...b!],
  compose: ([a, b]) => a!.unsqueeze(1).mul(b!),
});

/** The products of all elements of two vectors: [n] and [m] give [n, m]. @throws ShapeError unless both are vectors */
export function outer(a: Tensor, b: Tensor): Tensor {
  checkTensor('outer', 'a', a);
  checkTensor('outer', 'b', b);
  if (a.rank !== 1 || b.rank !== 1)
    throw new ShapeError('outer', {
      received: `shapes ${formatShape(a.shape)} and ${formatShape(b.shape)}`,
      expected: 'two vectors',
    });
  return outerOp([a, b]);
}

/** The indices of each operand and of the result, one an axis, and how long each of them is. */
interface Plan {
  inputs: string[][];
  output: string[];
  sizes: Map<string, number>;
}

/** Reads an equation for operands of these shapes. Axes behind `...` are indices of their own, counted from the last. */
function planOf(equation: string, shapes: readonly Shape[]): Plan {
  const wrong = (received: string, expected: string) => new UsageError('einsum', { received, expected });
  const [left, right, ...more] = String(equation).replaceAll(' ', '').split('->');
  const terms = left!.split(',');
  for (const term of [...terms, ...(right === undefined ? [] : [right])])
    if (more.length > 0 || !/^[a-zA-Z]*(\.\.\.)?[a-zA-Z]*$/.test(term))
      throw wrong(
        `the equation ${describeValue(equation)}`,
        "letters for the axes of each operand, '...' for those without a name, as in 'bij,bjk->bik'",
      );
  if (terms.length !== shapes.length)
    throw wrong(`${shapes.length} tensors for ${describeValue(equation)}`, `${terms.length}, one a term`);

  const sizes = new Map<string, number>();
  const indicesOf = (term: string, rest: number) => {
    const [before, after] = term.split('...') as [string, string?];
    if (after === undefined) return [...before];
    return [...before, ...Array.from({ length: rest }, (_, i) => `.${rest - i}`), ...after];
  };
  const inputs = terms.map((term, k) => {
    const shape = shapes[k]!;
    const rest = shape.length - term.replace('...', '').length;
    if (rest < 0 || (rest > 0 && !term.includes('...')))
      throw new ShapeError('einsum', {
        received: `shape ${formatShape(shape)} for '${term}'`,
        expected: `${term.replace('...', '').length} axes${term.includes('...') ? ' or more' : ''}`,
      });
    const indices = indicesOf(term, rest);
    indices.forEach((index, axis) => {
      const [known = 1, size] = [sizes.get(index), shape[axis]!];
      const first = shape[indices.indexOf(index)]!; // an index that comes twice takes a diagonal, which repeats nothing
      if (first !== size || (known !== size && known !== 1 && size !== 1))
        throw new ShapeError('einsum', {
          received: `sizes ${first === size ? known : first} and ${size} for the index ${index} of ${describeValue(equation)}`,
          expected: 'one size an index (or 1, which is repeated)',
        });
      sizes.set(index, known === 1 ? size : known);
    });
    return indices;
  });

  const all = inputs.flat();
  const rest = Math.max(0, ...all.filter((index) => index.startsWith('.')).map((index) => Number(index.slice(1))));
  // Without an arrow: the axes without a name, and what occurs once, in the order of letters.
  const once = [...new Set(all)].filter(
    (index) => !index.startsWith('.') && all.filter((i) => i === index).length === 1,
  );
  const output = right === undefined ? indicesOf(`...${once.sort().join('')}`, rest) : indicesOf(right, rest);
  const unknown = output.find((index, i) => !sizes.has(index) || output.indexOf(index) !== i);
  if (unknown !== undefined)
    throw wrong(
      `the index ${unknown} in the result of ${describeValue(equation)}`,
      'indices of the operands, each once',
    );
  return { inputs, output, sizes };
}

/** A tensor whose axes have names. */
interface Named {
  x: Tensor;
  indices: string[];
}

/** Without axes of size 1 that others repeat, and each index once: of an index that comes twice, the diagonal. */
function simplified({ x, indices }: Named, sizes: ReadonlyMap<string, number>): Named {
  const own = indices.filter((index, axis) => x.shape[axis] === sizes.get(index));
  let y = own.length === indices.length ? x : x.reshape(own.map((index) => sizes.get(index)!));
  for (let axis = 0; axis < own.length; ) {
    const other = own.indexOf(own[axis]!, axis + 1);
    if (other < 0) axis++;
    else {
      const [index] = own.splice(other, 1);
      own.splice(axis, 1);
      const rest = y.shape.map((_, i) => i).filter((i) => i !== axis && i !== other);
      y = diagonal(y.permute([...rest, axis, other]));
      own.push(index!);
    }
  }
  return { x: y, indices: own };
}

/** With the axes in another order; those of `indices` that are not there are left out. */
function arranged({ x, indices }: Named, order: readonly string[]): Named {
  const there = order.filter((index) => indices.includes(index));
  return { x: x.permute(there.map((index) => indices.indexOf(index))), indices: there };
}

/** Sums over the indices that are not `kept`. */
function summed({ x, indices }: Named, kept: (index: string) => boolean): Named {
  const axes = indices.flatMap((index, axis) => (kept(index) ? [] : [axis]));
  return axes.length === 0 ? { x, indices } : { x: x.sum({ axis: axes }), indices: indices.filter(kept) };
}

/** The product of two, summed over what both have and nobody needs: one matrix product for each of what both keep. */
function joined(a: Named, b: Named, needed: (index: string) => boolean): Named {
  const first = summed(a, (index) => needed(index) || b.indices.includes(index));
  const second = summed(b, (index) => needed(index) || a.indices.includes(index));
  const shared = first.indices.filter((index) => second.indices.includes(index));
  const batch = shared.filter(needed);
  const inner = shared.filter((index) => !needed(index));
  const rows = first.indices.filter((index) => !shared.includes(index));
  const columns = second.indices.filter((index) => !shared.includes(index));
  const [left, right] = [
    arranged(first, [...batch, ...rows, ...inner]),
    arranged(second, [...batch, ...inner, ...columns]),
  ];
  const shape = [...left.x.shape.slice(0, batch.length + rows.length), ...right.x.shape.slice(shared.length)];
  const [m, n] = [rows.length, columns.length].map((count, side) =>
    sizeOf(side === 0 ? left.x.shape.slice(batch.length, batch.length + count) : right.x.shape.slice(shared.length)),
  ) as [number, number];
  const lead = left.x.shape.slice(0, batch.length);
  const k = sizeOf(left.x.shape.slice(batch.length + rows.length));
  const [p, q] = [left.x.reshape([...lead, m, k]), right.x.reshape([...lead, k, n])];
  const product = inner.length === 0 ? p.mul(q) : p.matmul(q);
  return { x: product.reshape(shape), indices: [...batch, ...rows, ...columns] };
}

const einsumOp = defineComposite<{ equation: string }>({
  name: 'einsum',
  int32: 'refused',
  equation: 'y[output] = Σ over all other indices of Π_k x_k[indices of k]',
  derivative: 'x̄_k = the same sum of ȳ and the other factors, over the indices that x_k has not',
  shapes: 'one size for each index of the output',
  shape: (shapes, { equation }) => {
    const { output, sizes } = planOf(equation, shapes);
    return output.map((index) => sizes.get(index)!);
  },
  compose(tensors, { equation }) {
    const { inputs, output, sizes } = planOf(
      equation,
      tensors.map(({ shape }) => shape),
    );
    const factors = tensors.map((x, k) => simplified({ x, indices: inputs[k]! }, sizes));
    const product = factors.reduce((a, b, k) => {
      const later = new Set([...output, ...factors.slice(k + 1).flatMap(({ indices }) => indices)]);
      return joined(a, b, (index) => later.has(index));
    });
    return arranged(
      summed(product, (index) => output.includes(index)),
      output,
    ).x;
  },
});

/**
 * Sums of products, named by their indices: 'ij,jk->ik' is the product of two matrices, 'ii' a trace, 'bi,bj->bij' a batch
 * of outer products. Indices that the result has not are summed over; without an arrow it has those that occur once, in
 * the order of letters. '...' stands for any axes without a name, which broadcast. An index twice in one operand takes its
 * diagonal. Factors are joined from left to right, so the order of the operands decides the work.
 *
 * @throws UsageError for an equation that cannot be read; ShapeError for tensors that do not fit it; DTypeError for int32
 */
export function einsum(equation: string, ...tensors: Tensor[]): Tensor {
  tensors.forEach((x, k) => {
    checkTensor('einsum', `operand ${k}`, x);
  });
  planOf(
    equation,
    tensors.map(({ shape }) => shape),
  );
  return einsumOp(tensors, { equation });
}
