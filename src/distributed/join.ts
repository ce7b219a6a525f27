/** Which group this process or thread belongs to. */
import { DomainError, describeValue } from '../tensor/errors.js';
import { Group, type GroupOptions } from './group.js';
import { mpiTransport, startedByMpi } from './mpi.js';
import { isRank, workerTransport } from './workers.js';

/** How a process finds the others. */
export interface JoinOptions extends GroupOptions {
  /**
   * 'auto', the default: MPI where mpirun, mpiexec or srun started this process, the threads of startRanks in one of them,
   * otherwise a group of one. 'mpi' asks for MPI in any case, 'none' for a group of one.
   */
  transport?: 'auto' | 'mpi' | 'none';
  /** Seconds that a rank waits for the others before it gives up. Default 600. */
  timeout?: number;
}

/**
 * The group of this process or thread. Under MPI it is joined once; a process that ends with another code than 0 ends all.
 * @throws UsageError when MPI or koffi is missing, saying what to install; DistributedError when MPI fails
 * @example
 * const group = await joinGroup();              // mpirun -n 4 node train.js
 * const loss = cloobLossOf(group, images, texts, { invTau: 30, beta: 8 });
 * loss.backward();
 * group.sumGradients(model.parameters());
 */
export async function joinGroup({ transport = 'auto', timeout = 600, ...options }: JoinOptions = {}): Promise<Group> {
  if (transport !== 'auto' && transport !== 'mpi' && transport !== 'none')
    throw new DomainError('joinGroup', {
      received: `transport ${describeValue(transport)}`,
      expected: "'auto', 'mpi' or 'none'",
    });
  if (transport === 'auto' && isRank()) return new Group(workerTransport(), options);
  if (transport === 'mpi' || (transport === 'auto' && startedByMpi()))
    return new Group(await mpiTransport({ timeout }), options);
  return new Group(undefined, options);
}
