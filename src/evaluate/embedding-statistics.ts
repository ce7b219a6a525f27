/**
 * What a set of embeddings looks like: how close partners are, how evenly the sphere is used, how many directions
 * carry the variance, how sure a memory is. Everything works on unit vectors (embeddings are normalised here), a block
 * of rows at a time: memory is chunk × n numbers. Sums are taken in float64.
 */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import type { TypedArray } from '../tensor/dtype.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { symmetricEigenvalues } from './symmetric-eigenvalues.js';

export interface ChunkOption {
  /** Rows that are worked on at a time. Default 1024. */
  chunk?: number;
}

function checkVectors(op: string, x: Tensor, least: number): void {
  if (x.rank !== 2) throw new ShapeError(op, { received: `embeddings ${formatShape(x.shape)}`, expected: '[n, dim]' });
  if (x.shape[0]! < least)
    throw new DomainError(op, { received: `${x.shape[0]} embeddings`, expected: `at least ${least}` });
}

function checkPartners(op: string, x: Tensor, y: Tensor, least: number): void {
  checkVectors(op, x, least);
  if (formatShape(x.shape) !== formatShape(y.shape))
    throw new ShapeError(op, {
      received: `shapes ${formatShape(x.shape)} and ${formatShape(y.shape)}`,
      expected: '[n, dim] twice; row i belongs to row i',
    });
}

function checkPositive(op: string, name: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value)))
    throw new DomainError(op, { received: `${name} ${value}`, expected: 'a positive number' });
}

/** The numbers that `f` makes of each block of rows, one block after the other. */
async function* blocks(
  x: Tensor,
  { chunk = 1024 }: ChunkOption,
  f: (rows: Tensor, start: number) => Tensor,
): AsyncGenerator<{ start: number; rows: number; values: TypedArray }> {
  if (!Number.isInteger(chunk) || chunk < 1)
    throw new DomainError('chunk', { received: String(chunk), expected: 'a whole number ≥ 1' });
  const n = x.shape[0]!;
  for (let start = 0; start < n; start += chunk) {
    const end = Math.min(n, start + chunk);
    const result = noGrad(() => scoped(() => f(x.slice([[start, end]]).l2Normalize(), start)));
    const values = await result.data();
    result.dispose();
    yield { start, rows: end - start, values };
  }
}

/** Cosines of a block of x with all of y, [rows, n]. */
function cosines(x: Tensor, y: Tensor, options: ChunkOption) {
  const all = noGrad(() => y.l2Normalize());
  return blocks(x, options, (rows) => rows.matmul(all, { transposeB: true }));
}

/** Σ f(cosine) over all pairs i < j of one set. */
async function sumOverPairs(x: Tensor, options: ChunkOption, f: (cosine: number) => number): Promise<number> {
  const n = x.shape[0]!;
  let sum = 0;
  for await (const { start, rows, values } of cosines(x, x, options))
    for (let i = 0; i < rows; i++)
      for (let j = start + i + 1; j < n; j++) sum += f(Math.min(1, Math.max(-1, values[i * n + j]!)));
  return sum;
}

/**
 * Alignment: how far partners are apart, E‖x_i − y_i‖^α. 0 when they coincide.
 *
 * | symbol | code  | shape / range |
 * |--------|-------|---------------|
 * | x, y   | x, y  | [n, dim]      |
 * | α      | power | > 0, usually 2 |
 *
 * @throws ShapeError, DomainError
 * @source Wang & Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
 * hypersphere", arXiv 2005.10242
 */
export async function alignment(
  x: Tensor,
  y: Tensor,
  { power = 2, ...options }: ChunkOption & { power?: number } = {},
): Promise<number> {
  checkPartners('alignment', x, y, 1);
  checkPositive('alignment', 'power', power);
  const squares = (rows: Tensor, start: number) =>
    rows
      .sub(y.slice([[start, start + rows.shape[0]!]]).l2Normalize())
      .square()
      .sum({ axis: 1 });
  let sum = 0;
  for await (const { values } of blocks(x, options, squares)) for (const value of values) sum += value ** (power / 2);
  return sum / x.shape[0]!;
}

/**
 * Uniformity: ln E_{i<j} exp(−t ‖x_i − x_j‖²), the energy of a Gaussian potential. 0 when all coincide; smaller is
 * more uniform; uniform on the sphere tends to −2t for t ≪ dim.
 * @param x [n, dim], n ≥ 2
 * @param t > 0, usually 2
 * @throws ShapeError, DomainError
 * @source Wang & Isola 2020, arXiv 2005.10242
 */
export async function uniformity(x: Tensor, { t = 2, ...options }: ChunkOption & { t?: number } = {}): Promise<number> {
  checkVectors('uniformity', x, 2);
  checkPositive('uniformity', 't', t);
  const n = x.shape[0]!;
  const sum = await sumOverPairs(x, options, (cosine) => Math.exp(-t * (2 - 2 * cosine)));
  return Math.log(sum / ((n * (n - 1)) / 2));
}

/**
 * The modified Ajne statistic of uniformity on the sphere: A = n/4 − 1/(nπ) Σ_{i<j} arccos(x_iᵀ x_j).
 *
 * Smaller is more uniform: about 1/4 for uniform points, n/4 when all coincide. It grows with n, so n is part of the
 * value: compare sets of one size.
 * @param x [n, dim], n ≥ 2
 * @throws ShapeError, DomainError
 * @source Prentice 1978's extension of Ajne's test, as used in the CLOOB paper; Mardia & Jupp 2000, 10.4.10
 */
export async function ajneStatistic(x: Tensor, options: ChunkOption = {}): Promise<{ statistic: number; n: number }> {
  checkVectors('ajneStatistic', x, 2);
  const n = x.shape[0]!;
  const angles = await sumOverPairs(x, options, Math.acos);
  return { statistic: n / 4 - angles / (n * Math.PI), n };
}

export interface EffectiveEigenvalues {
  /** How many leading eigenvalues give `share` of the trace. */
  count: number;
  /** All of them, largest first. */
  eigenvalues: Float64Array;
  n: number;
}

/**
 * How many directions the embeddings use: the least k with Σ_{i≤k} λ_i ≥ share · Σ_i λ_i, λ the eigenvalues of the
 * covariance (1/n) Σ (x_i − x̄)(x_i − x̄)ᵀ, largest first.
 * @param x     [n, dim], n ≥ 2
 * @param share in (0, 1]; 0.99 in the CLOOB paper
 * @throws ShapeError, DomainError
 * @source CLOOB, arXiv 2110.11316, "effective eigenvalues"
 */
export async function effectiveEigenvalues(
  x: Tensor,
  { share = 0.99, ...options }: ChunkOption & { share?: number } = {},
): Promise<EffectiveEigenvalues> {
  checkVectors('effectiveEigenvalues', x, 2);
  if (!(share > 0 && share <= 1))
    throw new DomainError('effectiveEigenvalues', { received: `share ${share}`, expected: 'a number in (0, 1]' });
  const { matrix } = await covariance(x, options);
  const eigenvalues = symmetricEigenvalues(matrix, x.shape[1]!).map((value) => Math.max(0, value));
  const wanted = share * eigenvalues.reduce((a, b) => a + b, 0);
  let [count, sum] = [0, 0];
  while (count < eigenvalues.length && sum < wanted) sum += eigenvalues[count++]!;
  return { count, eigenvalues, n: x.shape[0]! };
}

/** The mean [dim] and the covariance [dim, dim] of the unit vectors, centred before multiplying. */
export async function covariance(
  x: Tensor,
  options: ChunkOption = {},
): Promise<{ mean: Float64Array; matrix: Float64Array }> {
  const [n, dim] = x.shape as [number, number];
  const mean = new Float64Array(dim);
  for await (const { values } of blocks(x, options, (rows) => rows.sum({ axis: 0 })))
    for (let i = 0; i < dim; i++) mean[i]! += values[i]! / n;
  const centre = tensor(mean, { dtype: x.dtype, device: x.device });
  const products = (rows: Tensor) => {
    const centred = rows.sub(centre);
    return centred.matmul(centred, { transposeA: true });
  };
  const total = new Float64Array(dim * dim);
  for await (const { values } of blocks(x, options, products))
    for (let i = 0; i < total.length; i++) total[i]! += values[i]! / n;
  return { mean, matrix: total };
}

/** Numbers in brief: moments, and how many fall between `from` and `to` in equal steps. */
export interface Distribution {
  count: number;
  mean: number;
  /** Population standard deviation. */
  deviation: number;
  least: number;
  largest: number;
  from: number;
  to: number;
  /** How many lie in each step; the last holds `to` as well. */
  histogram: Uint32Array;
}

/** Collects a {@link Distribution}; the running moments are Welford's, so nothing cancels. */
class Collector {
  #count = 0;
  #mean = 0;
  #squares = 0;
  #least = Number.POSITIVE_INFINITY;
  #largest = Number.NEGATIVE_INFINITY;
  readonly #histogram: Uint32Array;

  constructor(
    readonly from: number,
    readonly to: number,
    bins: number,
  ) {
    this.#histogram = new Uint32Array(bins);
  }

  add(value: number): void {
    const before = value - this.#mean;
    this.#count++;
    this.#mean += before / this.#count;
    this.#squares += before * (value - this.#mean);
    if (value < this.#least) this.#least = value;
    if (value > this.#largest) this.#largest = value;
    const bins = this.#histogram.length;
    const bin = Math.floor(((value - this.from) / (this.to - this.from)) * bins);
    this.#histogram[Math.min(bins - 1, Math.max(0, bin))]!++;
  }

  result(): Distribution {
    const { from, to } = this;
    return {
      count: this.#count,
      mean: this.#mean,
      deviation: Math.sqrt(this.#squares / this.#count),
      least: this.#least,
      largest: this.#largest,
      from,
      to,
      histogram: this.#histogram,
    };
  }
}

/** How alike partners and others are, and how surely partners are found. */
export interface SimilarityStatistics {
  /** Cosines of partners. */
  positives: Distribution;
  /** Cosines of all other pairs. */
  negatives: Distribution;
  /** p₁, the probability that softmax(τ⁻¹ x_iᵀ Y) gives the partner. 1 − p₁ is how much InfoNCE still learns. */
  partnerProbability: Distribution;
}

/**
 * Similarities of partners and of others, and how saturated InfoNCE is: p₁ = exp(τ⁻¹ x_iᵀy_i) / Σ_j exp(τ⁻¹ x_iᵀy_j).
 *
 * | symbol | code   | shape / range                        |
 * |--------|--------|--------------------------------------|
 * | x, y   | x, y   | [n, dim], row i belongs to row i; n ≥ 2 |
 * | τ⁻¹    | invTau | > 0; default 30, as in the paper     |
 *
 * Cosine histograms cover [−1, 1], that of p₁ [0, 1].
 * @throws ShapeError, DomainError
 */
export async function similarityStatistics(
  x: Tensor,
  y: Tensor,
  { invTau = 30, bins = 40, ...options }: ChunkOption & { invTau?: number; bins?: number } = {},
): Promise<SimilarityStatistics> {
  checkPartners('similarityStatistics', x, y, 2);
  checkPositive('similarityStatistics', 'invTau', invTau);
  if (!Number.isInteger(bins) || bins < 1)
    throw new DomainError('similarityStatistics', { received: `bins ${bins}`, expected: 'a whole number ≥ 1' });
  const n = y.shape[0]!;
  const [positives, negatives, first] = [
    new Collector(-1, 1, bins),
    new Collector(-1, 1, bins),
    new Collector(0, 1, bins),
  ];
  for await (const { start, rows, values } of cosines(x, y, options))
    for (let i = 0; i < rows; i++) {
      const own = values[i * n + start + i]!;
      let others = 0;
      for (let j = 0; j < n; j++) {
        if (j === start + i) continue;
        const cosine = values[i * n + j]!;
        negatives.add(cosine);
        others += Math.exp(invTau * (cosine - own));
      }
      positives.add(own);
      first.add(1 / (1 + others));
    }
  return { positives: positives.result(), negatives: negatives.result(), partnerProbability: first.result() };
}

/**
 * How widely a Hopfield memory looks: the mean entropy of p = softmax(β U ξ), in nats, over the queries. 0: each query
 * retrieves a single pattern; ln(patterns): all are averaged.
 *
 * | symbol | code   | shape / range              |
 * |--------|--------|----------------------------|
 * | ξ      | state  | [queries, dim]             |
 * | U      | stored | [patterns, dim]            |
 * | β      | beta   | > 0; 8 in the paper        |
 *
 * @returns `entropy`, and `effectivePatterns` = exp(entropy)
 * @throws ShapeError, DomainError
 */
export async function retrievalEntropy(
  state: Tensor,
  stored: Tensor,
  { beta, ...options }: ChunkOption & { beta: number },
): Promise<{ entropy: number; effectivePatterns: number }> {
  checkVectors('retrievalEntropy', state, 1);
  checkVectors('retrievalEntropy', stored, 1);
  checkPositive('retrievalEntropy', 'beta', beta);
  const n = stored.shape[0]!;
  let sum = 0;
  for await (const { rows, values } of cosines(state, stored, options))
    for (let i = 0; i < rows; i++) {
      const row = values.subarray(i * n, (i + 1) * n);
      let largest = Number.NEGATIVE_INFINITY;
      for (const cosine of row) largest = Math.max(largest, cosine);
      let [total, weighted] = [0, 0]; // Σ e^k and Σ k e^k of the shifted logits k
      for (const cosine of row) {
        const logit = beta * (cosine - largest);
        total += Math.exp(logit);
        weighted += logit * Math.exp(logit);
      }
      sum += Math.log(total) - weighted / total; // H = ln Σ e^k − E k
    }
  const entropy = sum / state.shape[0]!;
  return { entropy, effectivePatterns: Math.exp(entropy) };
}
