/** What the chapters share: exact tensors, checks that stop a run, tables. */
import { randn, type Tensor, tensor } from 'hopgrad';

/** Chapters compute in double precision: their claims are identities. */
export const exact = { dtype: 'float64', device: 'reference' } as const;

export interface Chapter {
  title: string;
  /** Prints claims and tables; throws when a claim does not hold. */
  run(print: (text: string) => void): Promise<void>;
}

/** @throws Error unless error ≤ bound: a chapter whose claim fails must not print a table */
export function claim(what: string, error: number, bound: number): string {
  if (!(error <= bound)) throw new Error(`${what}: ${error} is more than ${bound}`);
  return `- ${what}: largest error ${error.toExponential(1)} (bound ${bound.toExponential(0)})`;
}

export function unitVectors(n: number, dim: number, seed: number): Tensor {
  return randn([n, dim], { ...exact, seed }).l2Normalize();
}

/** Unit vectors in `clusters` groups; `spread` is the length of the deviation from a centre of length 1. */
export function clusteredVectors(n: number, dim: number, clusters: number, spread: number, seed: number): Tensor {
  const centres = unitVectors(clusters, dim, seed);
  const member = tensor(
    Int32Array.from({ length: n }, (_, i) => i % clusters),
    { device: exact.device },
  );
  return centres
    .gather(member)
    .add(unitVectors(n, dim, seed + 1).mul(spread))
    .l2Normalize();
}

export function values(t: Tensor): Float64Array {
  return Float64Array.from(t.dataSync());
}

export function largestDifference(a: Tensor, b: Tensor): number {
  return values(a.sub(b).abs().max())[0]!;
}

export function mean(numbers: ArrayLike<number>): number {
  return Array.from(numbers).reduce((a, b) => a + b, 0) / numbers.length;
}

export function deviation(numbers: ArrayLike<number>): number {
  const centre = mean(numbers);
  return Math.sqrt(mean(Array.from(numbers, (x) => (x - centre) ** 2)));
}

/** Four significant digits, without the noise of zeros. */
export function short(x: number): string {
  if (x === 0) return '0';
  return Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5 ? x.toExponential(1) : String(Number(x.toPrecision(4)));
}

/** A Markdown table in even columns. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const text = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? short(cell) : cell)));
  const widths = header.map((_, column) => Math.max(3, ...[header, ...text].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padStart(widths[i]!)).join(' | ')} |`;
  return [line(header), `| ${widths.map((w) => `${'-'.repeat(w - 1)}:`).join(' | ')} |`, ...text.map(line)].join('\n');
}
