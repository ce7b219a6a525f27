/** Progress for people: a bar on a terminal, a line now and then elsewhere. */
import cliProgress from 'cli-progress';
import type { Device } from '../kernels/device.js';
import { printable } from '../tensor/errors.js';
import type { Forecast } from './forecast.js';
import type { StepReport } from './trainer.js';

export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
}

/** Progress of one piece of work. */
export interface Progress {
  /** @param total when it was not known at the beginning */
  update(done: number, note?: string, total?: number): void;
}

interface Display extends Progress {
  /** Writes a line of text, above the bar where there is one. */
  say(text: string): void;
  stop(): void;
}

let silent = false;

/** From now on this process shows and says nothing: of several ranks one speaks. */
export function silence(): void {
  silent = true;
}

const hidden: Display = { update() {}, say() {}, stop() {} };

/** What is shown now, the innermost last. */
const shown: Display[] = [];

/**
 * Shows the progress of `body` while it runs: a bar on a terminal, else lines. However `body` ends, the bar ends too: a bar
 * left up keeps the process alive, and the cursor hidden.
 * @param total pieces of work; undefined when it is not known beforehand
 * @param done  pieces that were done before
 */
export async function withProgress<T>(
  title: string,
  total: number | undefined,
  body: (progress: Progress) => Promise<T> | T,
  { output = process.stderr, done = 0 }: { output?: Output; done?: number } = {},
): Promise<T> {
  const display = silent
    ? hidden
    : output.isTTY
      ? startBar(title, total, output, done)
      : startLines(title, total, output);
  const stop = () => display.stop(); // process.exit, such as a second Ctrl-C, must not hide the cursor either
  process.once('exit', stop);
  shown.push(display);
  try {
    return await body(display);
  } finally {
    shown.splice(shown.indexOf(display), 1);
    process.off('exit', stop);
    display.stop();
  }
}

/** Writes a line for people: above the bar, when one is up. */
export function say(message: string, output: Output = process.stderr): void {
  if (silent) return;
  const text = printable(message, Infinity); // file names and captions of strangers may hold escape sequences
  const display = shown.at(-1);
  if (display) display.say(text);
  else output.write(`${text}\n`);
}

/** Seconds between two lines where there is no terminal. */
const linePeriod = 15;

/** Lines: the first, then one every 15 seconds, and the last. */
function startLines(title: string, total: number | undefined, output: Output): Display {
  let last = performance.now();
  let latest = '';
  let printed = '';
  const print = (line: string) => {
    last = performance.now();
    printed = line;
    output.write(`${line}\n`);
  };
  return {
    update(now, note = '', of = total) {
      const count = of === undefined ? `${now}` : `${Math.min(now, of)}/${of}`;
      latest = `${title} ${count}${note && `  ${note}`}`;
      if (printed === '' || performance.now() - last > linePeriod * 1000) print(latest);
    },
    say: (text) => output.write(`${text}\n`),
    stop() {
      if (latest !== printed) print(latest);
    },
  };
}

/** A bar, from the beginning when the total is known, else from the first update on: a number where none ever is. */
function startBar(title: string, total: number | undefined, output: Output, done: number): Display {
  let bar: cliProgress.SingleBar | null = null;
  let drawn = performance.now();
  const draw = () => {
    drawn = performance.now();
    (bar as unknown as { render(): void } | null)?.render();
  };
  const start = (of: number | undefined) => {
    bar = new cliProgress.SingleBar({
      format: of === undefined ? `${title} {value}  {note}` : `${title} {bar} {value}/{total}  {note}`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      hideCursor: true,
      stream: output as NodeJS.WritableStream,
      gracefulExit: false, // Ctrl-C is ours: it writes a checkpoint
      fps: 5,
    });
    bar.start(of ?? 0, done, { note: '' });
    return bar;
  };
  if (total !== undefined) start(total);
  return {
    update(now, note = '', of = total) {
      (bar ?? start(of)).update(of === undefined ? now : Math.min(now, of), { note });
      if (performance.now() - drawn > 1000) draw(); // its own timer has no turn in a long computation
    },
    say(text) {
      output.write(`\r\x1b[K${text}\n`); // over the bar, which is drawn again below
      if (!bar) return;
      output.write('\x1b7'); // the place that the bar returns to when it ends
      draw();
    },
    stop: () => bar?.stop(),
  };
}

/** "1:05", or "1:02:05" from an hour on. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** "CPU", "GPU", or "GPU in software", which is a CPU after all. */
export function processorOf({ name, software }: Pick<Device, 'name' | 'software'>): string {
  if (name !== 'webgpu' && name !== 'webgl2') return 'CPU';
  return software ? 'GPU in software' : 'GPU';
}

/**
 * The note beside the training bar, what matters most first: a narrow terminal cuts the rest off.
 * @param left seconds to the end of the run
 */
export function trainingNote(
  report: Pick<StepReport, 'loss' | 'beta'>,
  { speed, left, processor }: { speed: Forecast; left: number; processor: string },
): string {
  const memory = report.beta === null ? '' : `  β ${report.beta.toPrecision(3)}`;
  const pace = speed.samplesPerSecond.toPrecision(speed.samplesPerSecond < 100 ? 2 : 3);
  const waiting = speed.dataShare < 0.2 ? '' : `, ${Math.round(100 * speed.dataShare)} % of the time waiting for data`;
  return `${clock(left)} left  loss ${report.loss.toFixed(3)}${memory}  ${Number(pace)} pairs/s on ${processor}${waiting}`;
}
