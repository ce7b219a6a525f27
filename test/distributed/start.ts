/** Starting a program of the tests as ranks: over MPI of both families, and as threads. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DistributedError, startRanks } from 'hopgrad/distributed';

export interface Outcome {
  code: number | null;
  output: string;
}

/** Runs `program` on so many ranks with these arguments. */
export type Start = (program: URL, size: number, ...args: string[]) => Promise<Outcome>;

const execute = promisify(execFile);

/** Launchers run as root only where they are told to. */
export const asRoot = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };

const asThreads: Start = async (program, size, ...args) => {
  try {
    await startRanks(program, size, { argv: args, timeout: args[0] === 'late' ? 1 : 60 });
    return { code: 0, output: '' };
  } catch (error) {
    assert.ok(error instanceof DistributedError, String(error));
    return { code: 1, output: error.message };
  }
};

const mpirun =
  (command: string, ...flags: string[]): Start =>
  async (program, size, ...args) => {
    const all = [...flags, '-n', `${size}`, process.execPath, fileURLToPath(program), ...args];
    try {
      const { stdout, stderr } = await execute(command, all, { env: { ...process.env, ...asRoot }, timeout: 120_000 });
      return { code: 0, output: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, output: stdout + stderr };
    }
  };

/** How ranks are started, what that needs, and what they call their transport. */
export const starts = {
  threads: { start: asThreads, needs: null, name: /^workers$/ },
  'Open MPI': { start: mpirun('mpirun.openmpi', '--oversubscribe'), needs: 'mpirun.openmpi', name: /^Open MPI/ },
  MPICH: { start: mpirun('mpirun.mpich'), needs: 'mpirun.mpich', name: /^MPICH/ },
} satisfies Record<string, { start: Start; needs: string | null; name: RegExp }>;

/** Skips a test, or all of a suite, where a launcher is missing; in CI it must be there. */
export function needsLaunchers(context: Mocha.Context, ...launchers: (string | null)[]): void {
  for (const launcher of launchers) {
    if (launcher === null || existsSync(`/usr/bin/${launcher}`)) continue;
    assert.ok(!process.env.CI, `${launcher} is not installed`);
    context.skip();
  }
}

/** Runs a program in `cwd`; `until` is told of what it has written. */
export function run(
  cwd: string,
  words: readonly string[],
  env: Record<string, string> = {},
  until?: (output: string) => void,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const own = { ...asRoot, HOPGRAD_THREADS: '1' };
    const child = spawn(words[0]!, words.slice(1), { cwd, env: { ...process.env, ...own, ...env } });
    let output = '';
    const hear = (chunk: Buffer) => {
      output += chunk;
      until?.(output);
    };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', hear);
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** What starts Node on so many ranks, before its arguments. */
export const open = (ranks: number) => ['mpirun.openmpi', '--oversubscribe', '-n', `${ranks}`, process.execPath];
export const mpich = (ranks: number) => ['mpirun.mpich', '-n', `${ranks}`, process.execPath];
/** Flags of the command that start threads. */
export const threads = (ranks: number) => ['--distributed', 'threads', '--ranks', `${ranks}`];

/** A vision transformer: no batch norm, so ranks are exactly one process. */
export const withoutBatchNorm = {
  ...{ embed_dim: 8, image_resolution: 8, vision_layers: 1, vision_width: 8, vision_patch_size: 4, vision_heads: 2 },
  ...{ context_length: 6, vocab_size: 520, transformer_width: 8, transformer_heads: 2, transformer_layers: 1 },
};
