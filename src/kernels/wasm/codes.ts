/** The arguments of assembly/codes.ts. */
import type { Storage } from '../device.js';
import { at, type Context, grain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

/** Vectors as codes of a byte a number: v ≈ middle + scale · codes, ‖v − middle − scale · codes‖ ≤ radius. */
export interface CodedVectors {
  /** int32 [rows · dim / 4]: int8, four an element; dim a multiple of 64. */
  codes: Storage;
  /** float32 [rows]. */
  scales: Storage;
  /** float32 [rows]. */
  radii: Storage;
}

/** A unit vector as codes: q ≈ step · codes. */
export interface CodedQuery {
  /** int32 [dim / 2]: int16, two an element. */
  codes: Storage;
  step: number;
  /** ⟨middle, q⟩. */
  base: number;
  /** What else the products may be off by. */
  error: number;
}

/** float32 [2, rows]: a lower bound of every ⟨v, q⟩, then the upper ones. No sum of products of codes may pass int32. */
export function boundProducts(
  { engine, allocate }: Context,
  { codes, scales, radii }: CodedVectors,
  { codes: query, step, base, error }: CodedQuery,
): Storage {
  const dim = query.size * 2;
  const rows = scales.size;
  const bounds = allocate('float32', 2 * rows);
  const rowsPerChunk = 2 * Math.ceil((2 * grain) / dim); // even, and the work of some ten microseconds
  engine.call(kernel.boundProducts, chunksOf(rows, rowsPerChunk), {
    codes: at(codes),
    scales: at(scales),
    radii: at(radii),
    query: at(query),
    bounds: at(bounds),
    rows,
    dim,
    base,
    step,
    error,
    grain: rowsPerChunk,
  });
  return bounds;
}
