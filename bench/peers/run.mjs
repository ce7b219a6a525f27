/**
 * `npm run bench:peers`: hopgrad, jax-js and tfjs (and PyTorch, where python3 has it) side by side.
 *
 * Every library runs in a process of its own. Within a work they take turns, several rounds, so that a slow moment
 * of the machine meets all of them; idle processes wait on their input. Results must agree before times count.
 *
 * Options: --rounds N (default 7), --only matmul,conv, --write (the table also goes to bench/RESULTS.md), --fastest
 * (a turn counts by its fastest run instead of its median: for a machine that does other work as well).
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { table, writeSection } from '../../.build/bench/results.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const works = JSON.parse(readFileSync(`${here}works.json`, 'utf8'));
/** Largest difference from hopgrad's result, relative to its norm: float32, and the peers sum naively. */
const tolerance = 1e-4;
/** How long one turn lasts, and from which time of a single run on two rounds have to do. */
const turnMilliseconds = 150;
const slowMilliseconds = 1500;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    only: { type: 'string' },
    write: { type: 'boolean' },
    fastest: { type: 'boolean' },
  },
});

class Library {
  constructor(column, command, args, env = {}) {
    this.column = column;
    this.process = spawn(command, args, {
      cwd: here,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async next() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.column} ended early`);
    return JSON.parse(value);
  }

  ask(request) {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    return this.next();
  }
}

function installPeers() {
  if (existsSync(`${here}node_modules/@jax-js/jax`) && existsSync(`${here}node_modules/@tensorflow/tfjs`)) return;
  console.log('Installing jax-js and tfjs into bench/peers …');
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: here, stdio: 'inherit', shell: process.platform === 'win32' });
}

/** The python3 that has PyTorch, if any. */
function pythonWithTorch() {
  const has = (python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0;
  return ['python3', '/usr/bin/python3'].find(has);
}

function start() {
  const node = process.execPath;
  const threads = String(cpus().length);
  const libraries = [
    new Library('hopgrad', node, ['hopgrad.mjs'], { HOPGRAD_THREADS: threads }),
    new Library('hopgrad, 1 thread', node, ['hopgrad.mjs'], { HOPGRAD_THREADS: '1' }),
    new Library('jax-js', node, ['jax.mjs']),
    new Library('tfjs', node, ['tfjs.mjs']),
  ];
  const python = pythonWithTorch();
  if (!python) console.log('No python3 with PyTorch here: its columns are left out.');
  else
    for (const count of ['1', threads])
      libraries.push(new Library(`PyTorch, ${count} thr.`, python, ['torch_peer.py', count]));
  return libraries;
}

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Largest distance between two lists of fingerprints, relative to the norms of the second. */
function distance(outputs, expected) {
  if (outputs.length !== expected.length) return Number.NaN;
  const parts = outputs.flatMap(({ dot, norm }, i) => [
    Math.abs(dot - expected[i].dot) / expected[i].norm,
    Math.abs(norm - expected[i].norm) / expected[i].norm,
  ]);
  return parts.some(Number.isNaN) ? Number.NaN : Math.max(...parts);
}

/** Medians by column for one work; libraries that cannot do it are noted. */
async function compare(work, libraries, notes) {
  const able = [];
  let expected;
  for (const library of libraries) {
    const { outputs, error } = await library.ask({ work: work.name, check: true });
    if (error) notes.add(`${library.column} cannot do "${work.title}": ${error}`);
    else {
      expected ??= outputs;
      const d = distance(outputs, expected);
      if (!(d <= tolerance)) throw new Error(`${work.title}: ${library.column} differs from hopgrad by ${d}`);
      able.push(library);
    }
  }
  const times = new Map(able.map((library) => [library.column, []]));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const library of able) {
      const own = times.get(library.column);
      if (round >= 2 && median(own) > slowMilliseconds) continue;
      const { times: measured, error } = await library.ask({ work: work.name, milliseconds: turnMilliseconds });
      if (error) throw new Error(`${work.title}, ${library.column}: ${error}`);
      own.push(options.fastest ? Math.min(...measured) : median(measured));
    }
  }
  return new Map([...times].map(([column, own]) => [column, median(own)]));
}

const format = (ms) => (ms === undefined ? '—' : ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2));

function tableRow(work, medians, columns) {
  const own = medians.get('hopgrad');
  const ratio = (column) => (medians.has(column) ? `${(medians.get(column) / own).toFixed(1)}×` : '—');
  return [
    work.title,
    ...columns.map((column) => format(medians.get(column))),
    ratio('jax-js'),
    `${work.reach.toFixed(1)}×`,
    ratio('tfjs'),
  ];
}

async function main() {
  installPeers();
  const load = loadavg()[0].toFixed(1);
  const libraries = start();
  try {
    const versions = [];
    for (const library of libraries) versions.push((await library.next()).library);
    const columns = libraries.map((library) => library.column);
    const header = ['work, ms', ...columns, 'faster than jax-js', 'to reach', 'faster than tfjs'];
    const rows = [];
    const chosen = options.only?.split(',');
    const notes = new Set();
    for (const work of works.filter((w) => chosen?.includes(w.name) ?? true)) {
      process.stderr.write(`${work.title} …\n`);
      rows.push(tableRow(work, await compare(work, libraries, notes), columns));
    }
    const text = [
      `${versions.join('; ')}.`,
      '',
      `Medians of ${options.rounds} interleaved rounds${options.fastest ? ', each by its fastest run' : ''}; two rounds where a run takes more than ${slowMilliseconds} ms. All results agree within ${tolerance} of their norm. Load of the machine at the start: ${load}.`,
      '',
      table(header, rows),
      ...(notes.size > 0 ? ['', ...[...notes].map((note) => `- ${note}`)] : []),
    ].join('\n');
    console.log(text);
    if (options.write) writeSection('peers', text);
  } finally {
    for (const library of libraries) library.process.kill();
  }
}

await main();
