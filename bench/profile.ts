/**
 * `npm run bench:profile`: where the main thread spends a training step, by V8's sampling profiler.
 * Options: --model emoji-resnet|emoji-vit, --batch N (default 64), --steps N (default 10), --write.
 */
import { Session } from 'node:inspector/promises';
import { parseArgs } from 'node:util';
import { device, init } from 'hopgrad';
import { training } from './models.js';
import { table, writeSection } from './results.js';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'emoji-resnet' },
    batch: { type: 'string', default: '64' },
    steps: { type: 'string', default: '10' },
    write: { type: 'boolean', default: false },
  },
});

interface Frame {
  functionName: string;
  url: string;
}

/** Where a sample belongs: WebAssembly, a part of hopgrad, or the engine. */
function placeOf({ functionName, url }: Frame): string {
  if (url.startsWith('wasm:')) return 'WebAssembly';
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (functionName === '(idle)') return 'idle';
  const part = /\/dist\/([\w-]+(?:\/wasm|\/ops)?)\//.exec(url)?.[1];
  return part ? `JavaScript of src/${part}` : 'engine and Node';
}

/** Runs `body` under the profiler: milliseconds by frame, most first. */
async function sampled(body: () => Promise<void>): Promise<[Frame, number][]> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: 500 });
  await session.post('Profiler.start');
  await body();
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame as Frame]));
  const times = new Map<string, [Frame, number]>();
  profile.samples!.forEach((id, i) => {
    const frame = frames.get(id)!;
    const key = `${frame.functionName} ${frame.url}`;
    const entry = times.get(key) ?? [frame, 0];
    entry[1] += profile.timeDeltas![i]! / 1000;
    times.set(key, entry);
  });
  return [...times.values()].sort(([, a], [, b]) => b - a);
}

function summary(frames: readonly [Frame, number][], steps: number): string {
  const places = new Map<string, number>();
  for (const [frame, ms] of frames) places.set(placeOf(frame), (places.get(placeOf(frame)) ?? 0) + ms);
  const total = [...places.values()].reduce((a, b) => a + b, 0);
  const row = (name: string, ms: number) => [name, (ms / steps).toFixed(1), `${((100 * ms) / total).toFixed(1)} %`];
  const byPlace = [...places].sort(([, a], [, b]) => b - a).map(([place, ms]) => row(place, ms));
  const byFunction = frames
    .slice(0, 15)
    .map(([frame, ms]) => row(`\`${frame.functionName || '(anonymous)'}\`, ${placeOf(frame)}`, ms));
  const header = (first: string) => [first, 'ms a step', 'share'];
  return `${table(header('where'), byPlace)}\n\n${table(header('function, own time'), byFunction)}`;
}

async function main(): Promise<void> {
  await init({ device: 'wasm' });
  const { model } = options;
  if (model !== 'emoji-resnet' && model !== 'emoji-vit') throw new Error(`--model ${model}: emoji-resnet or emoji-vit`);
  const steps = Number(options.steps);
  const { step } = training(model, Number(options.batch));
  await step(); // compiled and warm
  const start = performance.now();
  const frames = await sampled(async () => {
    for (let i = 0; i < steps; i++) await step();
  });
  const text = [
    `${model}, batch ${options.batch}, ${steps} steps of ${((performance.now() - start) / steps).toFixed(0)} ms each, profiler on. Device: ${device().description}. The main thread only; where it waits for the other threads inside a kernel counts as WebAssembly.`,
    summary(frames, steps),
  ].join('\n\n');
  console.log(text);
  if (options.write) writeSection('profile', text);
}

await main();
