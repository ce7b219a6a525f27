/** Files that commands write: whether they can be is known before the work, not after it. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DataError } from '../tensor/errors.js';

/** @throws DataError when `path`, which `flag` names, is a folder, or in none that can be written to */
export function checkOutput(op: string, flag: string, path: string): void {
  const fail = (why: string) => {
    throw new DataError(op, { received: `${flag} ${path}: ${why}`, expected: 'a file in a writable folder' });
  };
  const folder = dirname(path);
  if (!existsSync(folder)) fail(`no folder ${folder}`);
  if (!statSync(folder).isDirectory()) fail(`${folder} is no folder`);
  if (existsSync(path) && statSync(path).isDirectory()) fail('a folder');
  try {
    accessSync(folder, constants.W_OK);
  } catch (error) {
    fail((error as Error).message);
  }
}
