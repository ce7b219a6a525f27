/** `hopgrad serve`: a local page that searches an index. */
import type { Command } from 'commander';
import { UsageError } from '../tensor/errors.js';
import { defaultIndex } from './embed.js';
import { listenForInterrupt } from './interrupt.js';
import { addModelFlags, type ModelFlags } from './model.js';
import { startPageServer } from './page-server.js';
import { parseWhole } from './parse.js';
import { openFinder } from './search.js';

interface ServeFlags extends ModelFlags {
  index?: string;
  port: number;
}

/** Enters `hopgrad serve`. */
export function addServeCommand(program: Command): void {
  const command = program
    .command('serve')
    .description('open a local page to search embedded pictures')
    .option('--index <file>', `vectors of hopgrad embed (default: ${defaultIndex})`)
    .option('--port <n>', 'where it listens, on this machine only; 0: any that is free', parseWhole, 7700);
  addModelFlags(command).action(serve);
}

async function serve(flags: ServeFlags): Promise<void> {
  if (flags.port < 0 || flags.port > 65535)
    throw new UsageError('serve', { received: `--port ${flags.port}`, expected: 'a number, 0 … 65535' });
  const finder = await openFinder(flags);
  const { address, close } = await startPageServer(finder, flags.port);
  console.log(`${finder.index.pictures.length} pictures of ${finder.index.data.path}: ${address}\nCtrl-C ends it.`);
  const interrupt = listenForInterrupt('Ending.');
  await new Promise((resolve) => interrupt.signal.addEventListener('abort', resolve));
  await close();
  interrupt.release();
  process.exitCode = interrupt.exitCode;
}
