/** The machine's own limits, measured on all threads at once: what shares of a peak refer to. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import asc from 'assemblyscript/asc';

export interface Peak {
  /** 10⁹ float32 operations a second, arithmetic on registers alone. */
  gigaflops: number;
  /** 10⁹ bytes a second, read and written, in a copy of 64 MiB. */
  gigabytes: number;
  threads: number;
  fused: boolean;
}

interface PeakExports {
  arithmetic(rounds: number): number;
  copy(to: number, from: number, bytes: number): void;
}

const bytes = 64 * 2 ** 20;
const rounds = 1_000_000;
const source = fileURLToPath(new URL('../../bench/assembly/peak.ts', import.meta.url));

async function compile(fused: boolean): Promise<Uint8Array<ArrayBuffer>> {
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const features = ['--enable', fused ? 'simd,relaxed-simd' : 'simd'];
  const pages = String((3 * bytes) / 65536);
  const { error, stderr } = await asc.main(
    [
      'peak.ts',
      '--outFile',
      'peak.wasm',
      '-O3',
      '--runtime',
      'stub',
      '--use',
      'abort=',
      '--initialMemory',
      pages,
      ...features,
    ],
    {
      readFile: (name) => (name === 'peak.ts' ? readFileSync(source, 'utf8') : null),
      writeFile: (name, contents) => {
        if (name === 'peak.wasm') binary = new Uint8Array(contents as Uint8Array);
      },
      listFiles: () => [],
    },
  );
  if (error || !binary) throw new Error(`peak.ts: ${error?.message}\n${stderr.toString()}`);
  return binary;
}

/** Seconds of the fastest of many runs, all within a second: short ones, so that some meet no other work. */
function fastest(run: () => void): number {
  run(); // touches the memory, and lets the engine optimise
  let best = Number.POSITIVE_INFINITY;
  for (const end = performance.now() + 1000; performance.now() < end; ) {
    const start = performance.now();
    run();
    best = Math.min(best, performance.now() - start);
  }
  return best / 1000;
}

function measureHere(binary: Uint8Array<ArrayBuffer>): { gigaflops: number; gigabytes: number } {
  const exports = new WebAssembly.Instance(new WebAssembly.Module(binary)).exports as unknown as PeakExports;
  return {
    gigaflops: (96 * rounds) / fastest(() => exports.arithmetic(rounds)) / 1e9,
    gigabytes: (2 * bytes) / fastest(() => exports.copy(2 * bytes, bytes / 2, bytes)) / 1e9,
  };
}

export async function measurePeak(threads = cpus().length): Promise<Peak> {
  const fusedBinary = await compile(true);
  // As the wasm device does: Node 20 has relaxed SIMD behind a switch.
  if (!WebAssembly.validate(fusedBinary)) setFlagsFromString('--experimental-wasm-relaxed-simd');
  const fused = WebAssembly.validate(fusedBinary);
  const binary = fused ? fusedBinary : await compile(false);
  const results = await Promise.all(
    Array.from(
      { length: threads },
      () =>
        new Promise<{ gigaflops: number; gigabytes: number }>((resolve, reject) => {
          const worker = new Worker(fileURLToPath(import.meta.url), { workerData: binary });
          worker.once('message', resolve).once('error', reject);
        }),
    ),
  );
  const sum = (key: 'gigaflops' | 'gigabytes') => results.reduce((total, result) => total + result[key], 0);
  return { gigaflops: sum('gigaflops'), gigabytes: sum('gigabytes'), threads, fused };
}

if (!isMainThread) parentPort!.postMessage(measureHere(workerData as Uint8Array<ArrayBuffer>));
