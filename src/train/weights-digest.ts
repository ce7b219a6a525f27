/** What weights are, whatever file they came from. */
import { createHash } from 'node:crypto';
import type { Module } from '../nn/module.js';
import { bytesOf } from '../tensor/bytes.js';

/** SHA-256 of the names, shapes and numbers of a module's state. */
export async function weightsDigest(module: Module): Promise<string> {
  const hash = createHash('sha256');
  for (const [name, value] of Object.entries(module.stateDict()))
    hash.update(JSON.stringify([name, value.shape])).update(bytesOf(await value.data()));
  return hash.digest('hex');
}
