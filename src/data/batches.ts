/** The order of training: each epoch every drawing once, as far as one concept at most once a batch allows. */
import { DataError, DomainError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';

/**
 * Batches of positions into `concepts` for one epoch, a pure function of (concepts, batchSize, seed, epoch).
 *
 * Two drawings of one concept are not negatives of each other, so they never share a batch: drawings are dealt in
 * shuffled order, each to the first batch that has room and lacks its concept. Only full batches are returned.
 * @throws DomainError for a batch size below 2; DataError when there are fewer concepts than a batch holds
 */
export function epochBatches(
  concepts: readonly number[],
  { batchSize, seed, epoch }: { batchSize: number; seed: number; epoch: number },
): number[][] {
  if (!Number.isInteger(batchSize) || batchSize < 2)
    throw new DomainError('epochBatches', {
      received: `batch size ${batchSize}`,
      expected: 'a whole number ≥ 2: the others in the batch are the negatives',
    });
  const distinct = new Set(concepts).size;
  if (distinct < batchSize)
    throw new DataError('epochBatches', {
      received: `${distinct} concepts for batches of ${batchSize}`,
      expected: 'at least as many concepts as a batch holds',
      hint: 'Use a smaller batch.',
    });
  const order = new Random(seed).fork(`epoch ${epoch}`).shuffle(concepts.keys());
  const batches: { rows: number[]; seen: Set<number> }[] = [];
  let firstOpen = 0;
  for (const row of order) {
    const concept = concepts[row]!;
    let at = firstOpen;
    while (at < batches.length && (batches[at]!.rows.length === batchSize || batches[at]!.seen.has(concept))) at++;
    if (at === batches.length) batches.push({ rows: [], seen: new Set() });
    batches[at]!.rows.push(row);
    batches[at]!.seen.add(concept);
    while (firstOpen < batches.length && batches[firstOpen]!.rows.length === batchSize) firstOpen++;
  }
  return batches.filter(({ rows }) => rows.length === batchSize).map(({ rows }) => rows);
}
