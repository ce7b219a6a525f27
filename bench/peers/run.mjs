/**
 * `npm run bench:peers`: hopgrad, jax-js and tfjs (and PyTorch, where python3 has it) side by side on the processor.
 * Every library runs in a process of its own; idle processes wait on their input. Options: see compare.mjs.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { writeSection } from '../../.build/bench/results.js';
import { chooseWorks, here, installPeers, readOptions, report } from './compare.mjs';

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

/** The python3 that has PyTorch, if any. */
function pythonWithTorch() {
  const has = (python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0;
  return ['python3', '/usr/bin/python3'].find(has);
}

const threads = String(cpus().length);

function start() {
  const node = process.execPath;
  const libraries = [
    new Library('hopgrad', node, ['hopgrad.mjs'], { HOPGRAD_THREADS: threads }),
    new Library('hopgrad, 1 thread', node, ['hopgrad.mjs'], { HOPGRAD_THREADS: '1' }),
    new Library('jax-js', node, ['jax.mjs']),
    new Library('tfjs', node, ['tfjs.mjs']),
    new Library('onnxruntime-web', node, ['onnx.mjs'], { HOPGRAD_THREADS: threads }),
  ];
  const python = pythonWithTorch();
  if (!python) console.log('No python3 with PyTorch here: its columns are left out.');
  else
    for (const count of ['1', threads])
      libraries.push(new Library(`PyTorch, ${count} thr.`, python, ['torch_peer.py', count]));
  return libraries;
}

const options = readOptions();
installPeers();
const libraries = start();
try {
  for (const library of libraries) library.library = (await library.next()).library;
  // A work that has something to reach is one for the processor, and so are whole models.
  const text = await report(
    libraries,
    chooseWorks(options, ({ reach, model }) => reach || model),
    options,
    [
      ['faster than jax-js', (_, factor) => factor('jax-js')],
      ['to reach', ({ reach }) => (reach ? `${reach.toFixed(1)}×` : '—')],
      ['faster than tfjs', (_, factor) => factor('tfjs')],
      ['faster than onnxruntime-web', (_, factor) => factor('onnxruntime-web')],
      [`faster than PyTorch, ${threads} thr.`, (_, factor) => factor(`PyTorch, ${threads} thr.`)],
    ],
  );
  console.log(text);
  if (options.write) writeSection('peers', text);
} finally {
  for (const library of libraries) library.process.kill();
}
