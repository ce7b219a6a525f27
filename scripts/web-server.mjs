// Serves the repository's page and built modules, isolated (COOP/COEP) so that WebAssembly threads may share memory;
// a page asked for with ?isolated=no is served as most servers would, and runs on one thread.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
/** Nothing else of the repository is served, unless serve() is told. */
const served = [
  'web/',
  'dist/',
  '.build/test/',
  'test/fixtures/',
  'node_modules/@petamoriken/float16/src/',
  'node_modules/entities/dist/',
  'node_modules/uplot/dist/',
];
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
};

/**
 * Starts the server.
 * @param also further folders of the repository to serve
 * @returns its address and a function that stops it
 */
export async function serve({ port = 0, also = [] } = {}) {
  const server = createServer(async (request, response) => {
    try {
      const { pathname, searchParams } = new URL(`http://localhost${request.url}`); // the path may begin with //
      if (searchParams.get('isolated') !== 'no') {
        response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
      }
      response.setHeader('Cache-Control', 'no-store');
      const path = normalize(pathname === '/' ? 'web/index.html' : decodeURIComponent(pathname).slice(1));
      if (![...served, ...also].some((folder) => path.startsWith(folder)))
        throw Object.assign(new Error('not served'), { code: 'ENOENT' });
      const body = await readFile(join(root, path));
      response.setHeader('Content-Type', types[extname(path)] ?? 'application/octet-stream');
      response.end(body);
    } catch (error) {
      const asked = error instanceof URIError || error.code === 'ERR_INVALID_URL' ? 400 : 500;
      response.statusCode = ['ENOENT', 'EISDIR'].includes(error.code) ? 404 : asked;
      response.end(`${error.message}\n`);
    }
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://localhost:${server.address().port}/`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.env.PORT ?? 8080);
  try {
    const { url } = await serve({ port });
    console.log(`hopgrad in the browser: ${url}`);
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw error;
    console.error(`Port ${port} is taken: name another, PORT=8081 npm run web`);
    process.exitCode = 1;
  }
}
