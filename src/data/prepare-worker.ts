/** The thread that a Preparer starts: one job in, one answer out. */
import { parentPort } from 'node:worker_threads';
import { type PrepareJob, prepare } from './preparer.js';

parentPort!.on('message', async (job: PrepareJob) => {
  const prepared = await prepare(job);
  parentPort!.postMessage(prepared, 'pixels' in prepared ? [prepared.pixels.buffer as ArrayBuffer] : []);
});
