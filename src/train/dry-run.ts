/** `--dry-run`: what a run would take, from a few steps of it; nothing is written. */
import Table from 'cli-table3';
import { deviceByName } from '../kernels/devices.js';
import { CloobModel } from '../models/cloob/model.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';
import { Forecast } from './forecast.js';
import type { Learner } from './learner.js';
import { clock, processorOf } from './progress.js';
import { type RunOptions, trainerOf, workLeft } from './run.js';
import type { StepReport, Trainer } from './trainer.js';
import { Validator } from './validator.js';

/** Steps that are timed; one more goes before them, in which kernels are compiled and memory is taken. */
const measured = 5;

/** Does a few steps, and says what the whole would take. */
export async function dryRun(run: RunOptions): Promise<string> {
  const { record, corpus, folder, signal, group } = run;
  const trainer = await trainerOf(run);
  if (!trainer) return 'Stopped.';
  try {
    const data = record.settings.valFrequency > 0 ? corpus.validation : null;
    const validator = data && new Validator({ data, folder, record, ...(group && { group }) });
    const work = workLeft(run, trainer, validator);
    const validations = validator?.remaining(trainer) ?? 0;
    const reports = await someSteps(trainer, signal);
    const speed = new Forecast();
    for (const report of reports.slice(1)) speed.add(report);
    if (reports.length < 2) for (const report of reports) speed.add(report);
    const table = new Table({ style: { head: [], border: [] }, colWidths: [null, 84], wordWrap: true });
    table.push(...rows({ trainer, reports, speed, validations, keep: record.settings.keepCheckpoints }));
    const whole = speed.seconds(work);
    const training = work.steps * speed.secondsPerStep;
    const others = [
      validations > 0 && `${validations} validations of ${data!.size || 'an unknown number of'} pictures`,
      corpus.evaluationSize(validator !== null) > 0 && 'the evaluation',
    ].filter(Boolean);
    table.push([
      'time',
      `${clock(training)} for ${work.steps} steps${others.length > 0 ? `, about ${clock(whole - training)} for ${others.join(' and ')}: ${clock(whole)} in all` : ''}`,
    ]);
    return table.toString();
  } finally {
    await trainer.loader.close();
  }
}

async function someSteps(trainer: Trainer<Learner>, signal: AbortSignal | undefined): Promise<StepReport[]> {
  const reports: StepReport[] = [];
  const enough = new AbortController();
  await trainer.run({
    signal: AbortSignal.any([enough.signal, ...(signal ? [signal] : [])]),
    onStep: (report) => {
      if (reports.push(report) > measured) enough.abort();
    },
  });
  return reports;
}

const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toPrecision(3)} MiB`;
const millions = (count: number) => `${(count / 1e6).toFixed(2)} M`;

function sizesText(model: TwoTowers): string {
  const { embed_dim } = model.config;
  const all = `${millions(model.parameterCount())} parameters`;
  if (!(model instanceof CloobModel)) return `${all}; embeddings of ${embed_dim}`;
  const { visual, transformer, config } = model;
  const { image_resolution: side, context_length } = config;
  return (
    `${all}: pictures ${millions(visual.parameterCount())}, texts ${millions(transformer.parameterCount())}; ` +
    `embeddings of ${embed_dim}, pictures of ${side}×${side}, ${context_length} tokens`
  );
}

function rows({
  trainer,
  reports,
  speed,
  validations,
  keep,
}: {
  trainer: Trainer<Learner>;
  reports: StepReport[];
  speed: Forecast;
  validations: number;
  keep: number;
}): [string, string][] {
  const { model, loader, options, total, position } = trainer;
  const device = deviceByName(model.logit_inv_tau.device);
  const parameters = model.parameterCount();
  const perEpoch = loader.batchesPerEpoch;
  const timed = reports.slice(1);
  const mean = (key: 'dataSeconds' | 'forwardSeconds' | 'backwardSeconds' | 'updateSeconds') =>
    timed.every((report) => report[key] !== null) && timed.length > 0
      ? timed.reduce((sum, report) => sum + report[key]!, 0) / timed.length
      : null;
  const phases = (['data', 'forward', 'backward', 'update'] as const).flatMap((name) => {
    const seconds = mean(`${name}Seconds`);
    return seconds === null ? [] : [`${name} ${seconds.toPrecision(2)}`];
  });
  const pace = speed.samplesPerSecond.toPrecision(3);
  const done = position.step - reports.length;
  const { reservedBytes, peakBytes } = device.memory();
  return [
    ['model', sizesText(model)],
    [
      'steps',
      `${total} of ${options.batchSize} pairs${perEpoch ? `, ${perEpoch} an epoch` : ''}${done > 0 ? `, ${done} of them done` : ''}`,
    ],
    [
      'a step',
      reports.length === 0
        ? 'none is left'
        : `${speed.secondsPerStep.toPrecision(2)} s, ${Number(pace)} pairs/s on ${processorOf(device)} (${phases.join(', ')}), the mean of ${Math.max(1, timed.length)}`,
    ],
    [
      'memory',
      `${megabytes(Math.max(reservedBytes, peakBytes))} taken by ${device.name}; ${megabytes(16 * parameters)} of it for weights, gradients and moments`,
    ],
    [
      'disk',
      `${megabytes(12 * parameters)} a checkpoint, ${keep} of them${validations > 0 ? `, ${megabytes(4 * parameters)} for the best weights` : ''}`,
    ],
  ];
}
