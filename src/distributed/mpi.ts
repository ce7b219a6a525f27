/**
 * MPI through koffi: Open MPI and MPICH (with what follows its ABI, as Intel's and Cray's), found at run time.
 *
 * Collectives are started without blocking and then asked for: so a time-out can be told, and ranks that share cores leave
 * them to one another while they wait.
 * @source MPI 3.1; handles as ompi's and mpich's mpi.h define them
 */
import { writeSync } from 'node:fs';
import { describeValue, HopgradError, UsageError } from '../tensor/errors.js';
import { DistributedError, type Transport } from './transport.js';

/** What is used of koffi. */
interface Koffi {
  load(path: string, options?: { global?: boolean }): Library;
}
interface Library {
  func(prototype: string): (...args: unknown[]) => number;
  symbol(name: string, type: string): unknown;
}

/** What the two families of libraries define differently. */
interface Family {
  name: string;
  /** The C type of handles. */
  handle: 'void *' | 'int';
  handles(library: Library): Record<'world' | 'byte' | 'float' | 'double' | 'sum' | 'errorsReturn', unknown>;
}

const openMpi: Family = {
  name: 'Open MPI',
  handle: 'void *', // addresses of the library's own objects
  handles(library) {
    const object = (name: string) => library.symbol(`ompi_${name}`, 'void');
    return {
      world: object('mpi_comm_world'),
      byte: object('mpi_byte'),
      float: object('mpi_float'),
      double: object('mpi_double'),
      sum: object('mpi_op_sum'),
      errorsReturn: object('mpi_errors_return'),
    };
  },
};
const mpich: Family = {
  name: 'MPICH',
  handle: 'int', // constants of its ABI
  handles: () => ({
    world: 0x44000000,
    byte: 0x4c00010d,
    float: 0x4c00040a,
    double: 0x4c00080b,
    sum: 0x58000003,
    errorsReturn: 0x54000001,
  }),
};

/** Names that the libraries go by, the likelier one first: who started this process left traces in its environment. */
function candidates(env: NodeJS.ProcessEnv): string[] {
  const named = env.HOPGRAD_MPI_LIBRARY;
  if (named) return [named];
  const open = ['libmpi.so.40', 'libmpi.so.20', 'libmpi.40.dylib', 'libmpi.dylib'];
  const mpi = ['libmpich.so.12', 'libmpi.so.12', 'libmpich.so', 'libmpi.12.dylib'];
  const byOpen = env.OMPI_COMM_WORLD_SIZE !== undefined;
  return [...(byOpen ? [...open, ...mpi] : [...mpi, ...open]), 'libmpi.so'];
}

/** Whether this process was started by mpirun, mpiexec or srun. */
export const startedByMpi = (env: NodeJS.ProcessEnv = process.env): boolean =>
  ['OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'PMIX_RANK', 'PMI_RANK'].some((name) => env[name] !== undefined);

async function loadKoffi(): Promise<Koffi> {
  try {
    const module = (await import('koffi')) as unknown as Koffi & { default?: Koffi };
    return module.default ?? module;
  } catch (cause) {
    throw new UsageError('MPI', {
      received: 'no koffi, which calls the MPI library',
      expected: 'koffi beside hopgrad: npm install koffi',
      cause,
    });
  }
}

/**
 * UCX, which carries MPICH's and some Open MPI's messages, rewrites brk, mmap and munmap while the program runs in order to
 * hear of them; threads of V8 that allocate at that moment crash. It also takes the signal by which V8 notices WebAssembly
 * that reads out of bounds. Both are turned off before it is loaded, unless the user says otherwise.
 * @source UCX, `ucx_info -cf`
 */
function tameUcx(env: NodeJS.ProcessEnv): void {
  env.UCX_MEM_EVENTS ??= 'no';
  env.UCX_ERROR_SIGNALS ??= '';
}

function loadLibrary(koffi: Koffi): { library: Library; version: string; family: Family } {
  const reasons: string[] = [];
  tameUcx(process.env);
  for (const path of candidates(process.env))
    try {
      // Open MPI loads parts of itself that look for its symbols: they must be seen by all.
      const library = koffi.load(path, { global: true });
      const bytes = new Uint8Array(8192); // MPI_MAX_LIBRARY_VERSION_STRING
      const length = new Int32Array(1);
      library.func('int MPI_Get_library_version(void *version, void *length)')(bytes, length);
      const version = new TextDecoder().decode(bytes.subarray(0, length[0])).replace(/\0.*/s, '');
      return { library, version, family: /open mpi/i.test(version) ? openMpi : mpich };
    } catch (error) {
      reasons.push(`${path}: ${(error as Error).message}`);
    }
  throw new UsageError('MPI', {
    received: `no MPI library (${reasons.join('; ')})`,
    expected: 'Open MPI or MPICH: apt install openmpi-bin, or mpich; dnf install openmpi; brew install open-mpi',
    hint: 'HOPGRAD_MPI_LIBRARY names the file of a library that lies elsewhere.',
  });
}

/** Most bytes of one message: counts are 32-bit. */
const mostBytes = 2 ** 30;

/**
 * Starts MPI. It ends with the process: in order after code 0, otherwise with MPI_Abort, which ends the other ranks too.
 * @param timeout seconds that a rank waits for others
 * @throws UsageError without koffi or a library; DistributedError when MPI fails, naming call and rank
 */
export async function mpiTransport({ timeout }: { timeout: number }): Promise<Transport> {
  if (!(timeout > 0))
    throw new UsageError('MPI', { received: `timeout ${describeValue(timeout)}`, expected: 'seconds > 0' });
  const { library, version, family } = loadLibrary(await loadKoffi());
  const handles = family.handles(library);
  const name = version.split(/[\n,]/)[0]!.trim();
  let rank = -1;

  /** A function of MPI, H standing for handles; codes other than 0 are errors. */
  const bind = (call: string, parameters: string) => {
    const f = library.func(`int ${call}(${parameters.replaceAll('H', family.handle)})`);
    return (...args: unknown[]): void => {
      const code = f(...args);
      if (code !== 0) throw failure(call, code);
    };
  };
  const errorString = library.func('int MPI_Error_string(int code, void *text, void *length)');
  function failure(call: string, code: number): DistributedError {
    const [text, length] = [new Uint8Array(512), new Int32Array(1)];
    errorString(code, text, length);
    const said = new TextDecoder().decode(text.subarray(0, length[0]));
    return new DistributedError(call, { received: `error ${code} on rank ${rank}: ${said}`, expected: 'success' });
  }

  const funneled = 1; // MPI_THREAD_FUNNELED: other threads exist, and make no calls
  bind('MPI_Init_thread', 'void *argc, void *argv, int required, void *provided')(
    null,
    null,
    funneled,
    new Int32Array(1),
  );
  bind('MPI_Comm_set_errhandler', 'H comm, H handler')(handles.world, handles.errorsReturn);
  const asked = new Int32Array(1);
  bind('MPI_Comm_rank', 'H comm, void *rank')(handles.world, asked);
  rank = asked[0]!;
  bind('MPI_Comm_size', 'H comm, void *size')(handles.world, asked);
  const size = asked[0]!;

  const start = {
    allGather: bind(
      'MPI_Iallgather',
      'const void *send, int count, H type, void *receive, int receives, H receiveType, H comm, void *request',
    ),
    allToAll: bind(
      'MPI_Ialltoall',
      'const void *send, int count, H type, void *receive, int receives, H receiveType, H comm, void *request',
    ),
    sum: bind('MPI_Iallreduce', 'const void *send, void *receive, int count, H type, H op, H comm, void *request'),
    broadcast: bind('MPI_Ibcast', 'void *data, int count, H type, int root, H comm, void *request'),
    barrier: bind('MPI_Ibarrier', 'H comm, void *request'),
  };
  const test = bind('MPI_Test', 'void *request, void *flag, void *status');
  const status = new Uint8Array(128); // larger than either family's
  const flag = new Int32Array(1);
  const sleeping = new Int32Array(new SharedArrayBuffer(4));

  /** What MPI reads or writes until it has finished: nothing else may hold it, and after a time-out MPI still may. */
  const inFlight = new Set<ArrayBufferView>();

  const send = bind('MPI_Isend', 'const void *data, int count, H type, int to, int tag, H comm, void *request');
  const probe = bind('MPI_Iprobe', 'int from, int tag, H comm, void *flag, void *status');
  const others = Array.from({ length: size }, (_, r) => r).filter((r) => r !== rank);
  const notice = new Uint8Array(1);
  /** Collectives so far: the same number on all ranks, or they are lost anyway. */
  let calls = 0;

  /**
   * Waits for a request on `buffers`: first asking again and again, then leaving the core to others in between.
   * @param patient without a time-out
   * @throws DistributedError after the time-out, naming who is not in the same call
   */
  function finish(op: string, request: Uint8Array, buffers: ArrayBufferView[], patient = false): void {
    for (const buffer of buffers) inFlight.add(buffer);
    wait(op, request, patient ? Infinity : timeout * 1000);
    for (const buffer of buffers) inFlight.delete(buffer);
  }

  /**
   * MPI does not tell who is missing in a collective. So who has waited for half of the time-out says so to all, and who hears that
   * while it waits in the same call answers likewise: in the end those who have said nothing are late. Nothing is sent before.
   */
  function wait(op: string, request: Uint8Array, limit: number): void {
    const begin = performance.now();
    const tag = 1 + (calls++ % 30_000);
    const pause = Math.min(1000, limit / 8);
    let told = false;
    let look = pause;
    const waits = (r: number) => {
      probe(r, tag, handles.world, flag, status);
      return flag[0] !== 0;
    };
    for (let asks = 0; ; asks++) {
      test(request, flag, status);
      if (flag[0] !== 0) return;
      if (asks < 200) continue;
      const waited = performance.now() - begin;
      if (waited > look) {
        look = waited + pause;
        if (!told && (waited > limit / 2 || others.some(waits))) {
          for (const r of others) send(notice, 1, handles.byte, r, tag, handles.world, new Uint8Array(8));
          told = true;
        }
        if (waited > limit + 2 * pause) {
          const late = others.filter((r) => !waits(r));
          throw new DistributedError(op, {
            received: `rank ${rank} waited ${limit / 1000} s for ${late.map((r) => `rank ${r}`).join(', ') || 'what others send'}`,
            expected: 'all ranks to make the same calls in the same order',
            hint: 'One may hang, be much slower, or have ended; --distributed-timeout sets how long to wait.',
          });
        }
      }
      Atomics.wait(sleeping, 0, 0, waited < 5 ? 0.02 : 0.2);
    }
  }
  const request = () => new Uint8Array(8);

  /** Runs `piece` on ranges of at most `most` bytes of `length`. */
  function inPieces(length: number, most: number, piece: (from: number, to: number) => void): void {
    for (let from = 0; from < length; from += most) piece(from, Math.min(from + most, length));
  }

  const transport: Transport = {
    name,
    rank,
    size,
    allGather(send, receive) {
      const most = Math.floor(mostBytes / size);
      inPieces(send.length, most, (from, to) => {
        const part = send.subarray(from, to);
        const whole = part.length === send.length;
        const into = whole ? receive : new Uint8Array(size * part.length);
        const r = request();
        start.allGather(part, part.length, handles.byte, into, part.length, handles.byte, handles.world, r);
        finish('allGather', r, [part, into]);
        if (!whole)
          for (let s = 0; s < size; s++)
            receive.set(into.subarray(s * part.length, (s + 1) * part.length), s * send.length + from);
      });
    },
    allToAll(send, receive) {
      const length = send.length / size;
      inPieces(length, Math.floor(mostBytes / size), (from, to) => {
        const whole = to - from === length;
        const take = (r: number) => send.subarray(r * length + from, r * length + to);
        const out = whole ? send : new Uint8Array(size * (to - from));
        if (!whole) for (let s = 0; s < size; s++) out.set(take(s), s * (to - from));
        const into = whole ? receive : new Uint8Array(out.length);
        const r = request();
        start.allToAll(out, to - from, handles.byte, into, to - from, handles.byte, handles.world, r);
        finish('allToAll', r, [out, into]);
        if (!whole)
          for (let s = 0; s < size; s++)
            receive.set(into.subarray(s * (to - from), (s + 1) * (to - from)), s * length + from);
      });
    },
    sum(data) {
      const type = data instanceof Float64Array ? handles.double : handles.float;
      const most = mostBytes / data.BYTES_PER_ELEMENT;
      inPieces(data.length, most, (from, to) => {
        const part = data.subarray(from, to);
        const r = request();
        const before = part.slice();
        start.sum(before, part, part.length, type, handles.sum, handles.world, r);
        finish('allReduce', r, [before, part]);
      });
    },
    broadcast(data, root) {
      inPieces(data.length, mostBytes, (from, to) => {
        const part = data.subarray(from, to);
        const r = request();
        start.broadcast(part, part.length, handles.byte, root, handles.world, r);
        finish('broadcast', r, [part]);
      });
    },
    barrier(patient) {
      const r = request();
      start.barrier(handles.world, r);
      finish('barrier', r, [], patient);
    },
    leave() {
      finalize();
      left = true;
    },
  };
  let left = false;
  const finalize = library.func('int MPI_Finalize()');
  const abort = library.func(`int MPI_Abort(${family.handle} comm, int code)`);
  // Before Node prints what ended a process, its exit handlers run, and MPI_Abort does not return.
  process.on('uncaughtExceptionMonitor', (error) => {
    writeSync(2, `rank ${rank}: ${error instanceof HopgradError ? error.message : (error?.stack ?? error)}\n`);
  });
  process.on('exit', (code) => {
    if (left) return;
    if (code === 0) return void finalize();
    writeSync(2, `rank ${rank} ended with code ${code}, and so all do\n`);
    Atomics.wait(sleeping, 0, 0, 200); // MPICH's launcher drops what it has not read when it hears of the end
    abort(handles.world, code);
  });
  return transport;
}
