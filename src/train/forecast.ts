/** How long a training still takes, validations and the evaluation at its end included. */
import type { StepReport } from './trainer.js';

/** What is left of a run, counted. */
export interface Work {
  steps: number;
  /** Pictures that validations and the evaluation embed. */
  pictures: number;
}

type Timed = Pick<StepReport, 'seconds' | 'dataSeconds' | 'forwardSeconds' | 'samples'>;

/** Speed from the last steps: a moving mean, so that a slow start or a pause is soon forgotten. */
export class Forecast {
  #seconds = 0;
  #dataSeconds = 0;
  #samples = 0;
  #steps = 0;
  /** Seconds to embed a picture with its words; from validations once there was one. */
  #embedding = 0;
  #validated = false;

  add({ seconds, dataSeconds, forwardSeconds, samples }: Timed): void {
    const share = 0.95;
    this.#seconds = share * this.#seconds + seconds;
    this.#dataSeconds = share * this.#dataSeconds + dataSeconds;
    this.#samples = share * this.#samples + samples;
    this.#steps = share * this.#steps + 1;
    // A pass forward is about a third of a step, where it cannot be timed.
    if (!this.#validated) this.#embedding = (dataSeconds + (forwardSeconds ?? (seconds - dataSeconds) / 3)) / samples;
  }

  /** A validation tells what embedding takes. */
  addValidation({ seconds, pictures }: { seconds: number; pictures: number }): void {
    if (pictures === 0) return;
    this.#embedding = seconds / pictures;
    this.#validated = true;
  }

  /** Share of the time that the training waits for data. */
  get dataShare(): number {
    return this.#dataSeconds / Math.max(1e-9, this.#seconds);
  }

  get samplesPerSecond(): number {
    return this.#samples / Math.max(1e-9, this.#seconds);
  }

  get secondsPerStep(): number {
    return this.#seconds / Math.max(1e-9, this.#steps);
  }

  /** Seconds that work takes. */
  seconds({ steps, pictures }: Work): number {
    return steps * this.secondsPerStep + pictures * this.#embedding;
  }
}
