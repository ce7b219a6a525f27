/** Several sources as one, each seen as often as its factor says. */
import { DataError, DomainError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import type { BadRow, Order, Row, Source } from './source.js';

/** A source and how often an epoch has each of its rows: 2 is twice, 0.5 half of them, others in every epoch. */
export interface Part {
  source: Source;
  factor: number;
}

/**
 * The rows of several sources in random turns, each source in its own order. An epoch has factor · size rows of each: whole
 * passes over it, and of one more pass its first rows, which are others in every epoch. So the chance that a step sees a row is
 * proportional to its factor, as with open_clip's `--train-data-upsampling-factors`; but exactly so many come, not on average.
 *
 * All of it is a function of (seed, epoch), so a run goes on in its midst. Unshuffled, the sources follow each other.
 * @throws DomainError for factors out of range; DataError for sources whose size is not known before reading
 */
export function mixture(name: string, parts: readonly Part[]): Source & { size: number } {
  const counts = parts.map(({ source, factor }) => {
    if (!(factor > 0 && factor <= 1e6))
      throw new DomainError('mixture', { received: `factor ${factor} of ${source.name}`, expected: 'a number > 0' });
    if (source.size === undefined)
      throw new DataError('mixture', {
        received: `${source.name}, whose number of samples is not known before reading`,
        expected: 'sources of known sizes: what they contribute is a share of them',
        hint: 'Put sizes.json or __len__ beside the shards, or give --train-num-samples where one source of several has shards.',
      });
    return Math.round(factor * source.size);
  });
  const views = new Set(parts.map(({ source }) => source.view));
  const [view] = views;
  return {
    name,
    ...(views.size === 1 && view && { view }),
    size: counts.reduce((sum, count) => sum + count, 0),
    async *rows(order): AsyncGenerator<Row | BadRow> {
      const left = [...counts];
      const streams = parts.map((part, at) => passes(part, at, parts.length, order));
      const random = new Random(order.seed).fork(`turns of epoch ${order.epoch}`);
      for (let all = left.reduce((sum, count) => sum + count, 0); all > 0; all--) {
        const at = order.shuffle ? turn(left, random.uniform() * all) : left.findIndex((count) => count > 0);
        left[at]!--;
        const { value, done } = await streams[at]!.next();
        if (!done) yield value; // a source may have fewer rows than it says
      }
    },
  };
}

/** The source whose turn it is: each is as likely as rows are left of it. @param point 0 … the sum of `left` */
function turn(left: readonly number[], point: number): number {
  let before = 0;
  const at = left.findIndex((count) => count > 0 && point < (before += count));
  return at >= 0 ? at : left.findLastIndex((count) => count > 0); // rounding
}

/** Rows of a source, pass after pass, without end. */
async function* passes(
  { source, factor }: Part,
  at: number,
  parts: number,
  { seed, epoch, shuffle }: Order,
): AsyncGenerator<Row | BadRow> {
  const every = Math.ceil(factor); // passes an epoch: no two of a training are in the same order
  for (let pass = 0; pass < every; pass++) {
    const own = { seed, epoch: epoch * every + pass, shuffle };
    for await (const row of source.rows(own)) {
      // A picture seen twice in an epoch is cut out differently, and is no negative of itself.
      const visit = `${at} ${pass} ${row.index}`;
      if ('bad' in row) yield row;
      else
        yield {
          ...row,
          index: row.index * parts + at, // no other data set has it
          visit,
          group: typeof row.group === 'string' ? row.group : `${at} ${row.group ?? `row ${row.index}`}`,
        };
    }
  }
}
