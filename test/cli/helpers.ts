/** What the tests of the command share. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ClipTokenizer, createModel, saveCheckpoint } from 'hopgrad/models/cloob';
import { loadSharp } from '#src/data/sharp.js';

export const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the command in `cwd`; `until` is called with what it has written and may send a signal. */
export function hopgrad(
  cwd: string,
  args: string[],
  until?: (stderr: string, child: ChildProcess) => NodeJS.Signals | null,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [main, ...args], { cwd, env: { ...process.env, HOPGRAD_THREADS: '1' } });
    const outcome = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => {
      outcome.stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      outcome.stderr += chunk;
      const signal = until?.(outcome.stderr, child);
      if (signal) child.kill(signal);
    });
    child.on('close', (code) => resolve({ code, ...outcome }));
  });
}

export const colours = {
  red: [220, 30, 30],
  green: [30, 180, 60],
  blue: [40, 60, 220],
  yellow: [240, 220, 40],
} as const;

/** Squares of four colours, three of each, in folders of classes and listed in a table. */
export async function makePictures(folder: string): Promise<void> {
  const sharp = await loadSharp();
  const lines = ['filepath\ttitle'];
  for (const [name, [r, g, b]] of Object.entries(colours)) {
    mkdirSync(join(folder, 'squares', name), { recursive: true });
    for (let i = 0; i < 3; i++) {
      const background = { r: r - 5 * i, g: g - 5 * i, b };
      const file = `squares/${name}/${i}.png`;
      await sharp({ create: { width: 24, height: 24, channels: 3, background } })
        .png()
        .toFile(join(folder, file));
      lines.push(`${file}\ta ${name} square number ${i}`);
    }
  }
  writeFileSync(join(folder, 'pairs.tsv'), `${lines.join('\n')}\n`);
}

/** A model of 4k parameters for 8×8 pictures with its tokenizer, untrained. */
export async function makeWeights(path: string): Promise<void> {
  const captions = Object.keys(colours).map((name) => `a ${name} square`);
  const tokenizer = ClipTokenizer.train(captions, { vocabSize: 520 });
  await saveCheckpoint(path, { model: createModel(tinyConfig), tokenizer });
}

export const tinyConfig = {
  embed_dim: 8,
  image_resolution: 8,
  vision_layers: [1, 1, 1, 1],
  vision_width: 4,
  vision_heads: 2,
  stem_reduction: 1,
  context_length: 6,
  vocab_size: 520,
  transformer_width: 8,
  transformer_heads: 2,
  transformer_layers: 1,
} as const;

/**
 * Runs the command in a pseudo-terminal of 100 columns. `until` is called with all that was shown and may return keys to press.
 * @param seconds after which it is killed, and the code is null
 * @param program what is run, instead of the command
 */
export function inTerminal(
  cwd: string,
  args: string[],
  {
    until,
    seconds = 120,
    program = [process.execPath, main],
  }: { until?: (shown: string) => string | null; seconds?: number; program?: string[] } = {},
): Promise<{ code: number | null; shown: string }> {
  return new Promise((resolve, reject) => {
    const words = [...program, ...args].map((word) => `'${word}'`);
    // script, of util-linux: the exit code is the command's (-e), nothing is buffered (-f)
    const child = spawn('script', ['-qefc', `stty cols 100; exec ${words.join(' ')}`, '/dev/null'], {
      cwd,
      env: { ...process.env, HOPGRAD_THREADS: '1' },
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    let shown = '';
    child.stdout.on('data', (chunk) => {
      shown += chunk;
      const keys = until?.(shown);
      if (keys) child.stdin.write(keys);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(limit);
      resolve({ code, shown });
    });
  });
}

/** The lines of a log or of evaluations, without times and memory, which vary; none where there is no such file. */
export function readRows<T = { step: number }>(path: string): T[] {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
  const varies = (key: string) => /[sS]econds$|^memoryBytes$/.test(key);
  return lines.map((line) => Object.fromEntries(Object.entries(JSON.parse(line)).filter(([key]) => !varies(key))) as T);
}

const esc = String.fromCharCode(27);
/** A control sequence, or text. */
const pieces = new RegExp(`(${esc}(?:\\[[?\\d;]*[A-Za-z]|[78])|\r)|([^${esc}\r]+)`, 'g');

/** What a person sees at the end: the lines of a terminal, as far as bars need it (carriage return, erasing a line). */
export function screen(shown: string): string[] {
  return shown.split(/\r?\n/).map((line) => {
    let cells = '';
    let at = 0;
    for (const [, control, text] of line.matchAll(pieces)) {
      if (control === '\r' || control === `${esc}[1G`) at = 0;
      else if (control === `${esc}[K` || control === `${esc}[0K`) cells = cells.slice(0, at);
      else if (text) {
        cells = cells.slice(0, at).padEnd(at) + text + cells.slice(at + text.length);
        at += text.length;
      }
    }
    return cells.trimEnd();
  });
}
