/** Ranks of a command: processes that mpirun started, threads that it starts itself, or this process alone. */
import { writeSync } from 'node:fs';
import { availableParallelism, hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Command, Option } from 'commander';
import { Group } from '../distributed/group.js';
import { joinGroup } from '../distributed/join.js';
import { startedByMpi } from '../distributed/mpi.js';
import { DistributedError } from '../distributed/transport.js';
import { isRank, startRanks } from '../distributed/workers.js';
import { printable, UsageError } from '../tensor/errors.js';
import { silence } from '../train/progress.js';
import { parseCount, parseNumber } from './parse.js';

interface RankFlags {
  distributed: 'auto' | 'off' | 'mpi' | 'threads';
  ranks?: number;
  deterministic: boolean;
  distributedTimeout: number;
}

/** The flags of commands that divide their work. */
export function addRankFlags(command: Command): Command {
  return command
    .optionsGroup('Ranks:')
    .addOption(
      new Option(
        '--distributed <how>',
        'mpi: with the others that mpirun, mpiexec or srun started; threads: --ranks threads of one process, without MPI; auto: mpi where one of these started it',
      )
        .choices(['auto', 'off', 'mpi', 'threads'])
        .default('auto'),
    )
    .option('--ranks <n>', 'with --distributed threads: how many (default: all cores)', parseCount)
    .option('--deterministic', 'add up over ranks in their order: the same bits for as many ranks (default)', true)
    .option('--no-deterministic', 'add up over ranks as MPI does')
    .option('--distributed-timeout <s>', 'seconds that a rank waits for the others', parseNumber, 600);
}

let group = new Group();
/** Ranks on this machine. */
let local = 1;

/** The ranks that this command runs on. */
export const ranks = (): Group => group;

/** Cores that this rank has for itself. */
export const ownCores = (): number => Math.max(1, Math.floor(availableParallelism() / local));

/** Threads that read pictures for this rank, where not told; undefined: the loader's default. */
export const ownWorkers = (): number | undefined =>
  group.size === 1 ? undefined : Math.min(8, Math.max(1, ownCores() - 1));

/**
 * Joins the ranks that the flags ask for, before a command begins. Rank 0 alone speaks. Where threads are asked for, they run the
 * command, and this process ends when they have.
 * @throws UsageError for a command that cannot divide its work, or what is missing; DistributedError
 */
export async function joinRanks(command: Command): Promise<void> {
  const { distributed, ranks: count, deterministic, distributedTimeout: timeout } = command.opts<RankFlags>();
  if (distributed === undefined) return refuseRanks(command.name());
  if (!(timeout > 0))
    throw new UsageError(command.name(), { received: `--distributed-timeout ${timeout}`, expected: 'seconds > 0' });
  if (count !== undefined && distributed !== 'threads')
    throw new UsageError(command.name(), {
      received: `--ranks ${count} with --distributed ${distributed}`,
      expected: '--distributed threads; with MPI mpirun -n says how many',
    });
  if (distributed === 'off') return;
  if (distributed === 'threads' && !isRank()) return runThreads(count ?? availableParallelism(), timeout);
  const transport = distributed === 'mpi' ? 'mpi' : 'auto';
  group = await joinGroup({ transport, timeout, deterministic });
  const host = hostname();
  local = group.gatherJson(host).filter((other) => other === host).length;
  if (group.rank === 0) return;
  silence();
  console.log = () => {};
}

function refuseRanks(name: string): void {
  if (startedByMpi() || isRank())
    throw new UsageError(name, {
      received: 'a start by mpirun, mpiexec or srun',
      expected: 'one process: train, eval, embed, zero-shot and probe divide their work',
    });
}

async function runThreads(size: number, timeout: number): Promise<never> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  try {
    await startRanks(main, size, { timeout, argv: process.argv.slice(2), signals: ['SIGINT', 'SIGTERM', 'SIGHUP'] });
    process.exit(0);
  } catch (error) {
    if (!(error instanceof DistributedError)) throw error;
    if ((error.exitCode ?? 0) < 128) console.error(`hopgrad: ${error.message}`);
    process.exit(error.exitCode ?? 1);
  }
}

/**
 * Ends all ranks because of an error of this one. Where rank 0 has the same to say, as of a wrong flag, it is heard alone: the others
 * leave it half a second. Does nothing in a process alone.
 */
export async function failTogether(error: Error): Promise<void> {
  if (group.size === 1) return;
  if (group.rank > 0) await new Promise((resolve) => setTimeout(resolve, 500));
  writeSync(2, `hopgrad, rank ${group.rank}: ${printable(error.message, Infinity)}\n`);
  process.exit();
}
