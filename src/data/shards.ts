/** The names of shards that a pattern stands for. Ranges may be long, so names are made as they are asked for. */
import { expand } from 'brace-expansion';
import { DataError, printable } from '../tensor/errors.js';

/** Shards by number. */
export interface Shards extends Iterable<string> {
  readonly count: number;
  at(index: number): string;
}

const shardsOf = (count: number, at: (index: number) => string): Shards => ({
  count,
  at,
  *[Symbol.iterator]() {
    for (let i = 0; i < count; i++) yield at(i);
  },
});

/** Most shards: with 2³² samples each, numbers of samples stay whole. */
const mostShards = 2 ** 21;
/** Up to here names are kept in a list, in the order that a shell gives them. */
const mostListed = 100_000;

const range = /\{(\d+)\.\.(\d+)(?:\.\.(\d+))?\}/g;
/** Stands for a range while lists in braces are expanded. */
const marked = /\ue000(\d+)\ue001/;

interface Range {
  count: number;
  at(index: number): string;
}

function rangeOf(from: string, to: string, by: string | undefined): Range {
  const [first, last, step] = [Number(from), Number(to), Math.max(1, Number(by ?? 1))];
  const width = /^0\d/.test(from) || /^0\d/.test(to) ? Math.max(from.length, to.length) : 0;
  const sign = last < first ? -1 : 1;
  return {
    count: Math.floor(Math.abs(last - first) / step) + 1,
    at: (index) => String(first + sign * step * index).padStart(width, '0'),
  };
}

/** One name with its ranges: the last one counts fastest. */
function product(text: string, ranges: readonly Range[]): Shards {
  const parts = text.split(marked); // literal, number of a range, literal …
  const own = parts.map((part, i) => (i % 2 ? ranges[Number(part)]! : null));
  const count = own.reduce((all, one) => all * (one?.count ?? 1), 1);
  const at = (index: number) => {
    let rest = index;
    let name = '';
    for (let i = parts.length - 1; i >= 0; i--) {
      const one = own[i];
      name = (one ? one.at(rest % one.count) : parts[i]) + name;
      if (one) rest = Math.floor(rest / one.count);
    }
    return name;
  };
  return shardsOf(count, at);
}

function expandOne(pattern: string): Shards[] {
  const ranges: Range[] = [];
  const text = pattern.replace(range, (_, from, to, by) => `\ue000${ranges.push(rangeOf(from, to, by)) - 1}\ue001`);
  const names = expand(text, { max: mostListed + 1, maxLength: 2 ** 28 });
  const shards = names.map((name) => product(name, ranges));
  const count = shards.reduce((sum, one) => sum + one.count, 0);
  if (names.length > mostListed || !(count <= mostShards))
    throw new DataError('webdataset', {
      received: `${printable(pattern)} stands for ${count} shards`,
      expected: `at most ${mostShards}`,
    });
  if (count > mostListed) return shards;
  const listed = expand(pattern, { max: mostListed + 1, maxLength: 2 ** 28 });
  return [shardsOf(listed.length, (index) => listed[index]!)];
}

/**
 * The shards that a pattern names: `data/shard-{000..127}.tar`; several patterns joined by `::`.
 * @throws DataError when they are more than 2²¹
 */
export function expandShards(pattern: string): Shards {
  const parts = pattern.split('::').flatMap(expandOne);
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  if (count > mostShards)
    throw new DataError('webdataset', { received: `${count} shards`, expected: `at most ${mostShards}` });
  const at = (index: number) => {
    let rest = index;
    for (const part of parts) {
      if (rest < part.count) return part.at(rest);
      rest -= part.count;
    }
    throw new RangeError(`shard ${index} of ${count}`);
  };
  return shardsOf(count, at);
}
