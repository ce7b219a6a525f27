/** What the registry's tests do not see of einsum: equations that cannot be read, tensors that do not fit. */
import assert from 'node:assert/strict';
import { DTypeError, einsum, ones, outer, ShapeError, tensor, UsageError } from 'hopgrad';

it('einsum says which index does not fit, or what of the equation it cannot read', async () => {
  const [a, b] = [ones([2, 3]), ones([3, 4])];
  assert.throws(() => einsum('ij,jk->ik', a, a), /einsum.*sizes 3 and 2 for the index j/s);
  assert.throws(() => einsum('ijk,jk->ik', a, b), /shape \[2, 3\] for 'ijk'.*3 axes/s);
  assert.throws(() => einsum('i,jk->ik', a, b), ShapeError);
  assert.throws(() => einsum('ij...k', a), ShapeError);
  for (const equation of ['ij,jk->il', 'ij,jk->ii', 'ij,jk->i->k', 'i1,jk', 'ij;jk', 'ij', '..ij,jk', '......,jk->k'])
    assert.throws(() => einsum(equation, a, b), UsageError, equation);
  assert.throws(() => einsum(3 as never, a), UsageError);
  assert.throws(() => einsum('', a), ShapeError);
  for (const [equation, ...shapes] of [
    ['ii', [1, 3]],
    ['ii->i', [3, 1]],
    ['i,ii', [3], [1, 3]],
  ] as const)
    assert.throws(
      () => einsum(equation, ...shapes.map((shape) => ones([...shape]))),
      /sizes [13] and [13] for the index i/,
    );
  assert.throws(() => einsum('ij,jk->ik', a, [[1]] as never), UsageError);
  assert.throws(() => einsum('ij->ji', tensor([[1]], { dtype: 'int32' })), DTypeError);
  assert.throws(() => outer(a, ones([2])), ShapeError);
  assert.deepEqual(await einsum(' ij , jk -> ik ', a, b).array(), await a.matmul(b).array());
});

it('einsum multiplies infinities only with what belongs to them', async () => {
  const x = tensor([
    [1, Infinity],
    [2, 3],
  ]);
  assert.deepEqual(await einsum('ii', x).array(), 4);
  assert.deepEqual(await einsum('ij->i', x).array(), [Infinity, 5]);
});
