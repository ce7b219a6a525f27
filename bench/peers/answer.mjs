/**
 * What the libraries' sides have in common, wherever they run. Each measures one library and answers requests such as
 * {"work":{"name":"conv","inputs":[["x",[8,64,32,32]], …]},"milliseconds":200} or {"work":…,"check":true}.
 *
 * A library gives `prepare(array, shape)`, which makes its tensor, and per work a function of those tensors and the
 * cotangent. That function returns its results, the value first and then one gradient per input, as
 * { done, read, free }: wait until all are computed, copy them out, release them.
 */

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

/** What a library answers that has no side of a work. */
export const notWritten = 'it is not written down for this library';

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

/**
 * Runs once, and at least until `milliseconds` have passed; the first run, which may compile, is not counted.
 * @param finish waits until the results of a run are there
 */
async function measure(run, finish, milliseconds) {
  const once = async () => {
    const start = performance.now();
    const results = run();
    await finish(results);
    const time = performance.now() - start;
    results.free();
    return time;
  };
  await once();
  const times = [];
  for (let total = 0; times.length === 0 || total < milliseconds; total += times.at(-1)) times.push(await once());
  return times;
}

/**
 * The function that answers a library's requests.
 * @param drained waits until the device has done all that was handed to it, whatever the library believes
 */
export function answerer({ prepare, functions }, drained = async () => {}) {
  const runs = new Map();
  const make = async (work) => {
    const { name, inputs: list, cotangent: shapeOfValue } = work;
    if (!functions[name]) throw new Error(notWritten);
    const inputs = list.map(([, shape, scale], i) => prepare(noise(sizeOf(shape), i, scale), shape));
    const cotangent = shapeOfValue && prepare(noise(sizeOf(shapeOfValue), inputs.length), shapeOfValue);
    return functions[name]({ inputs, cotangent, names: list.map(([input]) => input), work });
  };
  return async ({ work, milliseconds, check }) => {
    try {
      if (!runs.has(work.name)) runs.set(work.name, await make(work));
      const run = runs.get(work.name);
      if (check) {
        const results = run();
        const outputs = (await results.read()).map(fingerprint);
        results.free();
        return { outputs };
      }
      const finish = async (results) => {
        if (work.read) return results.read();
        await results.done();
        await drained();
      };
      return { times: await measure(run, finish, milliseconds) };
    } catch (error) {
      return { error: error.message };
    }
  };
}
