/**
 * `npm run bench:search`: the 48 nearest of many vectors of 512 numbers to a query, as `hopgrad search` and `hopgrad serve` find them; what
 * is found is compared with what comparing all vectors finds. Options: --vectors 50000,1000000, --queries N (default 15), --write.
 */
import { parseArgs } from 'node:util';
import { Random } from 'hopgrad';
import { Nearest } from '#src/cli/nearest.js';
import { bestOf } from '#src/evaluate/ranks.js';
import { median } from './median.js';
import { milliseconds, table, writeSection } from './results.js';

const { values: options } = parseArgs({
  options: {
    vectors: { type: 'string', default: '50000,200000,1000000' },
    queries: { type: 'string', default: '15' },
    write: { type: 'boolean', default: false },
  },
});
const dim = 512;
const top = 48;
const random = new Random(1);
const noise = Float32Array.from({ length: 1 << 20 }, () => random.normal());

/** Unit vectors: r + shared · d, r of length 1 and any direction, d one direction, or for every thousand its own. */
function unitVectors(count: number, shared: number, groups: number): Float32Array {
  const vectors = new Float32Array(count * dim);
  const directions = Float32Array.from({ length: groups * dim }, () => random.normal());
  const row = new Float64Array(dim);
  for (let r = 0; r < count; r++) {
    const from = Math.floor(random.uniform() * (noise.length - dim));
    const sign = random.uniform() < 0.5 ? -1 : 1;
    const group = (r % groups) * dim;
    let squares = 0;
    for (let i = 0; i < dim; i++) {
      row[i] = sign * noise[from + ((i * 7) % dim)]! + shared * directions[group + i]!;
      squares += row[i]! ** 2;
    }
    const length = Math.sqrt(squares);
    for (let i = 0; i < dim; i++) vectors[r * dim + i] = row[i]! / length;
  }
  return vectors;
}

/** The rows of the nearest, every vector compared. */
function byComparingAll(vectors: Float32Array, query: Float32Array): number[] {
  const products = new Float64Array(vectors.length / dim);
  for (let r = 0; r < products.length; r++) {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += vectors[r * dim + i]! * query[i]!;
    products[r] = sum;
  }
  return bestOf(products, top);
}

const kinds: [string, number, (count: number) => number][] = [
  ['all directions', 0, () => 1],
  ['around one direction', 1, () => 1],
  ['groups of a thousand', 1, (count) => Math.ceil(count / 1000)],
];
const rows: string[][] = [];
for (const count of options.vectors.split(',').map(Number))
  for (const [kind, shared, groups] of kinds) {
    const vectors = unitVectors(count, shared, groups(count));
    const start = performance.now();
    const nearest = new Nearest(vectors, dim);
    const coding = (performance.now() - start) / 1000;
    const times: number[] = [];
    const processor: number[] = [];
    const compared: number[] = [];
    let right = 0;
    for (let k = -2; k < Number(options.queries); k++) {
      const at = Math.floor(random.uniform() * count) * dim;
      const query = vectors.slice(at, at + dim).map((x) => x + 0.05 * random.normal()); // a cosine of about 0.66 to that vector
      const before = process.cpuUsage();
      const begun = performance.now();
      const found = nearest.find(query, top);
      const took = performance.now() - begun;
      const { user, system } = process.cpuUsage(before);
      if (k < 0) continue; // compiled
      times.push(took);
      processor.push((user + system) / 1000);
      compared.push(nearest.compared);
      if (k > 1) continue; // comparing all takes seconds
      const expected = new Set(byComparingAll(vectors, query));
      right += found.filter((match) => expected.has(match.at)).length / (2 * top);
    }
    rows.push([
      `${count.toLocaleString('en')}, ${kind}`,
      coding.toFixed(1),
      ...[median(times), Math.min(...times), median(processor)].map(milliseconds),
      String(Math.round(median(compared))),
      right.toFixed(2),
    ]);
    console.error(rows.at(-1)!.join(' | '));
  }
const text = table(['vectors', 'coding s', 'search ms', 'least', 'processor ms', 'compared', 'recall'], rows);
console.log(text);
if (options.write) writeSection('search', text);
