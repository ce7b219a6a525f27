// Serves files to pages: of the repository for tests and benchmarks (serve), of a folder for the site (site/serve.mjs).
// Pages are isolated (COOP/COEP), so that WebAssembly threads may share memory, but for those asked for with ?isolated=no,
// which are served as most servers would, and run on one thread.

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
];
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
};

/**
 * Starts a server.
 * @param fileOf from the path that is asked for, without its first /, to a file; undefined where there is none
 * @param isolated whether pages may share memory between threads
 * @returns its address and a function that stops it
 */
export async function listen({ port = 0, isolated = true, fileOf }) {
  const server = createServer(async (request, response) => {
    try {
      const { pathname, searchParams } = new URL(`http://localhost${request.url}`); // the path may begin with //
      if (isolated && searchParams.get('isolated') !== 'no') {
        response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
      }
      response.setHeader('Cache-Control', 'no-store');
      const file = fileOf(normalize(decodeURIComponent(pathname).slice(1)));
      if (file === undefined) throw Object.assign(new Error('not served'), { code: 'ENOENT' });
      const body = await readFile(file);
      response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream');
      response.end(body);
    } catch (error) {
      const asked = error instanceof URIError || error.code === 'ERR_INVALID_URL' ? 400 : 500;
      response.statusCode = ['ENOENT', 'EISDIR', 'ENOTDIR'].includes(error.code) ? 404 : asked;
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

/**
 * Serves parts of the repository.
 * @param also further folders
 */
export const serve = ({ port = 0, also = [] } = {}) =>
  listen({
    port,
    fileOf: (path) => ([...served, ...also].some((folder) => path.startsWith(folder)) ? join(root, path) : undefined),
  });
