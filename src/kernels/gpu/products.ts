/**
 * Matrix products with four neighbouring results a thread, and convolutions as such products over patches. Measured
 * against one result a thread: bench/RESULTS-gpu.md. For devices where a kernel's result of four is four elements.
 */
import type { Conv2dSpec, MatmulSpec, Storage } from '../device.js';
import { textKernel } from '../source/identity.js';
import type { KernelThis, SourceKernel, Volume } from '../source/kernel.js';
import { builtIn } from '../source/own.js';
import { PackingDevice } from './packing.js';

/** C[z][y][x] = Σ_p Σ_i A[z][p][y][i] · B[z][p][i][x], both factors flat and walked by integer steps. */
interface Product {
  batch: number;
  m: number;
  n: number;
  k: number;
  /** Products that are summed. */
  parts: number;
  batchA: number;
  partA: number;
  rowA: number;
  stepA: number;
  batchB: number;
  partB: number;
  columnB: number;
  stepB: number;
}

/** The patches of a convolution take that many elements at most; beyond, the kernel without patches runs. */
const mostPatches = 2 ** 26;
/** Threads that a product should have at least; a weight gradient takes the batch in several parts for it. */
const leastThreads = 8192;

/** Threads of a workgroup along x and y, as gpu.js sets them for grids of two and three dimensions. */
export const workgroup = 8;

const four = [0, 1, 2, 3];

/** The text of the product: each element of A serves four results, and a turn of the loop takes four terms. */
const matmul4: SourceKernel = textKernel('matmul4', () => {
  const a = (i: string) =>
    `a[this.thread.z * this.constants.batchA + p * this.constants.partA + this.thread.y * this.constants.rowA + ${i} * this.constants.stepA]`;
  const b = (i: string, c: number) =>
    `b[this.thread.z * this.constants.batchB + p * this.constants.partB + (this.thread.x * 4 + ${c}) * this.constants.columnB + ${i} * this.constants.stepB]`;
  const term = (name: string, i: string) =>
    [`const ${name} = ${a(i)};`, ...four.map((c) => `sum${c} += ${name} * ${b(i, c)};`)].join('\n');
  return `function matmul4(a, b) {
    ${four.map((c) => `let sum${c} = 0;`).join('\n')}
    for (let p = 0; p < this.constants.parts; p++) {
      for (let t = 0; t < this.constants.turns; t++) {
        ${four.map((u) => term(`a${u}`, `(t * 4 + ${u})`)).join('\n')}
      }
      for (let r = 0; r < this.constants.rest; r++) {
        ${term('last', '(this.constants.turns * 4 + r)')}
      }
    }
    return [sum0, sum1, sum2, sum3];
  }`;
});

/**
 * The same for tiles: `rows` rows a thread, m / rows apart, of `quads` times four columns, n / quads apart, so that each element
 * that is read serves several results. WGSL, since gpu.js's language has four results at most: the text gives the first
 * four, the function writes the others. The arrays and the result have gpu.js's names in it.
 */
function matmulTile(quads: number, rows: number): SourceKernel {
  const name = `tileOf${rows}By${4 * quads}`;
  const numbers = 'batchA partA rowA stepA batchB partB columnB stepB parts turns odd m'.split(' ');
  const count = (length: number) => Array.from({ length }, (_, i) => i);
  /** For every row r and four columns q of the tile. */
  const each = (write: (r: number, q: number) => string) =>
    count(rows).flatMap((r) => count(quads).map((q) => write(r, q)));
  const right = (q: number) => four.map((c) => `user_b[atB + ${q} * apartB + ${c} * columnB]`).join(', ');
  const term = (i: string) => `{
        let atA = fromA + (${i}) * stepA;
        let atB = fromB + (${i}) * stepB;
        ${count(quads)
          .map((q) => `let right${q} = vec4<f32>(${right(q)});`)
          .join('\n')}
        ${count(rows)
          .map((r) => `let left${r} = vec4<f32>(user_a[atA + ${r} * apartA]);`)
          .join('\n')}
        ${each((r, q) => `sum${r}_${q} = fma(left${r}, right${q}, sum${r}_${q});`).join('\n')}
      }`;
  const write = (r: number, q: number) => {
    const at = `(z * m + y + ${r} * (m / ${rows})) * n + x * 4 + ${q} * (n / ${quads})`;
    return four.map((c) => `result[${at} + ${c}] = sum${r}_${q}[${c}];`).join(' ');
  };
  const source = `fn fn_${name}(x : i32, y : i32, z : i32, ${numbers.map((number) => `${number} : i32`).join(', ')}) -> vec4<f32> {
    let n = i32(params.outputX) * 4;
    let apartA = m / ${rows} * rowA;
    let apartB = n / ${quads} * columnB;
    ${each((r, q) => `var sum${r}_${q} = vec4<f32>();`).join('\n')}
    for (var p = 0; p < parts; p++) {
      let fromA = z * batchA + p * partA + y * rowA;
      let fromB = z * batchB + p * partB + x * 4 * columnB;
      for (var t = 0; t < turns; t++) {
        ${term('t * 2')}
        ${term('t * 2 + 1')}
      }
      if (odd != 0) ${term('turns * 2')}
    }
    ${each(write).slice(1).join('\n')}
    return sum0_0;
  }`;
  const given = numbers.map((number) => `this.constants.${number}`);
  return textKernel(
    name,
    () => `function ${name}(a, b) {
      return ${name}(this.thread.x, this.thread.y, this.thread.z, ${given.join(', ')});
    }`,
    {
      ...{ name, source, tile: [quads, rows], returnType: 'Array(4)' },
      argumentTypes: Object.fromEntries(['x', 'y', 'z', ...numbers].map((number) => [number, 'Integer'])),
    },
  );
}

/** Largest first. */
const tiles = (
  [
    [2, 8],
    [1, 8],
    [1, 4],
  ] as const
).map(([quads, rows]) => ({ quads, rows, kernel: matmulTile(quads, rows) }));

/** P[n][(c,u,v)][(i,j)] = x[n, c, i·s + u − p, j·s + v − p], 0 outside */
function unfold(this: KernelThis, x: Volume): number {
  const i = Math.floor((this.thread.x + 0.5) / this.constants.outWidth!);
  const j = this.thread.x - i * this.constants.outWidth!;
  const window = this.constants.kernelHeight! * this.constants.kernelWidth!;
  const c = Math.floor((this.thread.y + 0.5) / window);
  const rest = this.thread.y - c * window;
  const u = Math.floor((rest + 0.5) / this.constants.kernelWidth!);
  const v = rest - u * this.constants.kernelWidth!;
  const row = i * this.constants.strideY! + u - this.constants.paddingY!;
  const column = j * this.constants.strideX! + v - this.constants.paddingX!;
  let value = 0;
  if (row >= 0 && row < this.constants.height! && column >= 0 && column < this.constants.width!)
    value = x[this.thread.z * this.constants.inChannels! + c]![row]![column]!;
  return value;
}

/** The transpose of unfold: x[n,c,i,j] = Σ_{u,v} P[n][(c,u,v)][((i + p − u)/s, (j + p − v)/s)] where that is exact */
function fold(this: KernelThis, patches: Volume): number {
  const n = Math.floor((this.thread.z + 0.5) / this.constants.inChannels!);
  const c = this.thread.z - n * this.constants.inChannels!;
  let sum = 0;
  for (let u = 0; u < this.constants.kernelHeight!; u++) {
    const y = this.thread.y + this.constants.paddingY! - u;
    const i = Math.floor((y + 0.5) / this.constants.strideY!);
    if (i >= 0 && i < this.constants.outHeight! && i * this.constants.strideY! === y) {
      for (let v = 0; v < this.constants.kernelWidth!; v++) {
        const x = this.thread.x + this.constants.paddingX! - v;
        const j = Math.floor((x + 0.5) / this.constants.strideX!);
        if (j >= 0 && j < this.constants.outWidth! && j * this.constants.strideX! === x) {
          const row = (c * this.constants.kernelHeight! + u) * this.constants.kernelWidth! + v;
          sum += patches[n]![row]![i * this.constants.outWidth! + j]!;
        }
      }
    }
  }
  return sum;
}

builtIn({ unfold, fold });

/** A gpu.js device whose kernels may return four elements at once. */
export abstract class ProductDevice<B> extends PackingDevice<B> {
  protected override readonly returnsFour = true;
  readonly #tiles: (typeof tiles)[number][] = [];

  /** @returns null where neither side of the result has a length that four divides */
  #product(a: Storage, b: Storage, product: Product): Storage | null {
    const { batch, m, n, k } = product;
    if (batch * m * n * k === 0) return null;
    if (n % 4 === 0) {
      const views = [a, b].map((storage) => ({ storage, grid: [storage.size] as const }));
      const grid = [n / 4, m, batch] as const;
      const kernel = this.#tile(product);
      return kernel
        ? this.run(kernel, grid, views, { ...product, turns: k >> 1, odd: k & 1 }, a.dtype, 4)
        : this.run(matmul4, grid, views, { ...product, turns: k >> 2, rest: k & 3 }, a.dtype, 4);
    }
    if (!inFours(m, n)) return null;
    const { batchA, partA, rowA, stepA, batchB, partB, columnB, stepB } = product;
    const exchanged = {
      ...{ batch, m: n, n: m, k, parts: product.parts },
      ...{ batchA: batchB, partA: partB, rowA: columnB, stepA: stepB },
      ...{ batchB: batchA, partB: partA, columnB: rowA, stepB: stepA },
    };
    const transposed = this.#product(b, a, exchanged)!;
    const result = this.permute(transposed, [batch, n, m], [0, 2, 1]);
    transposed.free();
    return result;
  }

  /**
   * The kernel of the largest tile that leaves enough threads for a card, and no workgroup partly idle; undefined where there
   * is none, or the grid has no place for y.
   */
  #tile({ batch, m, n }: Product): SourceKernel | undefined {
    const { x, y, z } = this.limits;
    if (n === 4 || n / 4 > x || m > y || batch > z) return undefined;
    const fits = ({ quads, rows }: (typeof tiles)[number]) =>
      m % (workgroup * rows) === 0 && (quads === 1 || n % (4 * workgroup * quads) === 0);
    const threads = ({ quads, rows }: (typeof tiles)[number]) => (batch * m * n) / (4 * quads * rows);
    return this.#tiles.find((tile) => fits(tile) && (this.software || threads(tile) >= leastThreads))?.kernel;
  }

  /** Tries the tiles on whole numbers: where a driver makes something else of one, it is not used. */
  protected async tryTiles(): Promise<void> {
    const [m, k, n] = [64, 3, 64];
    const values = (count: number) => Float32Array.from({ length: count }, (_, i) => ((i * 7) % 11) - 5);
    const [left, right] = [values(m * k), values(k * n)];
    const views = [left, right].map((x) => ({ storage: this.upload(x), grid: [x.length] as const }));
    const constants = {
      ...{ batchA: 0, partA: 0, rowA: k, stepA: 1, batchB: 0, partB: 0, columnB: 1, stepB: n },
      ...{ parts: 1, turns: k >> 1, odd: k & 1, m },
    };
    const expected = (i: number) =>
      [0, 1, 2].reduce((sum, p) => sum + left[Math.floor(i / n) * k + p]! * right[p * n + (i % n)]!, 0);
    for (const tile of tiles) {
      const result = await this.read(this.run(tile.kernel, [n / 4, m, 1], views, constants, 'float32', 4));
      if (result.every((value, i) => value === expected(i))) this.#tiles.push(tile);
    }
  }

  override matmul(a: Storage, b: Storage, spec: MatmulSpec): Storage {
    const { batch, m, n, k, transposeA, transposeB, broadcastA, broadcastB } = spec;
    const product = this.#product(a, b, {
      ...{ batch, m, n, k, parts: 1, partA: 0, partB: 0 },
      ...{ batchA: broadcastA ? 0 : m * k, rowA: transposeA ? 1 : k, stepA: transposeA ? m : 1 },
      ...{ batchB: broadcastB ? 0 : k * n, columnB: transposeB ? k : 1, stepB: transposeB ? 1 : n },
    });
    return product ?? super.matmul(a, b, spec);
  }

  /** Y[n] = W · P[n] */
  override conv2d(x: Storage, weight: Storage, s: Conv2dSpec): Storage {
    const { rows, columns, patches } = sizes(s);
    if (patches > mostPatches || !inFours(s.outChannels, columns)) return super.conv2d(x, weight, s);
    const p = this.#patches(x, s);
    const y = this.#product(weight, p, {
      ...{ batch: s.batch, m: s.outChannels, n: columns, k: rows, parts: 1, partA: 0, partB: 0 },
      ...{ batchA: 0, rowA: rows, stepA: 1, batchB: rows * columns, columnB: 1, stepB: columns },
    });
    if (p !== x) p.free();
    return y ?? super.conv2d(x, weight, s);
  }

  /** P̄[n] = Wᵀ · Ȳ[n], folded */
  override conv2dInputGrad(gradOutput: Storage, weight: Storage, s: Conv2dSpec): Storage {
    const { rows, columns, patches } = sizes(s);
    if (patches > mostPatches) return super.conv2dInputGrad(gradOutput, weight, s);
    const p = this.#product(weight, gradOutput, {
      ...{ batch: s.batch, m: rows, n: columns, k: s.outChannels, parts: 1, partA: 0, partB: 0 },
      ...{ batchA: 0, rowA: 1, stepA: rows, batchB: s.outChannels * columns, columnB: 1, stepB: columns },
    });
    if (!p) return super.conv2dInputGrad(gradOutput, weight, s);
    if (pointwise(s)) return p;
    const view = { storage: p, grid: [columns, rows, s.batch] as const };
    const result = this.run(fold, [s.width, s.height, s.batch * s.inChannels], [view], { ...s }, gradOutput.dtype);
    p.free();
    return result;
  }

  /** W̄ = Σ_n Ȳ[n] · P[n]ᵀ */
  override conv2dWeightGrad(x: Storage, gradOutput: Storage, s: Conv2dSpec): Storage {
    const { rows, columns, patches } = sizes(s);
    if (patches > mostPatches || s.batch === 0 || !inFours(s.outChannels, rows))
      return super.conv2dWeightGrad(x, gradOutput, s);
    const p = this.#patches(x, s);
    const groups = divisor(s.batch, Math.ceil((4 * leastThreads) / (s.outChannels * rows)));
    const parts = s.batch / groups;
    const [image, patch] = [s.outChannels * columns, rows * columns];
    const partial = this.#product(gradOutput, p, {
      ...{ batch: groups, m: s.outChannels, n: rows, k: columns, parts },
      ...{ batchA: parts * image, partA: image, rowA: columns, stepA: 1 },
      ...{ batchB: parts * patch, partB: patch, columnB: columns, stepB: 1 },
    });
    if (p !== x) p.free();
    if (!partial) return super.conv2dWeightGrad(x, gradOutput, s);
    if (groups === 1) return partial;
    const result = this.reduce('sum', partial, 1, groups, s.outChannels * rows);
    partial.free();
    return result;
  }

  /** P of [batch][rows][columns]; x itself where a patch is one pixel. */
  #patches(x: Storage, s: Conv2dSpec): Storage {
    if (pointwise(s)) return x;
    const { rows, columns } = sizes(s);
    const view = { storage: x, grid: [s.width, s.height, s.batch * s.inChannels] as const };
    return this.run(unfold, [columns, rows, s.batch], [view], { ...s }, x.dtype);
  }
}

/** Whether one side of a result can be taken four by four: asked before any patches are made. */
function inFours(m: number, n: number): boolean {
  return m % 4 === 0 || n % 4 === 0;
}

function sizes(s: Conv2dSpec): { rows: number; columns: number; patches: number } {
  const rows = s.inChannels * s.kernelHeight * s.kernelWidth;
  const columns = s.outHeight * s.outWidth;
  return { rows, columns, patches: pointwise(s) ? 0 : s.batch * rows * columns };
}

function pointwise(s: Conv2dSpec): boolean {
  return s.kernelHeight * s.kernelWidth === 1 && s.strideY * s.strideX === 1 && s.paddingY + s.paddingX === 0;
}

/** The least divisor of n that is at least `wanted`; n itself if there is none. */
function divisor(n: number, wanted: number): number {
  for (let d = Math.max(1, wanted); d < n; d++) if (n % d === 0) return d;
  return wanted <= 1 ? 1 : n;
}
