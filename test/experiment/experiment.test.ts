/** Experiments: what a file stands for, how runs are carried out and gone on with, and what the numbers come to. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from 'hopgrad';
import { meanInterval, studentBound } from '#src/evaluate/student.js';
import { execute, fixOptions, resultOf } from '#src/experiment/execute.js';
import { intervalFigure, ticks } from '#src/experiment/figure.js';
import { checkExperiment, mainRuns, tuningRuns } from '#src/experiment/plan.js';
import { choices, differences, newResults, type Outcome, readResults } from '#src/experiment/results.js';
import { resultsText } from '#src/experiment/tables.js';
import { ownProgram } from '#src/experiment/train-program.js';
import { temporaryFolder } from '../data/helpers.js';

const file = (value: unknown) => checkExperiment(value, 'it.yaml');

describe('Student’s intervals', () => {
  it('have the bounds of the tables', () => {
    // Abramowitz and Stegun, table 26.10, Q = 0.025, and Q = 0.005 at the end
    const known = { 1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 7: 2.365, 10: 2.228, 30: 2.042, 120: 1.98 };
    for (const [freedom, bound] of Object.entries(known))
      assert.ok(Math.abs(studentBound(Number(freedom)) - bound) < 6e-4, `${freedom}: ${studentBound(Number(freedom))}`);
    assert.ok(Math.abs(studentBound(5, 0.99) - 4.032) < 6e-4);
  });

  it('are of the mean: 2, 4, 9 have mean 5, deviation √13, and half a width of 4.3027 √(13/3)', () => {
    const { mean, sd, half, count } = meanInterval([2, 4, 9]);
    assert.deepEqual([count, mean], [3, 5]);
    assert.ok(Math.abs(sd! - Math.sqrt(13)) < 1e-12 && Math.abs(half! - 4.302653 * Math.sqrt(13 / 3)) < 1e-5);
    assert.deepEqual(meanInterval([7]), { count: 1, mean: 7, sd: null, half: null });
    assert.throws(() => meanInterval([1, Number.NaN]), /NaN/);
  });
});

describe('the file of an experiment', () => {
  it('stands for methods × settings × seeds, later options winning however they are written', () => {
    const runs = mainRuns(
      file({
        options: { 'batch-size': 4, lr: 1 },
        methods: { A: { lr: 2 }, B: null },
        grid: { batchSize: [8, 16], beta1: [0.5] },
        seeds: [3, 4],
      }),
      () => ({ wd: 7 }),
    );
    assert.equal(runs.length, 8);
    assert.deepEqual(runs[0], {
      ...{
        name: 'A-batchSize-8-beta1-0.5-seed3',
        stage: 'main',
        method: 'A',
        setting: 'batchSize 8, beta1 0.5',
        seed: 3,
      },
      ...{ tuned: { wd: 7 }, options: { batchSize: 8, lr: 2, beta1: 0.5, wd: 7, seed: 3 } },
    });
  });

  it('tries the same values for every method', () => {
    const runs = tuningRuns(
      file({
        methods: { A: {}, B: { lr: 5 } },
        settings: { s: {}, t: {} },
        tune: { over: { lr: [1, 2] }, options: { validation: true }, seeds: [8], setting: 't' },
      }),
    );
    const tried = runs.map(({ method, setting, options }) => [method, setting, options.lr, options.validation]);
    assert.deepEqual(tried, [
      ['A', 't', 1, true],
      ['A', 't', 2, true],
      ['B', 't', 1, true],
      ['B', 't', 2, true],
    ]);
  });

  it('refuses unequal budgets, what it gives itself, and unknown names, all at once', () => {
    const wrong = {
      methods: { A: { epochs: 3 }, B: { 'batch-size': 8 } },
      settings: { s: { seed: 1 } },
      baseline: 'C',
      tune: { over: { lr: [1] }, setting: 'u' },
    };
    assert.throws(
      () => file(wrong),
      (error) => {
        assert.ok(error instanceof UsageError);
        for (const part of ['methods.A: epochs', 'methods.B: batch-size', 's: seed', 'baseline: C', 'tune.setting: u'])
          assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        return true;
      },
    );
    assert.throws(() => file({ seeds: [1, 1], methds: {} }), /seeds: expected different ones.*methds|methds.*seeds/);
    assert.throws(() => mainRuns(file({ methods: { 'a b': {}, 'A-b': {} } }), () => ({})), /both called/);
  });
});

describe('the runs of an experiment', function () {
  this.timeout(60_000);
  const logs = temporaryFolder();
  // Counts its calls and who runs beside it; does what its options say.
  const script = `
    import { appendFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
    const [, options, , out] = process.argv.slice(2);
    const { what, seed } = JSON.parse(readFileSync(options, 'utf8'));
    const first = !existsSync(out);
    mkdirSync(out, { recursive: true });
    appendFileSync(out + '/calls', 'x');
    const end = (results) => writeFileSync(out + '/results.json', JSON.stringify(results));
    process.on('SIGINT', () => process.exit(130));
    writeFileSync(out + '/running', '');
    if (what === 'wait') await new Promise((resolve) => setTimeout(resolve, 60000));
    await new Promise((resolve) => setTimeout(resolve, 150));
    appendFileSync(out + '/beside', String(readdirSync(out + '/..').filter((name) => existsSync(out + '/../' + name + '/running')).length));
    rmSync(out + '/running');
    if (what === 'killed' && first) process.kill(process.pid, 'SIGKILL');
    if (what === 'fails') { console.log('hopgrad: no such thing'); process.exit(1); }
    end(what === 'diverges' ? { diverged: 'NaN at step 3' } : { metrics: { score: seed } });`;
  let command: string[];
  before(() => {
    writeFileSync(join(logs, 'program.mjs'), script);
    command = [process.execPath, join(logs, 'program.mjs')];
  });
  const carryOut = async (methods: Record<string, object>, place: string, signal = new AbortController().signal) => {
    const program = ownProgram(command);
    const folder = join(logs, place);
    const runs = mainRuns(file({ methods, seeds: [1, 2] }), () => ({}));
    fixOptions({ logs: folder, program }, runs);
    const ended: string[] = [];
    const results = await execute(runs, {
      ...{ logs: folder, program, processes: 2, signal, say() {} },
      onEnd: ({ name }) => ended.push(name),
    });
    const text = (name: string, what: string) => readFileSync(join(folder, name, what), 'utf8');
    return { results, ended, text, statuses: results.map(({ name, outcome }) => `${name} ${outcome.status}`) };
  };

  it('run side by side, as many as allowed; the killed go on, the finished are not repeated, none is lost', async () => {
    const methods = { good: {}, bad: { what: 'fails' }, nan: { what: 'diverges' }, unlucky: { what: 'killed' } };
    const first = await carryOut(methods, 'many');
    assert.deepEqual(first.statuses, [
      ...['good-seed1 finished', 'bad-seed1 failed', 'nan-seed1 diverged', 'unlucky-seed1 failed'],
      ...['good-seed2 finished', 'bad-seed2 failed', 'nan-seed2 diverged', 'unlucky-seed2 failed'],
    ]);
    const reasonOf = (name: string) => first.results.find((one) => one.name === name)!.outcome as { reason: string };
    assert.match(reasonOf('bad-seed1').reason, /exit code 1: hopgrad: no such thing/);
    assert.match(reasonOf('unlucky-seed1').reason, /ended by SIGKILL/);
    const beside = first.results.map(({ name }) => Number(first.text(name, 'beside')));
    assert.equal(Math.max(...beside), 2, `${beside}`);
    const again = await carryOut(methods, 'many');
    assert.deepEqual(again.ended.sort(), ['bad-seed1', 'bad-seed2', 'unlucky-seed1', 'unlucky-seed2']);
    assert.equal(again.results.find(({ name }) => name === 'unlucky-seed2')!.outcome.status, 'finished');
    assert.deepEqual([again.text('good-seed1', 'calls'), again.text('unlucky-seed1', 'calls')], ['x', 'xx']);
  });

  it('stop when told to, and are then still to do', async () => {
    const stop = new AbortController();
    const waiting = carryOut({ slow: { what: 'wait' } }, 'stopped', stop.signal);
    const isRunning = () => existsSync(join(logs, 'stopped', 'slow-seed2', 'running'));
    while (!isRunning()) await new Promise((resolve) => setTimeout(resolve, 50));
    stop.abort();
    assert.deepEqual((await waiting).statuses, ['slow-seed1 to do', 'slow-seed2 to do']);
  });

  it('are not mixed with runs of other options', async () => {
    await carryOut({ good: { lr: 1 } }, 'changed');
    await assert.rejects(
      carryOut({ good: { lr: 2 } }, 'changed'),
      /good-seed1, which was begun with other options: lr 1, here 2/,
    );
    rmSync(join(logs, 'changed', 'good-seed1.json'));
    const run = mainRuns(file({ methods: { good: {} } }), () => ({}))[0]!;
    assert.equal(
      resultOf({ logs: join(logs, 'changed'), program: ownProgram(command) }, run).outcome.status,
      'finished',
    );
  });
});

describe('the results of an experiment', () => {
  const experiment = file({
    methods: { A: {}, B: {} },
    seeds: [1, 2, 3],
    metrics: ['score'],
    tune: { over: { lr: [1, 2, 3] }, metric: 'score', seeds: [8, 9] },
  });
  const ended = (score: number): Outcome => ({ status: 'finished', metrics: { score }, seconds: 1 });
  const main = (outcomes: Record<string, Outcome>) =>
    mainRuns(experiment, () => ({ lr: 2 })).map(({ options: _, ...run }) => ({
      ...run,
      outcome: outcomes[`${run.method}${run.seed}`] ?? { status: 'to do' as const },
    }));
  const resultsOf = (outcomes: Record<string, Outcome>) =>
    newResults(experiment, { name: 'it', settings: [''], tuning: null, runs: main(outcomes) });

  it('pair seeds: what varies with the seed cancels, and a seed that one lacks is left out of the difference alone', () => {
    const results = resultsOf({ A1: ended(10), A2: ended(50), A3: ended(90), B1: ended(11), B2: ended(52) });
    const [only, ...others] = differences(results);
    assert.equal(others.length, 0);
    assert.deepEqual([only!.a.method, only!.b.method, only!.pairs], ['B', 'A', [1, 2]]);
    assert.equal(only!.interval!.mean, 1.5);
    const text = resultsText(results);
    assert.match(text, /\| A +\| 3 of 3 \| 50 ± 40 /);
    assert.match(text, /\| B +\| 2 of 3 \| 31.5 ± 28.99 /);
    assert.match(text, /B − A +\| \+1.5 \[−4.853, \+7.853\], n 2/);
    assert.match(text, /Runs without a result:\n\n- B-seed3: to do/);
  });

  it('choose the best mean; a value that diverged once is out, and nothing is chosen while a run is missing', () => {
    const scores: Record<string, Outcome[]> = {
      A: [ended(1), ended(2), ended(5), ended(5), { status: 'diverged', reason: 'NaN' }, ended(99)],
      B: [ended(1), ended(1), ended(9), { status: 'failed', reason: 'killed' }, ended(1), ended(1)],
    };
    const runs = tuningRuns(experiment).map(({ options: _, ...run }) => {
      const at = 2 * (Number(run.tuned.lr) - 1) + (run.seed - 8);
      return { ...run, outcome: scores[run.method]![at]! };
    });
    const [choice, ...others] = choices(experiment, runs);
    assert.equal(others.length, 0, 'B has no choice yet');
    assert.deepEqual(choice, {
      ...{ method: 'A', setting: '', chosen: { lr: 2 }, atEdge: [] },
      candidates: [
        { values: { lr: 1 }, mean: 1.5 },
        { values: { lr: 2 }, mean: 5 },
        { values: { lr: 3 }, mean: null },
      ],
    });
  });

  it('are one file that tables are made from again', () => {
    const results = resultsOf({ A1: ended(1), B1: ended(2), B2: { status: 'diverged', reason: 'NaN' } });
    const path = join(temporary, 'experiment.json');
    writeFileSync(path, JSON.stringify(results));
    assert.deepEqual(readResults(path), results);
    assert.equal(resultsText(readResults(path)), resultsText(results));
    writeFileSync(path, JSON.stringify({ ...results, runs: 3 }));
    assert.throws(() => readResults(path), /runs/);
  });

  it('are drawn on one scale, with names as text', () => {
    const svg = intervalFigure(
      [
        { label: '<a> & b', values: [1, 2, 3] },
        { label: 'c', values: [-1] },
      ],
      { title: 't', alt: 'x', zero: true },
    );
    assert.match(svg, /&lt;a&gt; &amp; b/);
    const at = (name: string) =>
      [...svg.matchAll(new RegExp(`cx="([\\d.]+)"[^>]*class="${name}"`, 'g'))].map((m) => Number(m[1]));
    const [one, two, three, minus] = at('seed') as [number, number, number, number];
    assert.ok(Math.abs(three - two - (two - one)) < 0.2 && Math.abs(one - minus - 2 * (two - one)) < 0.3);
    assert.deepEqual(ticks(-0.07, 0.31), [0, 0.1, 0.2, 0.3]);
    assert.deepEqual(ticks(97, 130), [100, 110, 120, 130]);
  });
  const temporary = temporaryFolder();
});
