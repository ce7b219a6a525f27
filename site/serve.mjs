// `npm run site:serve`: serves .build/site at http://localhost:8080 (PORT).
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listen } from '../scripts/web-server.mjs';

const built = fileURLToPath(new URL('../.build/site', import.meta.url));

/**
 * Serves the site.
 * @param under the path at which it lies, such as docs/, to see that it may lie anywhere
 * @returns its address and a function that stops it
 */
export async function serveSite({ port = 0, isolated = true, under = '' } = {}) {
  const fileOf = (path) => {
    const asked = path === '.' ? '' : path;
    if (!asked.startsWith(under)) return undefined;
    const name = asked.slice(under.length);
    return join(built, name === '' || name.endsWith('/') ? `${name}index.html` : name);
  };
  const { url, close } = await listen({ port, isolated, fileOf });
  return { url: url + under, close };
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
