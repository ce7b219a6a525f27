/**
 * What the comparisons on wasm (run.mjs) and on WebGPU (gpu.mjs) have in common. The libraries take turns within a
 * work, several rounds, so that a slow moment of the machine meets all of them. Results must agree with hopgrad's
 * before times count.
 *
 * Options: --rounds N, --only matmul,conv, --write (the table also goes to bench/), --fastest (a turn counts by its
 * fastest run instead of its median: for a machine that does other work as well).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../../.build/bench/median.js';
import { milliseconds, table } from '../../.build/bench/results.js';
import { notWritten } from './answer.mjs';

export const here = fileURLToPath(new URL('.', import.meta.url));
/** Largest difference from hopgrad's result, relative to its norm: float32, and the peers sum naively. */
const tolerance = 1e-4;
/** How long one turn lasts, and from which time of a single run on two rounds have to do. */
const turnMilliseconds = 150;
const slowMilliseconds = 1500;

/** What the command line says. @param more options of one runner */
export function readOptions(more = {}) {
  return parseArgs({
    options: {
      rounds: { type: 'string', default: '7' },
      only: { type: 'string' },
      write: { type: 'boolean' },
      fastest: { type: 'boolean' },
      ...more,
    },
  }).values;
}

/** The works that were asked for, of those that `fits` lets through. */
export function chooseWorks({ only }, fits) {
  const works = JSON.parse(readFileSync(`${here}works.json`, 'utf8'));
  return works.filter((work) => fits(work) && (only?.split(',').includes(work.name) ?? true));
}

export function installPeers() {
  const { dependencies } = JSON.parse(readFileSync(`${here}package.json`, 'utf8'));
  if (Object.keys(dependencies).every((name) => existsSync(`${here}node_modules/${name}`))) return;
  console.log('Installing jax-js, tfjs and onnxruntime-web into bench/peers …');
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: here, stdio: 'inherit', shell: process.platform === 'win32' });
}

/** Largest distance between two lists of fingerprints, relative to the norms of the second. */
function distance(outputs, expected) {
  if (outputs.length !== expected.length) return Number.NaN;
  const parts = outputs.flatMap(({ dot, norm }, i) => [
    Math.abs(dot - expected[i].dot) / expected[i].norm,
    Math.abs(norm - expected[i].norm) / expected[i].norm,
  ]);
  return parts.some(Number.isNaN) ? Number.NaN : Math.max(...parts);
}

/** Medians by column for one work; libraries that cannot do it, or do it wrongly, are noted. */
async function compare(work, libraries, { rounds, fastest }, notes) {
  const able = [];
  let expected;
  for (const library of libraries) {
    const { outputs, error, remark } = await library.ask({ work, check: true });
    const aside = remark ? ` (${remark})` : '';
    expected ??= outputs;
    const d = error ? 0 : distance(outputs, expected);
    if (error === notWritten) continue;
    if (error) notes.push(`${library.column} cannot do "${work.title}": ${error}${aside}`);
    else if (d <= tolerance) able.push(library);
    else
      notes.push(
        `${library.column} does "${work.title}" wrongly: it differs from hopgrad by ${d.toPrecision(2)}${aside}`,
      );
  }
  const times = new Map(able.map((library) => [library, []]));
  for (let round = 0; round < Number(rounds); round++) {
    for (const [library, own] of times) {
      if (round >= 2 && median(own) > slowMilliseconds) continue;
      const { times: measured, error } = await library.ask({ work, milliseconds: turnMilliseconds });
      if (error) {
        notes.push(`${library.column} fails in the midst of "${work.title}": ${error}`);
        times.delete(library);
      } else own.push(fastest ? Math.min(...measured) : median(measured));
    }
  }
  return new Map([...times].map(([library, own]) => [library.column, median(own)]));
}

/**
 * Compares the libraries, each { column, library, ask }, hopgrad first.
 * @param ratios further columns: [heading, (work, factor) => text], where factor(column) is hopgrad's advantage
 * @returns the report as Markdown
 */
export async function report(libraries, works, options, ratios) {
  const load = loadavg()[0].toFixed(1);
  const columns = libraries.map((library) => library.column);
  const notes = [];
  const rows = [];
  for (const work of works) {
    process.stderr.write(`${work.title} …\n`);
    const medians = await compare(work, libraries, options, notes);
    const own = medians.get('hopgrad');
    const factor = (column) => (medians.has(column) && own ? `${(medians.get(column) / own).toFixed(1)}×` : '—');
    const cells = columns.map((column) => (medians.has(column) ? milliseconds(medians.get(column)) : '—'));
    rows.push([work.title, ...cells, ...ratios.map(([, ratio]) => ratio(work, factor))]);
  }
  return [
    `${libraries.map(({ library }) => library).join('; ')}.`,
    '',
    `Medians of ${options.rounds} interleaved rounds${options.fastest ? ', each by its fastest run' : ''}; two rounds where a run takes more than ${slowMilliseconds} ms. All results that have a time agree within ${tolerance} of their norm; — is what is not written down for a library, or what it cannot do. Load of the machine at the start: ${load}.`,
    '',
    table(['work, ms', ...columns, ...ratios.map(([heading]) => heading)], rows),
    ...(notes.length > 0 ? ['', ...notes.map((note) => `- ${note}`)] : []),
  ].join('\n');
}
