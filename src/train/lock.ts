/** One process at a time in the folder of a run. */
import { createHash } from 'node:crypto';
import { rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { DataError } from '../tensor/errors.js';

/**
 * Where the processes of this machine meet over a folder. The system itself gives the name back when a process ends,
 * however it ends: a lock file would outlive a kill, and a process number may belong to another by then.
 */
function meetingPlace(folder: string): string {
  const { dev, ino } = statSync(folder, { bigint: true });
  const name = `hopgrad-${createHash('sha256').update(`${dev} ${ino}`).digest('hex').slice(0, 24)}`;
  if (process.platform === 'linux') return `\0${name}`; // not a file
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : join(tmpdir(), name);
}

const listen = (place: string) =>
  new Promise<Server | null>((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
    );
    server.listen(place, () => resolve(server));
  });

/** How often a folder that is taken is asked for again, each time 0.1 s later. */
const patience = 20;

/** Where a socket is a file, one whose process was killed stays behind. */
const isAbandoned = (place: string) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(place)
      .once('connect', () => resolve(false))
      .once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
      .once('close', () => socket.destroy());
  });

/**
 * Keeps other processes of this machine out of a folder.
 * @returns what lets them in again; the end of the process does so too
 * @throws DataError when another process is in it
 */
export async function lockFolder(folder: string): Promise<() => void> {
  const place = meetingPlace(folder);
  let server = await listen(place);
  if (!server && !place.startsWith('\0') && (await isAbandoned(place))) {
    rmSync(place, { force: true });
    server = await listen(place);
  }
  // A start that failed removed its folder, and holds the number of it, which a new folder may have by now, until it has ended.
  for (let tries = 0; !server && tries < patience; tries++) {
    await setTimeout(100);
    server = await listen(place);
  }
  if (!server)
    throw new DataError('train', {
      received: `${folder}, where another process is training`,
      expected: 'one process at a time',
      hint: 'Wait for it, or stop it: it writes a checkpoint.',
    });
  server.unref();
  return () => server.close();
}
