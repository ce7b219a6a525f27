/** The flags of `hopgrad train`, named as in the official code and open_clip where they mean the same. */
import { type Command, Option } from 'commander';
import { configs } from '../models/cloob/config.js';
import { UsageError } from '../tensor/errors.js';
import { checkTrainOptions, lossNames, methods, schedulers, type TrainOptions } from '../train/options.js';
import { parseNumber, parseShareOrSteps, parseWhole } from './parse.js';

/** Defaults for the embedded data; the README says how they were found. */
export const emojiDefaults: TrainOptions = {
  model: 'emoji-resnet',
  center: 'off',
  loss: 'infoloob',
  hopfield: true,
  hopfieldFrom: 0.8,
  scaleHopfield: 8,
  learnableScaleHopfield: false,
  initInvTau: 30,
  learnableInvTau: false,
  batchSize: 128,
  epochs: 44,
  steps: null,
  lr: 2e-3,
  wd: 0.1,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  warmup: null,
  lrScheduler: 'cosine',
  restartCycles: 1,
  maxGradNorm: null,
  seed: 1,
  vocabSize: null,
};

/** What commander makes of the training flags; only flags that were given are there. */
export type TrainFlags = Partial<Omit<TrainOptions, 'loss' | 'hopfield'>> & {
  method?: keyof typeof methods;
  loss?: TrainOptions['loss'];
  hopfield?: boolean;
};

const choice = (flags: string, description: string, choices: readonly string[]) =>
  new Option(flags, description).choices(choices);

/** Adds the flags that describe a training. */
export function addTrainFlags(command: Command): Command {
  const d = emojiDefaults;
  const number = (flags: string, text: string, parse = parseNumber) =>
    command.addOption(new Option(flags, text).argParser(parse));
  command
    .optionsGroup('Objective:')
    .addOption(
      choice('--method <name>', 'cloob: InfoLOOB with Hopfield; clip: InfoNCE (default: cloob)', Object.keys(methods)),
    )
    .addOption(choice('--loss <name>', 'loss, instead of the method’s', lossNames))
    .option('--hopfield', 'let Hopfield memories answer for the embeddings, whatever the method')
    .option('--no-hopfield', 'compare embeddings as they are, whatever the method');
  command.addOption(
    choice('--center <how>', `take the batch’s mean off the embeddings (default: ${d.center})`, ['batch', 'off']),
  );
  number(
    '--hopfield-from <n>',
    `compare embeddings as they are at first, ask the memories from this step on; below 1 or with %: a share of the training (default: ${d.hopfieldFrom})`,
    parseShareOrSteps,
  );
  number('--scale-hopfield <beta>', `β, the memories’ inverse temperature (default: ${d.scaleHopfield})`);
  command.option('--learnable-scale-hopfield', 'learn β');
  number('--init-inv-tau <n>', `τ⁻¹, the inverse temperature of the loss (default: ${d.initInvTau})`);
  command.option('--learnable-inv-tau', 'learn τ⁻¹, kept in [1, 100]');
  command
    .optionsGroup('Model and optimisation:')
    .option('--model <name>', `${Object.keys(configs).join(', ')} (default: ${d.model})`);
  number('--vocab-size <n>', 'tokens of the vocabulary trained on the captions (default: the model’s)', parseWhole);
  number('--batch-size <n>', `pairs a step (default: ${d.batchSize})`, parseWhole);
  number('--epochs <n>', `(default: ${d.epochs})`, parseWhole);
  number('--steps <n>', 'steps in all, instead of --epochs', parseWhole);
  number('--lr <n>', `highest learning rate (default: ${d.lr})`);
  number('--wd <n>', `weight decay (default: ${d.wd})`);
  number('--beta1 <n>', `Adam’s decay of the mean (default: ${d.beta1})`);
  number('--beta2 <n>', `Adam’s decay of the square (default: ${d.beta2})`);
  number('--eps <n>', `Adam’s ε (default: ${d.eps})`);
  number('--warmup <steps>', 'steps in which the rate grows (default: a twentieth)', parseWhole);
  command.addOption(choice('--lr-scheduler <name>', `(default: ${d.lrScheduler})`, schedulers));
  number('--restart-cycles <n>', 'cycles of cosine-restarts (default: 1)', parseWhole);
  number('--max-grad-norm <n>', 'scale larger gradients down to this norm (default: never)');
  number('--seed <n>', `same seed, same numbers (default: ${d.seed})`, parseWhole);
  return command;
}

/** Names of the flags that fix a training: they cannot be given again when it is resumed. */
export const trainingFlags = [...Object.keys(emojiDefaults), 'method'];

/**
 * Options from flags over defaults. `--loss` and `--hopfield` win over `--method`.
 * @throws UsageError, DomainError for values out of range
 */
export function resolveTrainOptions(flags: TrainFlags, defaults: TrainOptions = emojiDefaults): TrainOptions {
  const { method = 'cloob', ...given } = flags;
  const known = Object.fromEntries(Object.entries(given).filter(([name]) => name in defaults));
  const options = { ...defaults, ...methods[method], ...known } as TrainOptions;
  if (!Object.hasOwn(configs, options.model))
    throw new UsageError('train', {
      received: `--model ${options.model}`,
      expected: `one of ${Object.keys(configs).join(', ')}`,
    });
  return checkTrainOptions(options);
}

/** "CLOOB", "CLIP", or the cell of the grid: "InfoNCE + Hopfield". */
export function methodName({ loss, hopfield }: TrainOptions): string {
  for (const [name, method] of Object.entries(methods))
    if (method.loss === loss && method.hopfield === hopfield) return name.toUpperCase();
  const names = { infoloob: 'InfoLOOB', infonce: 'InfoNCE', dcl: 'DCL', siglip: 'SigLIP' };
  return `${names[loss]}${hopfield ? ' + Hopfield' : ''}`;
}
