/**
 * The local page of `hopgrad serve`. What other pages of the same browser could do with it is the danger, as is what files are
 * called and hold:
 *
 * - it listens on the loopback address; requests that name another host are refused, so that no name of a stranger's can be
 *   led here (DNS rebinding), and so are those that the browser says come from other sites;
 * - no path of a request is one of a file: pictures are asked for by their numbers in the index, the page by three names;
 * - pictures are sent as pixels that were decoded and encoded again; names are JSON, which the page shows as text;
 * - the page may load nothing but this (Content-Security-Policy), and no other may frame it or use its pictures.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { DataError, HopgradError, UsageError } from '../tensor/errors.js';
import { say } from '../train/progress.js';
import type { Finder } from './finder.js';
import { thumbnailsOf } from './thumbnails.js';

export interface PageServer {
  address: string;
  close(): Promise<void>;
}

interface Answer {
  status?: number;
  type: string;
  body: string | Buffer;
}

const host = '127.0.0.1';
const sides = { small: 320, large: 1600 };
const [mostFound, mostWords, mostBytes, mostThumbnails] = [200, 1000, 2 ** 26, 1000];

const headers = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cache-Control': 'no-store',
};

const types = { 'index.html': 'text/html', 'page.js': 'text/javascript', 'page.css': 'text/css' };
const json = (value: unknown, status = 200): Answer => ({
  status,
  type: 'application/json',
  body: JSON.stringify(value),
});
const refused = (status: number, error: string) => json({ error }, status);

/** Starts the page. @param port 0 takes any that is free @throws DataError when it is taken */
export async function startPageServer(finder: Finder, port: number): Promise<PageServer> {
  const routes = routesOf(finder);
  const server = createServer(async (request, response) => {
    const answer = await answerTo(request, routes, (server.address() as AddressInfo).port);
    send(response, request.method === 'HEAD' ? { ...answer, body: '' } : answer);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', ({ code, message }: NodeJS.ErrnoException) =>
      reject(
        new DataError('serve', {
          received: `port ${port}: ${code === 'EADDRINUSE' ? 'another program has it' : message}`,
          expected: 'a free port',
          hint: 'Name another with --port; --port 0 takes any that is free.',
        }),
      ),
    );
    server.listen(port, host, resolve);
  });
  return {
    address: `http://${host}:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function send(response: ServerResponse, { status = 200, type, body }: Answer): void {
  response.writeHead(status, {
    ...headers,
    'Content-Type': type.startsWith('image') ? type : `${type}; charset=utf-8`,
  });
  response.end(body);
}

type Route = (url: URL, request: IncomingMessage) => Promise<Answer> | Answer;

async function answerTo(request: IncomingMessage, routes: ReadonlyMap<string, Route>, port: number): Promise<Answer> {
  const { method = '', headers: asked } = request;
  const known = [`${host}:${port}`, `localhost:${port}`];
  if (!known.includes(asked.host ?? '')) return refused(403, `asked for by another name than ${known.join(' or ')}`);
  const base = `http://${asked.host}`;
  const url = URL.canParse(request.url ?? '', base) ? new URL(request.url ?? '', base) : null;
  const [, first = '', rest] = url?.pathname.split('/') ?? [];
  const fromElsewhere =
    (asked.origin !== undefined && asked.origin !== base) ||
    /^(cross|same)-site$/.test(String(asked['sec-fetch-site'] ?? ''));
  if (fromElsewhere && url?.pathname !== '/') return refused(403, 'asked for by another site');
  const route = url && (rest === undefined || first === 'picture') ? routes.get(first) : undefined;
  if (!url || !route) return refused(404, 'no such page');
  if (!['GET', 'HEAD'].includes(method) && !(method === 'POST' && first === 'search'))
    return refused(405, `${method} is not answered`);
  try {
    return await route(url, request);
  } catch (error) {
    if (error instanceof HopgradError) return refused(400, error.message);
    say(`hopgrad: ${(error as Error).stack}`); // a fault of ours: the page lives on
    return refused(500, 'a fault of hopgrad, which the terminal tells');
  }
}

function routesOf(finder: Finder): Map<string, Route> {
  const { index } = finder;
  const pictures = thumbnailCache(finder);
  const routes = new Map<string, Route>();
  for (const [name, type] of Object.entries(types)) {
    // Beside the sources, which the package has: nothing but TypeScript is built.
    const body = readFileSync(fileURLToPath(new URL(`../../src/cli/page/${name}`, import.meta.url)));
    routes.set(name === 'index.html' ? '' : name, () => ({ type, body }));
  }
  routes.set('about', () => json({ pictures: index.pictures.length, complete: index.complete, data: index.data.path }));
  routes.set('search', async (url, request) => {
    const start = performance.now();
    const query = queryOf(url, index.pictures.length);
    const bytes = request.method === 'POST' ? await bodyOf(request) : undefined;
    if (query.words === undefined && query.like === undefined && !bytes)
      throw new UsageError('search', { received: 'no words and no picture', expected: 'what to look for' });
    const matches = await finder.find({ ...query, picture: bytes && { bytes } }, query.top);
    const milliseconds = Math.round(performance.now() - start);
    await pictures.prepare(matches.map(({ at }) => at));
    return json({ matches, milliseconds });
  });
  routes.set('picture', async (url) => {
    const number = url.pathname.split('/')[2] ?? '';
    const at = placeOf(number, index.pictures.length);
    if (at === null) return refused(404, `no picture ${number}`);
    const body = await pictures.get(at, url.search === '?large' ? 'large' : 'small');
    return body instanceof DataError ? refused(404, body.message) : { type: 'image/webp', body };
  });
  return routes;
}

const placeOf = (text: string, count: number): number | null =>
  /^\d{1,15}$/.test(text) && Number(text) < count ? Number(text) : null;

/** @throws UsageError for words without end, numbers out of range */
function queryOf(url: URL, count: number): { words?: string; like?: number; top: number } {
  const [words, like, most] = ['words', 'like', 'top'].map((key) => url.searchParams.get(key)?.trim());
  const wrong = (received: string, expected: string) => new UsageError('search', { received, expected });
  if (words && words.length > mostWords) throw wrong(`${words.length} characters`, `at most ${mostWords}`);
  const at = like === undefined ? undefined : placeOf(like, count);
  if (at === null) throw wrong(`like=${like}`, `a number of a picture, 0 … ${count - 1}`);
  const top = Number(most ?? 48);
  if (!Number.isInteger(top) || top < 1 || top > mostFound) throw wrong(`top=${most}`, `a number, 1 … ${mostFound}`);
  return { ...(words && { words }), ...(at !== undefined && { like: at }), top };
}

/** @throws DataError for a body that is too long */
async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > mostBytes)
      throw new DataError('search', { received: 'a longer file', expected: `a picture of at most ${mostBytes} bytes` });
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Pictures as they are sent, the last thousand small ones kept. Those in shards are read together: each read goes through them. */
function thumbnailCache({ index }: Finder) {
  const kept = new Map<number, Buffer>();
  const keep = (at: number, body: Buffer | DataError) => {
    if (body instanceof DataError) return;
    kept.delete(at);
    kept.set(at, body);
    if (kept.size > mostThumbnails) kept.delete(kept.keys().next().value!);
  };
  return {
    /** Those that are no files of their own. */
    async prepare(places: readonly number[]): Promise<void> {
      const wanted = places.filter((at) => index.pictures[at]!.file === undefined && !kept.has(at));
      for (const [at, body] of await thumbnailsOf(index, wanted, sides.small)) keep(at, body);
    },
    async get(at: number, size: keyof typeof sides): Promise<Buffer | DataError> {
      const known = size === 'small' ? kept.get(at) : undefined;
      const body = known ?? (await thumbnailsOf(index, [at], sides[size])).get(at)!;
      if (size === 'small') keep(at, body);
      return body;
    },
  };
}
