/** The explorables in headless Chromium: every control used, what they show held to hopgrad in Node. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tensor } from 'hopgrad';
import { hopfieldEnergy, hopfieldRetrieve, infoLoobLoss, infoNceLoss } from 'hopgrad/nn';
import { seriousFaults } from './axe.js';
import { bundled, close, fact, frame, inChromium, numbers, root, text } from './explorables-page.js';

const names = ['retrieval', 'saturation', 'world', 'gradients', 'training'];

describe('the explorables', function () {
  this.timeout(240_000);
  const { open, moved, newPage, addressOf } = inChromium('all');

  for (const name of names)
    it(`${name}: fits a phone in the dark, without isolation, and is accessible`, async () => {
      const address = `${name}.html?guess=none&isolated=no&two=yes`; // answered: everything is there
      const page = await open(address, { width: 390, dark: true });
      const found = await seriousFaults(page, { within: '#explorable' });
      assert.deepEqual(found, [], address);
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(beyond <= 0, `${address} is ${beyond} px wider than the screen`);
      await page.close();
    });

  it('say that they are busy until all of it is drawn', async () => {
    // That of gradients has nothing to wait for: it is drawn when it is mounted.
    for (const name of names.filter((name) => name !== 'gradients')) {
      const page = await newPage();
      await page.addInitScript(() =>
        new MutationObserver(([change]) => {
          const element = change!.target as HTMLElement;
          if (element.id !== 'explorable' || element.ariaBusy) return;
          const sliders = [...element.querySelectorAll<HTMLElement>('[role=slider]')];
          document.title = `${sliders.filter((slider) => !slider.ariaValueNow).length} sliders without a value`;
        }).observe(document, { subtree: true, attributeFilter: ['aria-busy'] }),
      );
      await page.goto(addressOf(`${name}.html`));
      await page.waitForFunction(() => /without a value/.test(document.title));
      assert.equal(await page.title(), '0 sliders without a value', name);
      await page.close();
    }
  });

  it('retrieval: dragged, slid and stepped, shows what hopgrad computes', async () => {
    let page = await open('retrieval.html');
    assert.equal(await page.isVisible('.weights'), false, 'covered before the guess');
    await page.click('[data-answer=cluster]');
    assert.match(await text(page, '.verdict'), /^It is: towards the mean of all/);
    const box = (await page.locator('.plane').boundingBox())!;
    const at = (x: number, y: number) =>
      [box.x + (box.width * (x + 1.25)) / 2.5, box.y + (box.height * (1.25 - y)) / 2.5] as const;
    await page.mouse.move(...at(0, 0));
    await page.mouse.down();
    await page.mouse.move(...at(-0.5, 0.4));
    await page.mouse.up();
    await page.keyboard.press('ArrowUp');
    await page.selectOption('[name=world]', 'pair');
    await page.locator('[name=beta]').focus();
    for (const key of ['End', 'PageDown', 'ArrowLeft']) await page.keyboard.press(key);
    await frame(page);
    await page.click('[data-do=once]');
    await page.click('[data-do=once]');
    await frame(page);
    const beta = numbers(await text(page, '[name=beta] + output'))[0]!;
    assert.ok(beta > 10 && beta < 40, `${beta}`);
    const query = new URL(await moved(page)).searchParams;
    const start = [Number(query.get('x')), Number(query.get('y'))];
    assert.ok(Math.abs(start[0]! + 0.5) < 0.02 && Math.abs(start[1]! - 0.45) < 0.02, `${start}`);
    const stored = tensor([70, 110, 260].map((a) => [Math.cos((a * Math.PI) / 180), Math.sin((a * Math.PI) / 180)]));
    const state = hopfieldRetrieve(tensor([start]), stored, { beta: Number(query.get('beta')), updates: 2 });
    const options = { beta: Number(query.get('beta')) };
    close(numbers(await fact(page, 'state ξ')), [...state.dataSync()], 3);
    close(numbers(await fact(page, 'next ξ′')), [...hopfieldRetrieve(state, stored, options).dataSync()], 3);
    close(
      numbers(await fact(page, 'energy E(ξ)')).slice(-1),
      [...hopfieldEnergy(state, stored, options).dataSync()],
      3,
    );
    const weights = state.matmul(stored, { transposeB: true }).mul(options.beta).softmax({ axis: 1 }).dataSync();
    close(numbers((await page.locator('.weights .value').allTextContents()).join(' ')), [...weights], 3);
    const seen = await text(page, '.facts');
    const address = page.url();
    await page.close();
    page = await open(address);
    await frame(page);
    assert.equal(await text(page, '.facts'), seen, 'a reload shows the same');
    await page.click('[data-do=rest]');
    await frame(page);
    assert.equal(await page.isDisabled('[data-do=once]'), true);
    await page.click('[data-do=back]');
    await frame(page);
    close(numbers(await fact(page, 'updates')), [0], 0);
    await page.click('text=Start over');
    assert.doesNotMatch(await moved(page), /beta|world|guess/);
    await page.close();
  });

  it('saturation: the gradients are those of the losses', async () => {
    const page = await open('saturation.html');
    await page.click('[data-answer=vanishes]');
    assert.match(await text(page, '.verdict'), /^Yes/);
    for (const [name, keys] of [
      ['cosine', ['PageUp']],
      ['n', ['PageDown']],
      ['invTau', ['ArrowRight']],
    ] as const) {
      await page.locator(`[name=${name}]`).focus();
      for (const key of keys) await page.keyboard.press(key);
    }
    await page.locator('.handle').focus();
    await page.keyboard.press('Shift+ArrowRight');
    await frame(page);
    const shown = async (id: string) => numbers(await text(page, `[data-value=${id}]`))[0]!;
    const [cosine, n, invTau] = (await page.locator('output').allTextContents()).map((value) => numbers(value)[0]!);
    assert.ok(cosine! > 0.1 && n! < 16 && invTau! > 14, `${cosine} ${n} ${invTau}`);
    // The same from the public losses: N anchors that are alike, of which each has one candidate as its partner.
    const { negatives } = await bundled<{ negatives(count: number): number[] }>('saturation/losses.ts');
    const all = [cosine!, ...negatives(n! - 1)];
    const side = all.map((s) => [s, Math.sqrt(1 - s * s)]);
    const rows = all.map((_, i) => [...side.slice(i), ...side.slice(0, i)]);
    const of = (loss: typeof infoNceLoss) => {
      // Row 0 alone: the loss of N rows times N, less that of the others, whose similarities hold still.
      const y = tensor(rows[0]!, { requiresGrad: true });
      const x = tensor(all.map(() => [1, 0]));
      loss(x, y, { invTau: invTau! }).mul(n!).backward();
      return y.grad!;
    };
    const p = Math.exp(invTau! * all[0]!) / all.reduce((sum, s) => sum + Math.exp(invTau! * s), 0);
    close([await shown('p')], [p], 3);
    close([await shown('nce-gradient')], [-invTau! * (1 - p)], 3);
    close([await shown('loob-gradient')], [-invTau!], 3);
    // All anchors are alike: for InfoNCE the gradient on candidate j is τ⁻¹ (N p_j − 1).
    assert.ok(Math.abs(of(infoNceLoss).dataSync()[0]! - invTau! * (n! * p - 1)) < 1e-3);
    const nce = -Math.log(p);
    close([await shown('nce')], [nce], 3);
    close([await shown('loob')], [nce + Math.log(1 - p)], 3);
    assert.ok(Number.isFinite(infoLoobLoss(tensor(side), tensor(side), { invTau: 1 }).dataSync()[0]!));
    assert.equal(await page.locator('.chart polyline').count(), 2);
    await page.close();
  });

  it('world: parting two features changes what the memory fills in', async () => {
    const page = await open('world.html');
    await page.click('[data-answer=sea]');
    const answer = async () => numbers((await page.locator('.filled .value').allTextContents()).join(' '));
    await frame(page);
    const before = await answer();
    await page.click('[data-do=cut]');
    await frame(page);
    const after = await answer();
    assert.ok(before[1]! > 0.5 && after[1]! < 0.1, `sea ${before[1]}, then ${after[1]}`);
    await page.click('[data-cell="summit: moon"]');
    await page.click('.query >> text=snow');
    await page.locator('[name=beta]').focus();
    await page.keyboard.press('PageDown');
    await frame(page);
    const query = new URL(await moved(page)).searchParams;
    const bits = (value: number) => Array.from({ length: 8 }, (_, f) => (value >> f) & 1);
    const rows = query
      .get('rows')!
      .match(/../g)!
      .map((hex) => bits(Number.parseInt(hex, 16)));
    const stored = tensor(rows).l2Normalize();
    const expected = hopfieldRetrieve(tensor([bits(Number(query.get('query')))]).l2Normalize(), stored, {
      ...{ beta: Number(query.get('beta')), normalize: true },
    });
    close(await answer(), [...expected.dataSync()], 3);
    await page.click('[data-do=back]');
    assert.doesNotMatch(await moved(page), /rows/);
    await page.close();
  });

  it('gradients: finds the wrong coordinates, says them again in Node, ends what never ends', async () => {
    const page = await open('gradients.html');
    await page.click('[data-answer=all]');
    const says = (pattern: RegExp) =>
      page.waitForFunction(
        (source) => new RegExp(source).test(document.querySelector('.status')!.textContent!),
        pattern.source,
      );
    await says(/^Wrong at coordinate 0, 2, 3/);
    assert.deepEqual(await page.locator('.coordinates .wrong td:nth-child(3)').allTextContents(), [
      '4.50000',
      '0.50000',
      '8.00000',
    ]);
    const file = join(root, '.build/test/explorables-check.mjs');
    writeFileSync(file, await text(page, '.in-node'));
    const { status, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8' });
    assert.equal(status, 1);
    // The random projection takes logarithms, whose last bit differs between versions of V8.
    const rounded = (said: string) => said.replace(/\d+\.\d{9,}/g, (digits) => Number(digits).toPrecision(12));
    for (const line of (await text(page, '.report')).trim().split('\n'))
      assert.ok(rounded(stderr).includes(rounded(line.trim())), `Node says otherwise than\n${line}\n${stderr}`);
    const code = await page.inputValue('[name=code]');
    await page.fill('[name=code]', code.replace('mul(2)', 'mul(3)'));
    await says(/^Right: Gradients agree in 4 comparisons/);
    await page.fill('[name=points]', '1, two');
    await says(/“two” is no number/);
    await page.click('[data-program=once]');
    await page.locator('[name=seed]').focus();
    await page.keyboard.press('ArrowRight');
    await says(/^Wrong .*order 2, seed 1/);
    await page.click('label:has([name=order][value="1"])');
    await says(/^Right.*order 1, seed 1/);
    await page.click('[data-program=kink]');
    await says(/^Wrong at coordinate 1/);
    await page.fill('[name=code]', 'const op = () => { for (;;); };');
    await says(/^Ended after 3 s/);
    await page.fill('[name=code]', 'for (;;);');
    await says(/^Checking/);
    await page.click('[data-do=stop]');
    await says(/^Stopped/);
    await page.close();
  });
});
