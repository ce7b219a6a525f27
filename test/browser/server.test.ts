/** The servers of pages answer whatever is asked, and go on. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { request } from 'node:http';
import { fileURLToPath } from 'node:url';

const repository = new URL('../../../scripts/web-server.mjs', import.meta.url);
const script = new URL('../../../site/serve.mjs', import.meta.url);

describe('the servers of pages', () => {
  let server: { url: string; close(): Promise<void> };
  before(async () => {
    ({ serve: server } = await import(repository.href).then(async ({ serve }) => ({ serve: await serve() })));
  });
  after(() => server.close());

  /** The status of a path as it stands, which fetch would tidy. */
  const status = (path: string) =>
    new Promise<number>((resolve, reject) => {
      const { hostname, port } = new URL(server.url);
      request({ hostname, port, path, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      })
        .on('error', reject)
        .end();
    });

  it('answers odd paths with an error and the page after them', async () => {
    for (const path of [
      '//',
      '///web',
      '/%',
      '/%00',
      '/web/',
      '/web/../package.json',
      '/dist/..%2fpackage.json',
      '/none',
    ])
      assert.ok([400, 404, 500].includes(await status(path)), path);
    assert.equal(await status('/web/conformance.html'), 200);
  });

  it('says so in a line when its port is taken', () => {
    const { port } = new URL(server.url);
    const { status: code, stderr } = spawnSync(process.execPath, [fileURLToPath(script)], {
      env: { ...process.env, PORT: port },
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(code, 1);
    assert.equal(stderr, `Port ${port} is taken: name another, PORT=8081 npm run site:serve\n`);
  });
});
