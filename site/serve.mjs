// `npm run site:serve`: serves .build/site at http://localhost:8080 (PORT), isolated, so that WebAssembly threads may share
// memory; a page asked for with ?isolated=no is served as most servers would, and runs on one thread.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
};

/**
 * Starts the server.
 * @param under the path at which the site lies, to see that it may lie anywhere
 * @returns its address and a function that stops it
 */
export async function serveSite({
  port = 0,
  folder = fileURLToPath(new URL('../.build/site', import.meta.url)),
  under = '/',
} = {}) {
  const server = createServer(async (request, response) => {
    try {
      const { pathname, searchParams } = new URL(`http://localhost${request.url}`); // the path may begin with //
      if (searchParams.get('isolated') !== 'no') {
        response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
      }
      response.setHeader('Cache-Control', 'no-cache');
      if (!pathname.startsWith(under)) throw Object.assign(new Error('not served'), { code: 'ENOENT' });
      const path = normalize(decodeURIComponent(pathname.slice(under.length)))
        .replace(/^(\.|.*\/)?$/, '$&index.html')
        .replace(/^\.(?=index)/, '');
      if (path.startsWith('..')) throw Object.assign(new Error('not served'), { code: 'ENOENT' });
      const body = await readFile(join(folder, path));
      response.setHeader('Content-Type', types[extname(path)] ?? 'application/octet-stream');
      response.end(body);
    } catch (error) {
      const asked = error instanceof URIError || error.code?.startsWith('ERR_INVALID') ? 400 : 500;
      response.statusCode = ['ENOENT', 'EISDIR', 'ENOTDIR'].includes(error.code) ? 404 : asked;
      response.end(`${error.message}\n`);
    }
  });
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://localhost:${server.address().port}${under}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.env.PORT ?? 8080);
  try {
    const { url } = await serveSite({ port });
    console.log(`The site of hopgrad: ${url}`);
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw error;
    console.error(`Port ${port} is taken: name another, PORT=8081 npm run site:serve`);
    process.exitCode = 1;
  }
}
