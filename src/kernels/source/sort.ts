/** The order of elements along the middle axis of [outer, length, inner]; thread = (inner, length, outer). */

import type { KernelThis, Volume } from './kernel.js';
import { builtIn } from './own.js';

/**
 * Where an element comes when its row is sorted: how many come before it. NaN counts as the largest, and of equal ones
 * the first stays the first. Descending is counted from the other end, with equal ones in the other order.
 */
export function sortRank(this: KernelThis, x: Volume): number {
  const own = x[this.thread.z]![this.thread.y]![this.thread.x]!;
  let before = 0;
  for (let j = 0; j < this.constants.length!; j++) {
    const other = x[this.thread.z]![j]![this.thread.x]!;
    let earlier = this.thread.y - j;
    if (this.constants.descending! > 0) earlier = -earlier;
    if (other < own) before = before + 1;
    if (own !== own && other === other) before = before + 1;
    if (other === own && earlier > 0) before = before + 1;
    if (own !== own && other !== other && earlier > 0) before = before + 1;
  }
  if (this.constants.descending! > 0) before = this.constants.length! - 1 - before;
  return before;
}

/** The element whose rank this place is. */
export function sortOrder(this: KernelThis, ranks: Volume): number {
  let at = 0;
  for (let j = 0; j < this.constants.length!; j++) {
    if (ranks[this.thread.z]![j]![this.thread.x]! === this.thread.y) at = j;
  }
  return at;
}

builtIn({ sortRank, sortOrder });
