/** Comparing tensors: whether they agree, and if not, where and by how much. */

import { tensor } from '../autograd/create.js';
import { checkOptions } from '../autograd/ops/options.js';
import { type NestedArray, Tensor } from '../autograd/tensor.js';
import type { TypedArray } from '../tensor/dtype.js';
import { DomainError, HopgradError } from '../tensor/errors.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { unravel } from './checker.js';

/** When two tensors are near. */
export interface CloseOptions {
  /** |a − b| ≤ atol + rtol · |b|. Default 1e-8. */
  atol?: number;
  /** Default 1e-5. */
  rtol?: number;
  /** NaN equals NaN. Default false. */
  equalNaN?: boolean;
}

/** What {@link allClose} found. `String(report)` says it in a few lines; `report.ok` whether all is near. */
export class CloseReport {
  /** All elements are near, and shapes are the same. */
  readonly ok: boolean;

  constructor(
    readonly shapes: readonly [a: readonly number[], b: readonly number[]],
    /** Elements compared. */
    readonly compared: number,
    /** How many of them are not near. */
    readonly apart: number,
    /** The element that is farthest beyond its tolerance; null when all are near or shapes differ. */
    readonly worst: {
      index: number[];
      a: number;
      b: number;
      /** |a − b| */
      error: number;
      tolerance: number;
    } | null,
    /** Largest |a − b| and largest |a − b| / |b| over all elements, near or not. */
    readonly largest: { absolute: number; relative: number },
  ) {
    this.ok = apart === 0 && sameShape(...shapes);
  }

  /** A few lines that name the worst element. */
  toString(): string {
    const [a, b] = this.shapes.map(formatShape);
    if (!sameShape(...this.shapes)) return `Shapes differ: ${a} and ${b}.`;
    const { absolute, relative } = this.largest;
    const largest = `Largest difference ${absolute.toExponential(2)}, relative ${relative.toExponential(2)}.`;
    if (this.worst === null) return `All ${this.compared} elements are near. ${largest}`;
    const { index, a: left, b: right, error, tolerance } = this.worst;
    const where = index.length > 0 ? ` at ${formatShape(index)}` : '';
    return `${this.apart} of ${this.compared} elements differ. Worst${where}: ${left} and ${right}, error ${error.toExponential(2)} > ${tolerance.toExponential(2)}. ${largest}`;
  }
}

type Comparable = Tensor | NestedArray | TypedArray;

/**
 * Compares tensors element by element: |a − b| ≤ atol + rtol · |b|. On any devices, in any dtypes; shapes must be equal.
 * Infinities are near when they are the same.
 *
 * @returns a report: `.ok`, `.worst` says where and by how much. (It is an object, and so always true by itself.)
 * @throws DomainError for tolerances below 0
 * @example const report = await allClose(y, [[1, 2]]); assert.ok(report.ok, String(report))
 */
export async function allClose(a: Comparable, b: Comparable, options: CloseOptions = {}): Promise<CloseReport> {
  const {
    atol = 1e-8,
    rtol = 1e-5,
    equalNaN = false,
  } = checkOptions('allClose', options, ['atol', 'rtol', 'equalNaN']);
  if (!(atol >= 0 && rtol >= 0))
    throw new DomainError('allClose', { received: `atol ${atol}, rtol ${rtol}`, expected: 'numbers ≥ 0' });
  const [x, y] = [a, b].map((t) => (t instanceof Tensor ? t : tensor(t, { dtype: 'float64', device: 'reference' })));
  const shapes = [x!.shape, y!.shape] as const;
  const largest = { absolute: 0, relative: 0 };
  if (!sameShape(...shapes)) return new CloseReport(shapes, 0, 0, null, largest);
  const [left, right] = [await x!.data(), await y!.data()];
  let apart = 0;
  let worst: { place: number; excess: number } | null = null;
  const errorAt = (i: number) => {
    const [p, q] = [left[i]!, right[i]!];
    return p === q || (equalNaN && Number.isNaN(p) && Number.isNaN(q)) ? 0 : Math.abs(p - q);
  };
  const toleranceAt = (i: number) => (Number.isFinite(right[i]!) ? atol + rtol * Math.abs(right[i]!) : 0);
  for (let i = 0; i < left.length; i++) {
    const error = errorAt(i);
    if (error === 0) continue;
    largest.absolute = Math.max(largest.absolute, error); // NaN stays NaN
    largest.relative = Math.max(largest.relative, error / Math.abs(right[i]!));
    if (error <= toleranceAt(i)) continue;
    apart++;
    const excess = Number.isNaN(error) ? Infinity : error - toleranceAt(i);
    if (worst === null || excess > worst.excess) worst = { place: i, excess };
  }
  const place = worst?.place ?? -1;
  const found = worst && {
    index: unravel(place, shapes[0]),
    a: left[place]!,
    b: right[place]!,
    error: errorAt(place),
    tolerance: toleranceAt(place),
  };
  return new CloseReport(shapes, left.length, apart, found, largest);
}

/** {@link allClose} that throws. @throws HopgradError that says where and by how much they differ; DomainError */
export async function assertClose(a: Comparable, b: Comparable, options: CloseOptions = {}): Promise<CloseReport> {
  const report = await allClose(a, b, options);
  if (!report.ok) throw new HopgradError('assertClose', { received: `${report}\n`, expected: 'tensors that agree' });
  return report;
}
