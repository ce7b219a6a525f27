/**
 * CLOOB's loss by fewer operations.
 *
 * InfoLOOB asks of the retrieved patterns only their cosines, and those are made of inner products of embeddings. With
 * the weights P = softmax(βXXᵀ), Q = softmax(βYXᵀ) and G = XXᵀ:
 *
 *   U_x U_yᵀ = (PX)(QX)ᵀ = P G Qᵀ,   ‖U_x,i‖² = Σ_j (P G)_ij P_ij,   ‖U_y,i‖² = Σ_j (Q G)_ij Q_ij.
 *
 * So no pattern is ever computed: three products of N × N × d (XXᵀ, YYᵀ, and XYᵀ for both memories) and six of N × N × N
 * stand for ten of N × N × d. It is the kernel trick: a memory answers through G alone.
 *
 * But embeddings of an untrained encoder nearly coincide, and then G, P G and all cosines are near 1; what the gradient is
 * made of are their last digits. Rows of P sum to 1, so the mean m of the patterns can be taken out beforehand, exactly:
 *
 *   U_x U_yᵀ = ‖m‖² + P g + (Q g)ᵀ + P G̃ Qᵀ,   x̃ = x − m, G̃ = X̃X̃ᵀ, g = X̃ m.
 */
import { grad, init, randn, type Tensor, withDevice } from 'hopgrad';
import { cloobLoss, type RetrievalForm, retrievalOperations } from 'hopgrad/nn';
import { type Chapter, claim, exact, largestDifference, table, unitVectors, values } from './chapter.js';

const [n, dim, invTau] = [48, 64, 30];

const loss =
  (form: RetrievalForm, beta: number) =>
  (x: Tensor, y: Tensor): Tensor =>
    cloobLoss(x, y, { invTau, beta, form });

/** Unit embeddings at a distance of about `spread` from one direction that all share. */
function embeddings(seed: number, spread: number): Tensor {
  const deviations = randn([n, dim], { ...exact, seed: seed + 100 }).mul(spread / Math.sqrt(dim));
  return unitVectors(1, dim, 1).add(deviations).l2Normalize();
}

const norm = (x: Tensor) => values(x.square().sum().sqrt())[0]!;

/** ‖g₃₂ − g‖ / ‖g‖: the gradient in float32 against that of the definition in float64, for the same embeddings. */
function errorInFloat32(form: RetrievalForm, spread: number, beta: number): number {
  const single = [embeddings(2, spread), embeddings(3, spread)].map((t) => t.cast('float32')) as [Tensor, Tensor];
  const [x, y] = single.map((t) => t.cast('float64')) as [Tensor, Tensor];
  const expected = grad((t: Tensor) => loss('patterns', beta)(t, y))(x);
  const [there, other] = single.map((t) => t.to('wasm')) as [Tensor, Tensor];
  const found = withDevice('wasm', () => grad((t: Tensor) => loss(form, beta)(t, other))(there));
  return norm(found.to('reference').cast('float64').sub(expected)) / norm(expected);
}

async function run(print: (text: string) => void): Promise<void> {
  await init({ device: 'wasm' });
  const [x, y] = [unitVectors(n, dim, 5), unitVectors(n, dim, 6)];
  const gradients = (form: RetrievalForm) => grad((a: Tensor, b: Tensor) => loss(form, 8)(a, b))(x, y);
  const second = (form: RetrievalForm) =>
    grad((t: Tensor) =>
      grad((s: Tensor) => loss(form, 8)(s, y))(t)
        .square()
        .sum(),
    )(x);
  print(`N = ${n} pairs, dim ${dim}, τ⁻¹ = ${invTau}; float64 unless said otherwise.\n`);
  const value = (form: RetrievalForm) => loss(form, 8)(x, y);
  print(claim('the loss is that of the definition', largestDifference(value('gram'), value('patterns')), 1e-12));
  const [a, b] = [gradients('gram'), gradients('patterns')];
  print(claim('its gradient too', Math.max(largestDifference(a[0], b[0]), largestDifference(a[1], b[1])), 1e-12));
  print(claim('and a second derivative', largestDifference(second('gram'), second('patterns')), 1e-12));
  const counts = [
    [64, 512],
    [128, 512],
    [256, 512],
    [512, 512],
    [1024, 512],
    [512, 1024],
  ].map(([pairs, d]) => {
    const [definition, gram] = [retrievalOperations.patterns(pairs!, d!), retrievalOperations.gram(pairs!, d!)];
    return [pairs!, d!, definition / 1e6, gram / 1e6, definition / gram];
  });
  print('\nMultiply-adds of the loss and its gradient, in millions; below N = ¾ d hopgrad takes the second form:\n');
  print(table(['N', 'd', 'patterns', 'Gram matrices', 'ratio'], counts));
  const errors = [1, 0.3, 0.1, 0.03].map((spread) => [
    spread,
    ...[8, 30].flatMap((beta) => [errorInFloat32('patterns', spread, beta), errorInFloat32('gram', spread, beta)]),
  ]);
  print(
    '\nRelative error of the gradient in float32, embeddings at distance δ from one direction. Near the saddle float32',
  );
  print('leaves nothing of it, in either form: an error of 1 is all of the gradient.\n');
  print(table(['δ', 'patterns, β 8', 'Gram, β 8', 'patterns, β 30', 'Gram, β 30'], errors));
}

export const gram: Chapter = { title: 'CLOOB’s loss by fewer operations: Gram matrices', run };
