/**
 * What the libraries' processes have in common. Each measures one library and answers, line by line on standard
 * input and output, requests such as {"work":"conv","milliseconds":200,"check":true}.
 *
 * A library gives `prepare(array, shape)`, which makes its tensor, and per work a function of those tensors and the
 * cotangent. That function returns its results, the value first and then one gradient per input, as
 * { done, read, free }: wait until all are computed, copy them out, release them.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const works = JSON.parse(readFileSync(new URL('./works.json', import.meta.url), 'utf8'));

/**
 * `count` numbers in [−scale, scale), the same in every language: 2 · frac(43758.5453 · sin(12.9898 i + 78.233 s)) − 1.
 * @param seed s, the position of the input in its work
 */
export function noise(count, seed, scale = 1) {
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const x = 43758.5453 * Math.sin(12.9898 * i + 78.233 * seed);
    numbers[i] = scale * (2 * (x - Math.floor(x)) - 1);
  }
  return numbers;
}

const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);

/** Two float64 numbers that stand for a result: its product with fixed noise, and its norm. */
function fingerprint(values) {
  const direction = noise(values.length, 99);
  let dot = 0;
  let squares = 0;
  values.forEach((value, i) => {
    dot += value * direction[i];
    squares += value * value;
  });
  return { dot, norm: Math.sqrt(squares) };
}

/** Runs once, and at least until `milliseconds` have passed; the first run, which may compile, is not counted. */
async function measure(run, milliseconds) {
  const once = async () => {
    const start = performance.now();
    const results = run();
    await results.done();
    const time = performance.now() - start;
    results.free();
    return time;
  };
  await once();
  const times = [];
  for (let total = 0; times.length === 0 || total < milliseconds; total += times.at(-1)) times.push(await once());
  return times;
}

export async function serve({ library, prepare, functions }) {
  console.log = console.error; // standard output belongs to the protocol
  const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  send({ library });
  const runs = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const { work: name, milliseconds, check } = JSON.parse(line);
    try {
      if (!runs.has(name)) {
        const work = works.find((w) => w.name === name);
        const inputs = work.inputs.map(([, shape, scale], i) => prepare(noise(sizeOf(shape), i, scale), shape));
        const cotangent = work.cotangent && prepare(noise(sizeOf(work.cotangent), inputs.length), work.cotangent);
        const make = functions[name]({ inputs, cotangent, names: work.inputs.map(([input]) => input) });
        runs.set(name, make);
      }
      const run = runs.get(name);
      if (check) {
        const results = run();
        const outputs = (await results.read()).map(fingerprint);
        results.free();
        send({ outputs });
      } else send({ times: await measure(run, milliseconds) });
    } catch (error) {
      send({ error: error.message });
    }
  }
}
