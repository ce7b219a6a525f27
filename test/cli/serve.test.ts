/** The page of `hopgrad serve`: what it answers, to whom it does not, and what a browser makes of hostile names. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSharp } from '#src/data/sharp.js';
import { needBrowser } from '../browser/browser.js';
import { hopgrad, main, makePictures, makeWeights } from './helpers.js';

const hostile = '<img src=x onerror=document.title=`owned`>&quot;\u202egnp.exe.png';

describe('hopgrad serve', function () {
  this.timeout(120_000);
  let folder: string;
  let server: ChildProcess;
  let port: number;
  const model = ['--checkpoint', 'tiny.safetensors'];
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-serve-'));
    await makePictures(folder);
    await makeWeights(join(folder, 'tiny.safetensors'));
    copyFileSync(join(folder, 'squares/blue/1.png'), join(folder, 'squares', hostile));
    writeFileSync(join(folder, 'secret.txt'), 'secret');
    const { code, stderr } = await hopgrad(folder, ['embed', 'squares', ...model, '--workers', '0']);
    assert.equal(code, 0, stderr);
    server = spawn(process.execPath, [main, 'serve', ...model, '--port', '0'], { cwd: folder });
    const [said] = await once(server.stdout!, 'data');
    port = Number(/http:\/\/127\.0\.0\.1:(\d+)\//.exec(String(said))![1]);
  });
  after(() => {
    server?.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  interface Told {
    status: number;
    headers: IncomingHttpHeaders;
    body: Buffer;
  }
  /** A request as it is written here: fetch would tidy up paths and hosts. */
  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET', body?: Uint8Array): Promise<Told> =>
    new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part) => parts.push(part));
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts) }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });
  const json = async (...args: Parameters<typeof ask>) => JSON.parse((await ask(...args)).body.toString());

  it('answers words, pictures and numbers of pictures with the pictures found', async () => {
    assert.equal((await json('/about')).pictures, 13);
    const { matches } = await json('/search?words=red&top=5');
    assert.equal(matches.length, 5);
    const blue = readFileSync(join(folder, 'squares/blue/1.png'));
    const like = await json('/search?top=13', {}, 'POST', blue);
    const same = like.matches.filter(({ similarity }: { similarity: number }) => similarity > 1 - 1e-6);
    assert.ok(same.some(({ name }: { name: string }) => name === 'squares/blue/1.png'));
    const own = like.matches[0].at;
    const others = await json(`/search?like=${own}&top=13`);
    assert.equal(others.matches.length, 12);
    assert.ok(!others.matches.some(({ at }: { at: number }) => at === own));
    const picture = await ask(`/picture/${own}`);
    assert.equal(picture.headers['content-type'], 'image/webp');
    const sharp = await loadSharp();
    assert.equal((await sharp(picture.body).metadata()).width, 24);
  });

  it('tells what is wrong with a question, and lives on', async () => {
    for (const path of [
      '/search',
      '/search?words=%20',
      '/search?like=13',
      '/search?like=x',
      '/search?words=a&top=1000',
    ]) {
      const { status, body } = await ask(path);
      assert.equal(status, 400, path);
      assert.match(JSON.parse(body.toString()).error, /expected/);
    }
    assert.equal((await ask(`/search?words=${'a'.repeat(1001)}`)).status, 400);
    assert.match((await json('/search', {}, 'POST', Buffer.from('no picture'))).error, /expected a picture/);
    assert.equal((await ask('/picture/1', {}, 'DELETE')).status, 405);
    assert.equal((await ask('//')).status, 404);
  });

  it('gives out no file, whatever the path', async () => {
    const up = [
      '../secret.txt',
      '..%2fsecret.txt',
      '%2e%2e/secret.txt',
      '..\\secret.txt',
      '/etc/passwd',
      '0/../../secret.txt',
    ];
    for (const path of [
      ...up.map((end) => `/picture/${end}`),
      ...up.map((end) => `/${end}`),
      '/page.js/../../secret.txt',
    ]) {
      const { status, body } = await ask(path);
      assert.equal(status, 404, path);
      assert.doesNotMatch(body.toString(), /^secret|root:/);
    }
    for (const number of ['-1', '1e1', '0x1', '13', '1.0', '99999999999999999999', 'constructor', ''])
      assert.equal((await ask(`/picture/${number}`)).status, 404, number);
  });

  it('answers its own page only: no other host, no other site, on no other address', async () => {
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      `127.0.0.1:${port + 1}`,
      `localhost.evil.example:${port}`,
      '127.0.0.1',
    ])
      assert.equal((await ask('/about', { host })).status, 403, host);
    assert.equal((await ask('/about', { host: `localhost:${port}` })).status, 200);
    for (const headers of [
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ] as Record<string, string>[])
      assert.equal((await ask('/search?words=red', headers)).status, 403, JSON.stringify(headers));
    assert.equal((await ask('/search?words=red', { origin: `http://127.0.0.1:${port}` })).status, 200);
    const { headers } = await ask('/');
    assert.match(
      String(headers['content-security-policy']),
      /default-src 'none'; script-src 'self';.*frame-ancestors 'none'/,
    );
    assert.deepEqual(
      [
        headers['cross-origin-resource-policy'],
        headers['x-content-type-options'],
        headers['access-control-allow-origin'],
      ],
      ['same-origin', 'nosniff', undefined],
    );
    const outer = Object.values(networkInterfaces())
      .flatMap((all) => all ?? [])
      .find((one) => !one.internal && one.family === 'IPv4');
    if (outer)
      await assert.rejects(fetch(`http://${outer.address}:${port}/about`, { signal: AbortSignal.timeout(2000) }));
  });

  it('a browser shows what is found, more like it, and hostile names as the text they are', async function () {
    const session = await needBrowser.call(this);
    try {
      const page = await session.open(`http://127.0.0.1:${port}/`);
      await page.fill('input[type=search]', 'red');
      await page.press('input[type=search]', 'Enter');
      await page.waitForSelector('figure');
      assert.equal(await page.locator('figure').count(), 13);
      const named = page.locator('figure').filter({ hasText: '<img src=x' });
      assert.match(
        (await named.locator('figcaption').textContent())!,
        /^-?\d\.\d{3} <img/,
        'without the folder of all',
      );
      assert.ok((await named.locator('figcaption').textContent())!.endsWith(hostile));
      assert.equal(await named.locator('figcaption').getAttribute('title'), `squares/${hostile}`);
      await named.locator('.more').click();
      await page.waitForFunction(() => document.querySelectorAll('figure').length === 12);
      assert.equal(await page.locator('#like span').textContent(), `squares/${hostile}`);
      await page.waitForFunction(() => [...document.images].some((image) => image.naturalWidth > 0));
      await page.goBack();
      await page.waitForFunction(() => document.querySelectorAll('figure').length === 13);
      await page.setInputFiles('input[type=file]', join(folder, 'squares/blue/1.png'));
      await page.waitForFunction(() => document.querySelector('#like span')?.textContent === '1.png');
      await page.waitForFunction(() => /13 of 13 pictures/.test(document.querySelector('#status')!.textContent!));
      assert.equal(await page.title(), `${join(folder, 'squares')} – pictures`);
      const inline =
        'document.body.append(Object.assign(document.createElement("script"), { text: "document.title=`owned`" }))';
      await page.evaluate(inline); // the page itself may not, even if a name came to be markup
      assert.notEqual(await page.title(), 'owned');
    } finally {
      await session.close();
    }
  });

  it('a port that is taken is told in a line; Ctrl-C ends it with 130', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const taken = String((other.address() as AddressInfo).port);
    const { code, stderr } = await hopgrad(folder, ['serve', ...model, '--port', taken]);
    other.close();
    assert.deepEqual([code, /another program has it.*--port/.test(stderr)], [1, true], stderr);
    const ended = once(server, 'exit');
    server.kill('SIGINT');
    assert.deepEqual(await ended, [130, null]);
  });
});
