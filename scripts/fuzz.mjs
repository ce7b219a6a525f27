// npm run fuzz -- [--times 20] [--seed 7 [--path 12:0:1]] [--grep "one step"]: the random programs of test/fuzz, that
// many times as many as in the suite. Without a seed it takes one from the clock: the same seed tries the same programs.
// With --planted: how soon known faults are found, see fuzz-planted.mjs.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    times: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    path: { type: 'string' },
    grep: { type: 'string', default: '' },
    planted: { type: 'boolean', default: false },
  },
});
if (values.planted) {
  const { planted } = await import('./fuzz-planted.mjs');
  process.exit((await planted(values)) === 0 ? 0 : 1);
}
const { times = '20' } = values;
console.log(`npm run fuzz -- --times ${times} --seed ${values.seed}`);
const { status } = spawnSync(
  process.execPath,
  ['node_modules/mocha/bin/mocha.js', '--no-config', '--grep', values.grep, '.build/test/fuzz/*.test.js'],
  {
    stdio: 'inherit',
    env: {
      ...process.env,
      HOPGRAD_FUZZ_TIMES: times,
      HOPGRAD_FUZZ_SEED: values.seed,
      ...(values.path && { HOPGRAD_FUZZ_PATH: values.path }),
    },
  },
);
process.exitCode = status ?? 1;
