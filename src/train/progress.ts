/** Progress for people: a bar on a terminal, a line now and then elsewhere. */
import { format } from 'node:util';
import cliProgress from 'cli-progress';
import type { StepReport } from './trainer.js';

export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
}

/** Progress of one piece of work. */
export interface Progress {
  update(done: number, note?: string): void;
  stop(): void;
}

/** Seconds between two lines where there is no terminal. */
const linePeriod = 15;

/**
 * A bar with a title, or plain lines when `output` is no terminal: the first, then one every 15 seconds, and the last.
 */
export function startProgress(title: string, total: number, output: Output = process.stderr, done = 0): Progress {
  if (output.isTTY) return startBar(title, total, output, done);
  let last = performance.now();
  let latest = '';
  let printed = '';
  const print = (line: string) => {
    last = performance.now();
    printed = line;
    output.write(`${line}\n`);
  };
  return {
    update(now, note = '') {
      latest = format('%s %d/%d%s', title, now, total, note && `  ${note}`);
      if (printed === '' || performance.now() - last > linePeriod * 1000) print(latest);
    },
    stop() {
      if (latest !== printed) print(latest);
    },
  };
}

function startBar(title: string, total: number, output: Output, done: number): Progress {
  const bar = new cliProgress.SingleBar({
    format: `${title} {bar} {value}/{total}  {note}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    stream: output as NodeJS.WritableStream,
    gracefulExit: false, // Ctrl-C is ours: it writes a checkpoint
    fps: 5,
  });
  bar.start(total, done, { note: '' });
  return {
    update: (now, note = '') => bar.update(now, { note }),
    stop: () => bar.stop(),
  };
}

/** "1:05", or "1:02:05" from an hour on. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Speed and time left from the last steps: a moving mean, so that a slow start or a pause is soon forgotten. */
export class Speedometer {
  #seconds = 0;
  #samples = 0;

  add({ seconds, samples }: Pick<StepReport, 'seconds' | 'samples'>): void {
    const share = 0.95;
    this.#seconds = share * this.#seconds + seconds;
    this.#samples = share * this.#samples + samples;
  }

  get samplesPerSecond(): number {
    return this.#samples / Math.max(1e-9, this.#seconds);
  }
}

/** The note beside the training bar. */
export function trainingNote(report: StepReport, speed: Speedometer): string {
  const left = ((report.total - report.step) * report.samples) / speed.samplesPerSecond;
  const memory = report.beta === null ? '' : `  β ${report.beta.toPrecision(3)}`;
  return `loss ${report.loss.toFixed(3)}${memory}  ${Math.round(speed.samplesPerSecond)} pairs/s  ${clock(left)} left`;
}
