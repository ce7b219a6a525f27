/** The vectors nearest to a query among a million, for certain and in less time than reading them takes. */

import { bestOf } from '../evaluate/ranks.js';

import { deviceByName } from '../kernels/devices.js';
import type { CodedQuery, CodedVectors } from '../kernels/wasm/codes.js';
import type { WasmDevice } from '../kernels/wasm/device.js';

/** Rows to one storage: what is coded at once. */
const slabRows = 1 << 16;
/** Rows that the middle is taken from. */
const sampled = 4096;
/** For the roundings of what bounds are made of, in float32 and float64. */
const slack = 1e-6;
/** Products with codes of smaller numbers would be denormal. */
const smallest = 1e-20;

export interface Near {
  /** Row of the vector. */
  at: number;
  /** ⟨v, q⟩. */
  product: number;
}

/**
 * Exact search in two steps. Every vector is kept as it is, and as whole numbers of a byte, v ≈ μ + s·c, μ near the mean of all;
 * a query likewise, q ≈ t·p. Then
 *
 *     |⟨v, q⟩ − ⟨μ, q⟩ − s·t·⟨c, p⟩| ≤ ‖v − μ − s·c‖ + ‖s·c‖ ‖q − t·p‖,   ‖q‖ = 1
 *
 * The products of bytes are a quarter of the memory to read. Vectors whose upper bound is below the k-th largest lower bound
 * cannot be among the k best; the products of the others are computed. So what is found is what comparing all would find.
 */
export class Nearest {
  readonly #device = deviceByName('wasm') as WasmDevice;
  readonly #slabs: CodedVectors[] = [];
  readonly #middle: Float64Array;
  /** Not less than ‖μ‖ + ‖s·c‖ of any vector. */
  #longest = 0;
  readonly #rows: number;
  /** How many vectors the last search compared as they are. */
  compared = 0;

  /** @param vectors row-major [rows, dim]; kept, not copied */
  constructor(
    readonly vectors: Float32Array,
    readonly dim: number,
  ) {
    this.#rows = vectors.length / dim;
    this.#middle = middleOf(vectors, dim);
    for (let from = 0; from < this.#rows; from += slabRows)
      this.#slabs.push(this.#encode(from, Math.min(slabRows, this.#rows - from)));
    this.#longest += Math.hypot(...this.#middle);
  }

  /** Codes of `rows` rows. */
  #encode(from: number, rows: number): CodedVectors {
    const { vectors, dim } = this;
    const middle = this.#middle;
    const width = codedWidth(dim);
    const [codes, scales, radii] = [new Int8Array(rows * width), new Float32Array(rows), new Float32Array(rows)];
    const row = new Float64Array(dim);
    for (let r = 0; r < rows; r++) {
      let most = 0;
      for (let i = 0, at = (from + r) * dim; i < dim; i++, at++) {
        const x = vectors[at]! - middle[i]!;
        row[i] = x;
        const size = x < 0 ? -x : x;
        if (size > most) most = size;
      }
      const scale = Math.fround(most / 127) || 1;
      const inverse = 1 / scale;
      let away = 0;
      let length = 0;
      for (let i = 0, at = r * width; i < dim; i++, at++) {
        const code = Math.floor(row[i]! * inverse + 0.5);
        codes[at] = code;
        const rest = row[i]! - scale * code;
        away += rest * rest;
        length += code * code;
      }
      scales[r] = scale;
      // Infinite for numbers too small; NaN where the vector is not one of numbers. Neither excludes it: it is compared as it is.
      radii[r] = most === 0 || most > smallest ? Math.sqrt(away) * (1 + slack) : Number.POSITIVE_INFINITY;
      if (scale < Number.POSITIVE_INFINITY) this.#longest = Math.max(this.#longest, scale * Math.sqrt(length));
    }
    const upload = (x: Int32Array | Float32Array) => this.#device.upload(x);
    return { codes: upload(new Int32Array(codes.buffer)), scales: upload(scales), radii: upload(radii) };
  }

  /** The `count` largest ⟨v, q⟩, largest first; of equal ones the earlier row. */
  find(query: ArrayLike<number>, count: number): Near[] {
    const wanted = Math.min(count, this.#rows);
    if (wanted <= 0) return [];
    const unit = unitVector(query);
    const { codes, step, away } = codeQuery(unit, codedWidth(this.dim));
    const coded: CodedQuery = {
      codes: this.#device.upload(new Int32Array(codes.buffer)),
      step,
      base: this.#middle.reduce((sum, m, i) => sum + m * unit[i]!, 0),
      error: this.#longest * (away + slack),
    };
    const kept = new Largest(wanted);
    const upper = this.#slabs.map((slab) => {
      const storage = this.#device.boundProducts(slab, coded);
      const bounds = this.#device.readSync(storage);
      storage.free();
      const rows = bounds.length / 2;
      for (let i = 0; i < rows; i++) if (bounds[i]! > kept.least) kept.add(bounds[i]!);
      return bounds.subarray(rows);
    });
    coded.codes.free();
    const { least } = kept;
    const possible: number[] = [];
    upper.forEach((bounds, slab) => {
      for (let i = 0; i < bounds.length; i++) if (!(bounds[i]! < least)) possible.push(slab * slabRows + i);
    });
    this.compared = possible.length;
    const products = possible.map((row) => this.#product(row, query));
    return bestOf(products, wanted).map((i) => ({ at: possible[i]!, product: products[i]! }));
  }

  #product(row: number, query: ArrayLike<number>): number {
    const start = row * this.dim;
    let sum = 0;
    for (let i = 0; i < this.dim; i++) sum += this.vectors[start + i]! * query[i]!;
    return sum;
  }
}

/** The mean of some of the rows. */
function middleOf(vectors: Float32Array, dim: number): Float64Array {
  const rows = vectors.length / dim;
  const middle = new Float64Array(dim);
  const some = Math.min(rows, sampled);
  for (let k = 0; k < some; k++) {
    const start = Math.floor((k * rows) / some) * dim;
    for (let i = 0; i < dim; i++) middle[i]! += vectors[start + i]! / some;
  }
  return middle;
}

/** Codes a row: dim, up to a multiple of 64. */
function codedWidth(dim: number): number {
  return Math.ceil(dim / 64) * 64;
}

/** q / ‖q‖, NaN where there is none. */
function unitVector(query: ArrayLike<number>): Float64Array {
  const most = Float64Array.from(query).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const scaled = Float64Array.from(query, (x) => x / most);
  const norm = Math.sqrt(scaled.reduce((sum, x) => sum + x * x, 0));
  return scaled.map((x) => x / norm);
}

/** q ≈ step · codes, small enough for `width` products with bytes to be summed in an int32; away = ‖q − step · codes‖. */
function codeQuery(query: Float64Array, width: number) {
  const most = query.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const step = most / Math.min(32767, Math.floor(2147483647 / (127 * width)));
  const codes = new Int16Array(width);
  let away = 0;
  for (let i = 0; i < query.length; i++) {
    codes[i] = Math.round(query[i]! / step);
    away += (query[i]! - step * codes[i]!) ** 2;
  }
  return { codes, step, away: Math.sqrt(away) };
}

/** The largest `count` of many numbers, of which the least is asked for. */
class Largest {
  readonly #kept: Float64Array; // ascending
  least = Number.NEGATIVE_INFINITY;

  constructor(count: number) {
    this.#kept = new Float64Array(count).fill(Number.NEGATIVE_INFINITY);
  }

  /** @param value above the least */
  add(value: number): void {
    const kept = this.#kept;
    let [low, high] = [0, kept.length]; // the first place whose number is not below value
    while (low < high) {
      const at = (low + high) >> 1;
      if (kept[at]! < value) low = at + 1;
      else high = at;
    }
    kept.copyWithin(0, 1, low);
    kept[low - 1] = value;
    this.least = kept[0]!;
  }
}
