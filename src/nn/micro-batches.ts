/** Batches larger than memory: gradient caching. */
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { recompute } from './recompute.js';

/**
 * Encodes a batch in pieces, for a loss that compares all of it, in the memory that one piece takes.
 *
 * A contrastive loss needs every embedding of the batch, so its gradient is not a sum over pieces. But it reaches the
 * weights through the embeddings alone:
 *
 * $$ \frac{\partial L}{\partial\theta} = \sum_{k} \Big(\frac{\partial z_k}{\partial\theta}\Big)^{\!\top}
 *    \frac{\partial L}{\partial z_k},\qquad z_k = f_\theta(x_k) $$
 *
 * | symbol  | code   | is                                                             |
 * |---------|--------|----------------------------------------------------------------|
 * | x_k     | inputs | piece k, at most `size` rows of [batch, …], as even as they go |
 * | f_θ     | encode | the encoder                                                    |
 * | z_k     | return | its embeddings; [batch, dim] all together                      |
 * | ∂L/∂z_k |        | the cached gradient, from one backward pass through the loss   |
 *
 * The pieces are encoded without a graph; backward takes the loss's gradient by all embeddings at once, then
 * encodes each piece again and passes its rows of that gradient on. That is `checkpoint` over each piece, with its
 * promises: random numbers (dropout) are the same the second time, and running statistics count a piece once.
 * It costs one more forward pass.
 *
 * Exact for encoders that treat rows apart (layer norm, group norm). What looks across the batch sees a piece: batch norm
 * normalises by a piece's statistics, and its running statistics move once a piece; apply {@link Center} to the result.
 * Synchronised batch norm is not possible so: the statistics of one norm layer depend on those of the layers before, of
 * all pieces. With L norm layers it takes L passes forward, each from the inputs through one layer more, and as many
 * backward: Σ x̄ and Σ x̄ x̂ of a layer are sums over all pieces too. Two passes, one for statistics and one with them,
 * are exact for L = 1 only. `checkpoint` over blocks, with the whole batch, is exact for batch norm too, and needs the
 * memory of the blocks' inputs.
 *
 * @param encode a synchronous function of rows that gives one result a row; other tensors that it makes are freed
 *   when it returns
 * @param inputs [batch, …]
 * @param size   most rows of a piece, ≥ 1
 * @param onPiece called after each piece that is encoded, in backward once more
 * @returns what `encode(inputs)` gives, to rounding
 * @example
 * const images = inMicroBatches((x) => model.encodeImage(x), pixels, { size: 32 }).l2Normalize();
 * @throws DomainError for a size that is no whole number ≥ 1; ShapeError when `encode` gives another number of rows
 * @source Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup", arXiv 2101.06983 (GradCache)
 */
export function inMicroBatches(
  encode: (rows: Tensor) => Tensor,
  inputs: Tensor,
  { size, onPiece = () => {} }: { size: number; onPiece?: () => void },
): Tensor {
  if (!(Number.isSafeInteger(size) && size >= 1))
    throw new DomainError('inMicroBatches', { received: `size ${size}`, expected: 'a whole number ≥ 1' });
  if (inputs.rank === 0)
    throw new ShapeError('inMicroBatches', { received: 'a scalar', expected: 'a batch, [batch, …]' });
  const count = inputs.shape[0]!;
  if (count <= size) return encode(inputs);
  const pieces: Tensor[] = [];
  const parts = Math.ceil(count / size);
  for (let k = 0; k < parts; k++) {
    const [from, to] = [Math.floor((k * count) / parts), Math.floor(((k + 1) * count) / parts)] as const;
    // Rows are taken inside, so that no second copy of the batch waits for backward.
    const piece = recompute((whole) => {
      const encoded = encode(whole.slice([[from, to]]));
      onPiece();
      return encoded;
    }, inputs);
    if (piece.rank === 0 || piece.shape[0] !== to - from)
      throw new ShapeError('inMicroBatches', {
        received: `a result of shape ${formatShape(piece.shape)} for ${to - from} rows`,
        expected: `[${to - from}, …], one result a row`,
      });
    pieces.push(piece);
  }
  return concat(pieces);
}
