/** Ranks, for everything here that searches or classifies: one rule of ties. */

/**
 * Where the best of the right candidates stands: the number of wrong ones that score at least as high, 0 being first.
 *
 * rank = #{j ∉ R : s_j ≥ max_{r ∈ R} s_r}, R the right candidates. Ties count against the scores, so that scores which all
 * coincide are worth nothing; so does NaN.
 * @param scores one a candidate
 * @param right  candidates that are right, at least one, each once
 */
export function rankOf(scores: ArrayLike<number>, right: readonly number[]): number {
  let best = Number.NaN;
  for (const r of right) if (!(scores[r]! <= best) && !Number.isNaN(scores[r]!)) best = scores[r]!;
  let rank = 0;
  for (let j = 0; j < scores.length; j++) if (!(scores[j]! < best)) rank++;
  for (const r of right) if (!(scores[r]! < best)) rank--;
  return rank;
}

/**
 * What a random order reaches: the chance that one of `right` right candidates is among the first k of n,
 * 1 − C(n − right, k) / C(n, k).
 */
export function chanceOfRecall(right: number, n: number, k: number): number {
  let missed = 1;
  for (let i = 0; i < Math.min(k, n); i++) missed *= Math.max(0, n - right - i) / (n - i);
  return 1 - missed;
}

/**
 * The `count` best candidates, best first; of equal scores the earlier, NaN last. One pass over the scores, and for each that
 * is among the best so far an insertion: quick for few of many, in no unlucky order worse than sorting by insertion.
 */
export function bestOf(scores: ArrayLike<number>, count: number): number[] {
  const value = (i: number) => (Number.isNaN(scores[i]!) ? Number.NEGATIVE_INFINITY : scores[i]!);
  if (count > 1000)
    return Array.from({ length: scores.length }, (_, i) => i)
      .sort((a, b) => value(b) - value(a) || a - b)
      .slice(0, count);
  const best: number[] = [];
  for (let i = 0; i < scores.length; i++) {
    if (best.length >= count) {
      if (count <= 0 || !(value(i) > value(best[best.length - 1]!))) continue;
      best.pop();
    }
    let at = best.length;
    while (at > 0 && value(i) > value(best[at - 1]!)) at--;
    best.splice(at, 0, i);
  }
  return best;
}

/** Items told apart by their keys: the place of the first of each kind, and the number of every item's kind. */
export function distinct(keys: readonly string[]): { firsts: number[]; of: number[] } {
  const numbers = new Map<string, number>();
  const firsts: number[] = [];
  const of = keys.map((key, i) => {
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, firsts.length);
    return firsts.push(i) - 1;
  });
  return { firsts, of };
}
