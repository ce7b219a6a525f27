#!/usr/bin/env node
/**
 * The `hopgrad` command. Exit codes: 0 done, 1 an error told in one line, 2 wrong usage, 128 + n stopped by signal n (130
 * for Ctrl-C).
 */
import '../autograd/ops/index.js';
import { Command, CommanderError } from 'commander';
import { HopgradError, UsageError } from '../tensor/errors.js';
import { say } from '../train/progress.js';
import { addConvertCommand } from './convert.js';
import { addEmbedCommand } from './embed.js';
import { addEvalCommand } from './eval.js';
import { addExperimentCommand } from './experiment.js';
import { addDataCommand } from './install-data.js';
import { addProbeCommand } from './probe.js';
import { failTogether, joinRanks } from './ranks.js';
import { addReportCommand } from './report.js';
import { addRunsCommand } from './runs.js';
import { addSearchCommand } from './search.js';
import { addServeCommand } from './serve.js';
import { addStatsCommand } from './stats.js';
import { addTrainCommand } from './train.js';
import { description, version } from './version.js';
import { addZeroShotCommand } from './zero-shot.js';

function makeProgram(): Command {
  const program = new Command('hopgrad').description(description).version(version);
  program.exitOverride().showHelpAfterError('(--help lists what there is)').configureHelp({ helpWidth: 100 });
  addTrainCommand(program);
  addRunsCommand(program);
  addExperimentCommand(program);
  addReportCommand(program);
  addEvalCommand(program);
  addZeroShotCommand(program);
  addProbeCommand(program);
  addStatsCommand(program);
  addEmbedCommand(program);
  addSearchCommand(program);
  addServeCommand(program);
  addConvertCommand(program);
  addDataCommand(program);
  for (const command of program.commands) command.copyInheritedSettings(program);
  program.hook('preAction', (_, command) => joinRanks(command));
  return program;
}

/**
 * A reader that has seen enough (head), a closed terminal or a full disk ends no work: what cannot be shown is not shown.
 * Only a full disk is a failure, told at the end.
 */
for (const stream of [process.stdout, process.stderr])
  stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE' || code === 'EIO' || process.exitCode === 1) return;
    process.exitCode = 1;
    if (stream === process.stdout) say(`hopgrad: output could not be written (${message}); the work goes on`);
  });

try {
  await makeProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof HopgradError) {
    process.exitCode = error instanceof UsageError ? 2 : 1;
    await failTogether(error);
    say(`hopgrad: ${error.message}`);
  } else throw error; // a fault of ours: the stack helps
}
