/** The study's programs in their quick forms: properties see the bugs, and the small world is what it says. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { init, Random, randn, type Tensor } from 'hopgrad';
import { ClipTokenizer, configs, createModel, saveCheckpoint } from 'hopgrad/models/cloob';
import { cloobLoss, hopfieldRetrieve } from 'hopgrad/nn';

/** What a chapter leaves in study/results. */
interface Results {
  parts: { kind: string; id?: string; table?: string }[];
  numbers: Record<string, string>;
}

interface Chapter {
  run(found: unknown, budget: unknown): Promise<void>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the study', function () {
  this.timeout(300_000);
  // biome-ignore lint/suspicious/noExplicitAny: compiled here, so not known to this compilation
  let world: any;
  // biome-ignore lint/suspicious/noExplicitAny: the same
  let zoo: any;
  /** Chapters that train, with little to do. */
  const trained = ['geometry', 'leads', 'sensitivity', 'niches', 'early', 'transfer'];
  // biome-ignore lint/suspicious/noExplicitAny: the same
  let transfer: any;
  // biome-ignore lint/suspicious/noExplicitAny: the same
  let early: any;
  let icons: Chapter;
  let iconsTransfer: Chapter;
  let Findings: new (chapter: Chapter) => { results: Results; figures: Map<string, string> };
  let quickly: (name: string) => Promise<{ results: Results; figures: Map<string, string> }>;
  before(async () => {
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
    execFileSync(process.execPath, [tsc, '-p', join(root, 'study')], { stdio: 'pipe' });
    const load = (name: string) => import(pathToFileURL(join(root, '.build/study', `${name}.js`)).href);
    [world, zoo, transfer] = [await load('world'), await load('bug-zoo'), await load('transfer-judges')];
    early = await load('early');
    ({ icons } = await load('icons'));
    ({ iconsTransfer } = await load('icons-transfer'));
    let modules: Record<string, Chapter>[];
    [{ Findings }, ...modules] = await Promise.all(['record', ...trained].map(load));
    quickly = async (name) => {
      const chapter = modules.map((module) => module[name]).find(Boolean)!;
      const found = new Findings(chapter);
      await chapter.run(found, { steps: 2, seeds: [1], rates: [3e-3], pictures: 20, iterations: 5 });
      return found;
    };
  });

  it('has a property for each bug, which the right program has and the wrong one has not', async () => {
    const all = await zoo.specimens();
    assert.equal(all.length, 8);
    for (const { id, right, wrong, bound } of all)
      assert.ok(right <= bound && wrong > 1e-3, `${id}: ${right}, ${wrong}`);
  });

  it('measures as by hand: reciprocal ranks and areas, ties halved', () => {
    // rows: ranks 1, 2 (of two), 1.5 of a tie; columns the same way round
    assert.equal(world.reciprocalRank([1, 0, 0, 5], 2), 1);
    assert.equal(world.reciprocalRank([0, 1, 1, 0], 2), 1 / 2);
    assert.equal(world.reciprocalRank([1, 1, 1, 1], 2), 1 / 1.5);
    assert.equal(world.area([0.1, 0.4, 0.35, 0.8], [false, false, true, true]), 0.75);
    assert.equal(world.area([1, 1, 1], [true, false, true]), 0.5);
  });

  it('has a world in which attributes occur together, and a twin of the same frequencies in which they do not', () => {
    const made = world.makeWorld();
    const look = (correlated: boolean) => {
      const things: { has: boolean[] }[] = world.makeThings(made, 3000, correlated, new Random(3));
      const share = (test: (has: boolean[]) => boolean) => things.filter(({ has }) => test(has)).length / things.length;
      const frequency = made.frequency.map((_: number, i: number) => share((has) => has[i]!));
      let together = 0;
      for (let i = 0; i < 40; i++)
        for (let j = 0; j < i; j++)
          together += Math.abs(share((has) => has[i]! && has[j]!) - frequency[i] * frequency[j]) / 780;
      const off = Math.max(...frequency.map((f: number, i: number) => Math.abs(f - made.frequency[i])));
      return { together, off };
    };
    const [main, twin] = [look(true), look(false)];
    assert.ok(main.off < 0.04 && twin.off < 0.04, `${main.off}, ${twin.off}`);
    assert.ok(main.together > 5 * twin.together, `${main.together}, ${twin.together}`);
  });

  it('says how far a difference of shares may be off: paired, over seeds and trials', () => {
    const runs = (...shares: number[]) =>
      shares.map((share) => ({ probe: Array.from({ length: 400 }, (_, i) => i < 400 * share) }));
    const ends = (one: unknown, other: unknown) =>
      (transfer.differenceText(transfer.difference(one, other, 'probe')) as string)
        .replaceAll('−', '-')
        .match(/[-+][\d.]+/g)!
        .map(Number);
    assert.deepEqual(ends(runs(0.3, 0.7), runs(0.3, 0.7)), [0, 0, 0]); // what both share cancels
    assert.deepEqual(ends(runs(1), runs(0)), [100, 100, 100]);
    const [mean, low, high] = ends(runs(0.5), runs(0)); // ±1.96 √(½ · ½ / 400) = ±4.9
    assert.ok(mean === 50 && Math.abs(low! - 45.1) < 1 && Math.abs(high! - 54.9) < 1, `${low}, ${high}`);
    const [, from, to] = ends(runs(0.2, 0.8), runs(0, 0)); // either seed may be drawn twice
    assert.ok(from! < 22 && to! > 78, `${from}, ${to}`);
  });

  it('compares answers as the loss of CLOOB does, and centred ones have no mean', async () => {
    const unit = (seed: number) => randn([12, 6], { dtype: 'float64', device: 'reference', seed }).l2Normalize();
    const [x, y] = [unit(1), unit(2)];
    const [own, expected] = [early.onAnswers(early.answers, x, y), cloobLoss(x, y, { invTau: 30, beta: 8 })];
    assert.ok(Math.abs((await own.item()) - (await expected.item())) < 1e-12);
    // Lengths are divided out: with those that they had, the rows of each kind add up to nothing.
    const asked = { imageFromImage: [x, x], imageFromText: [y, x], textFromImage: [x, y], textFromText: [y, y] };
    const centred = early.centredAnswers(x, y) as Record<string, Tensor>;
    for (const [name, [state, stored]] of Object.entries(asked)) {
      const raw = hopfieldRetrieve(state!, stored!, { beta: 8 });
      const off = raw.sub(raw.mean({ axis: 0, keepDims: true }));
      const lengths = off.square().sum({ axis: 1, keepDims: true }).sqrt();
      const sum = centred[name]!.mul(lengths).sum({ axis: 0 });
      assert.ok((await sum.abs().max().item()) < 1e-12, name);
      assert.ok(
        (await centred[name]!.mul(off)
          .sum({ axis: 1 })
          .sub(lengths.reshape([12]))
          .abs()
          .max()
          .item()) < 1e-12,
      );
    }
  });

  it('has chapters of trainings whose quick forms find numbers wherever the full ones do', async () => {
    for (const name of trained) {
      const kept = JSON.parse(readFileSync(join(root, `study/results/${name}.json`), 'utf8')) as Results;
      const { results, figures } = await quickly(name);
      const ids = (of: Results) => of.parts.map(({ kind, id }) => `${kind} ${id}`);
      assert.deepEqual(ids(results), ids(kept), name);
      assert.deepEqual(Object.keys(results.numbers), Object.keys(kept.numbers), name);
      for (const text of [...results.parts.map(({ table }) => table ?? ''), ...Object.values(results.numbers)])
        assert.doesNotMatch(text, /NaN|undefined|Infinity/, name);
      assert.equal(figures.size, results.parts.filter(({ kind }) => kind === 'figure').length, name);
    }
  });

  it('reads what an experiment on icons came to, and asks its models about pictures of other kinds', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'icons-'));
    try {
      const config = { ...configs['emoji-resnet'], vision_width: 8, transformer_width: 64 };
      const tokenizer = ClipTokenizer.train(['red heart', 'blue circle'], { vocabSize: 600 });
      const methods = ['One', 'Two'];
      const runs = methods.flatMap((method, m) =>
        [1, 2].map((seed) => {
          // One has 10 and 12 %, Two 14 and 18 %: 4 and 6 points apart.
          const share = [10, 12, 14, 18][2 * m + seed - 1]! / 100;
          const metrics: Record<string, number> = { meanRecall: share, recallAt1: share, zeroShot: share };
          for (const set of ['A', 'B', 'C', 'D'])
            for (const judge of ['trained', 'neighbours', 'pixels', 'hog'])
              for (const way of ['imageToText', 'textToImage']) {
                for (const k of [1, 5, 10]) metrics[`${set}/names/${judge}/${way}/recall/${k}`] = share + k / 1000;
                metrics[`${set}/names/${judge}/${way}/count`] = 200;
              }
          const outcome = { status: 'finished', metrics, seconds: 1 };
          return { name: `${method}-${seed}`, stage: 'main', method, setting: '', seed, tuned: { lr: 1e-3 }, outcome };
        }),
      );
      for (const { name, seed } of runs) {
        mkdirSync(join(folder, name));
        const model = createModel({ ...config, vocab_size: tokenizer.vocabSize }, { seed });
        await saveCheckpoint(join(folder, name, 'model.safetensors'), { model, tokenizer });
      }
      const kind = { format: 'hopgrad experiment', version: 1, name: 'icons', title: 'Icons' };
      const results = { ...kind, date: new Date().toISOString(), methods, settings: [''], seeds: [1, 2], metrics: [] };
      const write = (file: string, content: object) =>
        writeFileSync(file, JSON.stringify({ ...results, baseline: null, tuning: null, runs, ...content }));
      write(join(folder, 'experiment.json'), {});
      const settings = ['emoji', 'icons and emoji'];
      const corpora = join(folder, 'corpora');
      mkdirSync(corpora);
      // "Trained on both": the very model that icons have for this seed. "On emoji": the other.
      const others = settings.map((setting, s) => ({ ...runs[2]!, name: `../Two-${2 - s}`, setting }));
      write(join(corpora, 'experiment.json'), { methods: ['Two'], settings, seeds: [1], runs: others });
      const found = new Findings(icons);
      const long = join(folder, 'long');
      mkdirSync(long);
      write(join(long, 'experiment.json'), { methods: ['Two'], runs: [{ ...runs[2]!, outcome: runs[3]!.outcome }] });
      await icons.run(found, { folder, long });
      await iconsTransfer.run(found, { folder, corpora, pictures: 30, iterations: 5, whole: false });
      const table = (id: string) => (found.results as Results).parts.find((part) => part.id === id)!.table!;
      assert.match(table('methods'), /Two .* 16\.0 ± 2\.8 /);
      assert.match(table('imageToText'), /One .* 11\.1 ± 1\.4 \/ 11\.5 ± 1\.4 \/ 12\.0 ± 1\.4 /);
      assert.match(table('textToImage'), /guessing .* 0\.5 \/ 2\.5 \/ 5\.0 /);
      assert.match(table('paired'), /Two \| 5\.0 \[−7\.7, 17\.7\]/); // t = 12.7 for two seeds, s/√2 = 1
      assert.match(table('longer'), /Two \|\s+1 \| 14\.0 → 18\.0 /);
      assert.match(table('digits'), /One .* \[/);
      const corporaRows = table('corpora-1')
        .split('\n')
        .slice(2)
        .map((line) => line.split(' | '));
      assert.ok(
        corporaRows.every((row) => /\+0\.0 \[\+0\.0, \+0\.0\]/.test(row[5]!)),
        table('corpora-1'),
      );
      assert.ok(corporaRows.some(([, , onEmoji, onBoth]) => onEmoji !== onBoth));
      assert.doesNotMatch(found.results.parts.map(({ table = '' }) => table).join(), /NaN|undefined/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('learns in it: partners, and attributes that captions seldom name, are found far above chance', async () => {
    await init({ device: 'wasm', threads: 1 });
    for (const [loss, memories] of [
      ['infonce', false],
      ['infoloob', true],
    ]) {
      const short = { loss, memories, center: true, steps: 80, batch: 64, lr: 3e-3, objects: 200 };
      const [found, again] = [await world.live(short), await world.live(short)];
      assert.ok(found.mrr > 0.06, `${loss}: ${found.mrr}`); // 0.016 by chance, of 400
      assert.ok(found.probe > 0.7 && found.zeroShot > 0.6, `${loss}: ${found.probe}, ${found.zeroShot}`);
      assert.deepEqual(again, found);
    }
  });
});
