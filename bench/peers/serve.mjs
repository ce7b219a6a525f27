/** A library in a process of its own: on wasm, requests and answers line by line on standard input and output. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { answerer } from './answer.mjs';

export const backend = 'wasm';

export async function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url), 'utf8')).version;
}

export async function serve({ library, ...works }) {
  console.log = console.error; // standard output belongs to the protocol
  const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  send({ library });
  const answer = answerer(works);
  for await (const line of createInterface({ input: process.stdin })) send(await answer(JSON.parse(line)));
}
