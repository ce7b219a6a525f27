/** A small world: things that each show some features, stored as patterns; and what retrieval adds to a query. */
import { scoped, tensor } from 'hopgrad';
import { hopfieldRetrieve } from 'hopgrad/nn';

export const features = ['beach', 'sea', 'sun', 'palm', 'snow', 'mountain', 'ski', 'moon'] as const;

/** Which features each picture shows, a bit a feature: the least bit is the first. */
export const pictures = [
  ['holiday', 0b00001111],
  ['harbour', 0b00000110],
  ['night beach', 0b10000011],
  ['desert island', 0b00001011],
  ['ski run', 0b01110100],
  ['summit', 0b00110100],
  ['winter night', 0b10010000],
  ['coast road', 0b00100110],
] as const;

export const has = (bits: number, feature: number) => (bits & (1 << feature)) !== 0;
const vector = (bits: number) => features.map((_, f) => (has(bits, f) ? 1 : 0));

export interface Filled {
  /** Weight of each picture in the answer. */
  weights: number[];
  /** The query as asked, unit length. */
  query: number[];
  /** What the memory answers, unit length, a number a feature. */
  answer: number[];
  /** How often two features stand together in the pictures, as the covariance of the patterns, [features][features]. */
  covariance: number[][];
}

/**
 * What a memory of pictures answers to a query of features.
 * @param rows bits of each picture; those that show nothing are no patterns. At least one must show something
 */
export function fillIn(rows: readonly number[], query: number, beta: number): Filled {
  return scoped(() => {
    const kept = rows.flatMap((bits, i) => (bits === 0 ? [] : [i]));
    const stored = tensor(kept.map((i) => vector(rows[i]!))).l2Normalize();
    const state = tensor([vector(query)]).l2Normalize();
    const weights = state.matmul(stored, { transposeB: true }).mul(beta).softmax({ axis: 1 }).dataSync();
    const answer = hopfieldRetrieve(state, stored, { beta, normalize: true });
    const centred = stored.sub(stored.mean({ axis: 0, keepDims: true }));
    const covariance = centred.matmul(centred, { transposeA: true }).div(kept.length).dataSync();
    const side = features.length;
    return {
      weights: rows.map((_, i) => (kept.includes(i) ? weights[kept.indexOf(i)]! : 0)),
      query: [...state.dataSync()],
      answer: [...answer.dataSync()],
      covariance: features.map((_, i) => [...covariance.slice(i * side, (i + 1) * side)]),
    };
  });
}
