/** `--config`: options from a file, JSON or YAML. Flags that are given win over it. */
import { extname } from 'node:path';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import leven from 'leven';
import { parseDocument } from 'yaml';
import { camel } from '../experiment/plan.js';
import { readJson, readText } from '../formats/files.js';
import { describeValue, printable, UsageError } from '../tensor/errors.js';
import { failOn, type Mistake, settingsTable, trainTable } from '../train/options.js';

/** Where the value of a flag came from, for commander. */
const source = 'config';

/** Whether a flag was given, on the command line or in a file. */
export const isGiven = (command: Command, name: string) =>
  ['cli', source].includes(command.getOptionValueSource(name) ?? '');

/** Flags that make no sense in a file. */
const never = ['config', 'resume', 'dryRun', 'debugRun', 'help'];

/** {@link applyValues} with those of a file. @throws DataError for a file that cannot be read */
export function applyConfig(command: Command, path: string): void {
  const op = 'train --config';
  applyValues(command, readValues(op, path), `${op} ${path}`);
}

/**
 * Gives a command options by name, as if they had been typed, where they were not. Names are those of the flags, as
 * `batch-size`, `batch_size` or `batchSize`.
 * @param where they stand, for messages
 * @throws UsageError that lists every mistake
 */
export function applyValues(command: Command, values: Record<string, unknown>, where: string): void {
  const mistakes: Mistake[] = [];
  const seen = new Map<string, string>();
  const found: [string, unknown][] = [];
  for (const [key, value] of Object.entries(values)) {
    const option = optionOf(command, key);
    if (!option) {
      mistakes.push({ received: printable(key), expected: suggestion(command, key) });
      continue;
    }
    const name = option.attributeName();
    if (seen.has(name)) mistakes.push({ received: `${key} beside ${seen.get(name)}`, expected: 'one of the two' });
    seen.set(name, key);
    const outcome = asOption(option, value);
    if ('expected' in outcome)
      mistakes.push({ received: `${printable(key)} ${describeValue(value)}`, expected: outcome.expected });
    else found.push([name, outcome.value]);
  }
  failOn(mistakes, where);
  const typed = (name: string) => command.getOptionValueSource(name) === 'cli';
  // A method that is typed stands for a loss and for memories, and wins over those of the file.
  const won = typed('method') ? ['loss', 'hopfield'] : [];
  for (const [name, value] of found)
    if (!typed(name) && !won.includes(name)) command.setOptionValueWithSource(name, value, source);
}

const mostBytes = 2 ** 20;

/** What a file of JSON or YAML holds by name. @throws UsageError, DataError */
export function readValues(op: string, path: string): Record<string, unknown> {
  const kind = extname(path).toLowerCase();
  if (!['.json', '.yaml', '.yml'].includes(kind))
    throw new UsageError(op, { received: path, expected: 'a file that ends in .json, .yaml or .yml' });
  const value = kind === '.json' ? readJson(op, path, mostBytes) : parseYaml(op, path, readText(op, path, mostBytes));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(op, { received: `${path}: ${describeValue(value)}`, expected: 'options by name' });
  return value as Record<string, unknown>;
}

function parseYaml(op: string, path: string, text: string): unknown {
  const document = parseDocument(text, { prettyErrors: true });
  const [first] = document.errors;
  let why = first?.message;
  if (!first)
    try {
      return document.toJS();
    } catch (error) {
      why = (error as Error).message; // aliases that would grow without bounds
    }
  throw new UsageError(op, { received: `${path}: ${why!.split('\n')[0]}`, expected: 'YAML' });
}

const allowed = (command: Command) =>
  command.options.filter((option) => !option.negate && !never.includes(option.attributeName()));

const optionOf = (command: Command, key: string): Option | undefined =>
  allowed(command).find((option) => option.attributeName() === camel(key));

function suggestion(command: Command, key: string): string {
  if (never.includes(camel(key))) return 'this on the command line only';
  const names = allowed(command).map((option) => option.name());
  const distance = (name: string) =>
    leven(
      name,
      camel(key).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    );
  const nearest = names.reduce((best, name) => (distance(name) < distance(best) ? name : best));
  const near = distance(nearest) <= Math.max(2, nearest.length / 3);
  return near ? `an option of train; did you mean ${nearest}?` : 'an option of train (--help lists them)';
}

/** What a value of the file is as an option, or what it should be. */
function asOption(option: Option, value: unknown): { value: unknown } | { expected: string } {
  const name = option.attributeName();
  const own = { ...trainTable, ...settingsTable }[name as keyof typeof trainTable];
  if (own) return own.kind.ok(value) || (value === null && own.whenNull) ? { value } : { expected: own.kind.range };
  if (option.isBoolean()) return typeof value === 'boolean' ? { value } : { expected: 'true or false' };
  if (typeof value !== 'string' && typeof value !== 'number') return { expected: 'a text or a number' };
  const text = String(value);
  if (option.argChoices)
    return option.argChoices.includes(text) ? { value: text } : { expected: option.argChoices.join(', ') };
  if (!option.parseArg) return { value: text };
  try {
    return { value: option.parseArg(text, undefined as never) };
  } catch (error) {
    if (error instanceof InvalidArgumentError) return { expected: error.message.replace(/^It must be |\.$/g, '') };
    throw error;
  }
}
