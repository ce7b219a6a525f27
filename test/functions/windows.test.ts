/** What the registry's tests do not see of convolutions and pooling: infinities, layers, refusals. */
import assert from 'node:assert/strict';
import { conv1d, DomainError, DTypeError, maxPool2d, ones, randn, ShapeError, tensor } from 'hopgrad';
import { AvgPool2d, Conv2d } from 'hopgrad/nn';

it('a dilated kernel does not see what lies between its places', async () => {
  const x = tensor([1, Infinity, 2, Infinity, 3], { shape: [1, 1, 1, 5] });
  const kernel = tensor([1, 10, 100], { shape: [1, 1, 1, 3] });
  assert.deepEqual(await x.conv2d(kernel, { dilation: [1, 2] }).array(), [[[[321]]]]);
});

it('groups of a layer are convolutions side by side', async () => {
  const layer = new Conv2d(4, 6, 3, { groups: 2, padding: 1, dilation: [1, 2] });
  assert.deepEqual(layer.weight.shape, [6, 2, 3, 3]);
  const x = randn([2, 4, 6, 7], { seed: 2 });
  const [first, second] = x.split(2, { axis: 1 });
  const half = (image: typeof x, k: number) =>
    image.conv2d(layer.weight.slice([[3 * k, 3 * k + 3]]), {
      padding: 1,
      dilation: [1, 2],
      bias: layer.bias!.slice([[3 * k, 3 * k + 3]]),
    });
  const expected = await half(first!, 0).concat(half(second!, 1), { axis: 1 }).data();
  assert.deepEqual(await layer.forward(x).data(), expected);
});

it('the mean of a window counts its padding, or does not', async () => {
  const x = ones([1, 1, 2, 2]);
  const mean = (countPadding: boolean) => new AvgPool2d(2, { padding: 1, countPadding }).forward(x).data();
  assert.deepEqual([...(await mean(true))], [0.25, 0.25, 0.25, 0.25]);
  assert.deepEqual([...(await mean(false))], [1, 1, 1, 1]);
});

it('windows that make no sense are refused by name', () => {
  const x = ones([1, 4, 5, 5]);
  assert.throws(() => x.conv2d(ones([2, 4, 3, 3]), { groups: 2 }), /conv2d.*in 2 groups.*channels \/ 2/s);
  assert.throws(() => x.conv2d(ones([3, 2, 3, 3]), { groups: 2 }), ShapeError);
  assert.throws(() => x.conv2d(ones([2, 4, 3, 3]), { groups: 0 }), DomainError);
  assert.throws(() => x.conv2d(ones([2, 4, 3, 3]), { dilation: 0 }), DomainError);
  assert.throws(() => x.conv2d(ones([2, 4, 3, 3]), { dilation: 3 }), /no larger than the padded image/);
  assert.throws(() => new Conv2d(4, 6, 3, { groups: 4 }), DomainError);
  assert.throws(() => x.avgPool2d({ kernel: 2, padding: 2 }), DomainError);
  assert.throws(() => maxPool2d(x, { kernel: 6 }), ShapeError);
  assert.throws(() => maxPool2d(x, { kernel: 3, padding: 2 }), /maxPool2d.*half of the window/s);
  assert.throws(() => maxPool2d(x.cast('int32'), { kernel: 2 }), DTypeError);
  assert.throws(() => conv1d(x, ones([2, 4, 3])), ShapeError);
  assert.throws(() => conv1d(ones([1, 4, 5]), ones([2, 3, 3])), ShapeError);
  assert.throws(() => conv1d(ones([1, 4, 5]), ones([2, 4, 3]), { stride: 0 }), DomainError);
});
