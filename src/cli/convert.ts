/** `hopgrad convert`: weights of others into safetensors, between precisions and layouts, and into files of ONNX. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import type { FloatStorage } from '../formats/stored.js';
import { filesBeside } from '../models/cloob/beside.js';
import { loadCheckpoint, saveCheckpoint } from '../models/cloob/checkpoint.js';
import type { Activation, Colour } from '../models/cloob/config.js';
import { type Layout, layouts } from '../models/cloob/layouts.js';
import type { CloobModel } from '../models/cloob/model.js';
import { UsageError } from '../tensor/errors.js';
import { colour } from '../train/option-kinds.js';
import { addDeviceFlags, type DeviceFlags, startDevice } from './device.js';
import { checkOutput } from './output.js';
import { parseColour } from './parse.js';

/** Enters `hopgrad convert`. */
export function addConvertCommand(program: Command): void {
  const command = program
    .command('convert')
    .description(
      'read weights of CLOOB, CLIP, open_clip or Hugging Face (.pt, .bin, .safetensors) and write them as safetensors, or as files of ONNX',
    )
    .argument('<from>', 'file of weights, index of several (.index.json), or a folder that holds them')
    .argument('<out>', 'file to write, ending in .safetensors; a folder for --to onnx')
    .addOption(new Option('--floats <type>', 'how numbers are stored').choices(['F32', 'F16', 'BF16']).default('F32'))
    .addOption(
      new Option(
        '--to <layout>',
        'whose names the weights get, configurations that go with them beside; or onnx, as transformers.js reads it',
      )
        .choices([...layouts, 'onnx'])
        .default('cloob'),
    )
    .addOption(
      new Option(
        '--activation <name>',
        'what the weights were trained with, where nothing beside them says it',
      ).choices(['quick_gelu', 'gelu']),
    )
    .option(
      '--background <colour>',
      `what transparent pictures are laid on from now on: ${colour.range} (default: as before)`,
      parseColour,
    );
  addDeviceFlags(command).action(convert);
}

interface ConvertFlags extends DeviceFlags {
  floats: FloatStorage;
  to: Layout | 'onnx';
  activation?: Activation;
  background?: Colour | null;
}

async function convert(
  from: string,
  out: string,
  { floats, to: layout, activation, background, ...flags }: ConvertFlags,
): Promise<void> {
  if (layout === 'onnx')
    return convertToOnnx(from, out, {
      floats,
      ...(background !== undefined && { background }),
      ...(activation && { activation }),
      ...flags,
    });
  if (!/\.safetensors$/i.test(out))
    throw new UsageError('convert', {
      received: `${out} to write`,
      expected: 'a name ending in .safetensors, the format that is written',
    });
  checkOutput('convert', 'out', out);
  await startDevice(flags);
  const { model, tokenizer, metadata } = await loadCheckpoint(from, activation && { activation });
  const files = filesBeside(layout, model.config, tokenizer);
  refuseTaken(dirname(out), Object.keys(files), `${basename(out)} and what goes with it`);
  await saveCheckpoint(out, { model, metadata, floats, layout, background, ...(tokenizer && { tokenizer }) });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dirname(out), name), text);
  const beside = Object.keys(files).length > 0 ? `; beside it ${Object.keys(files).join(', ')}` : '';
  console.log(`${out}: ${sizesOf(model, floats)}${beside}`);
}

/** `--to onnx`: a folder with both encoders and what prepares their inputs. */
async function convertToOnnx(
  from: string,
  out: string,
  { floats, activation, background, ...flags }: Omit<ConvertFlags, 'to'>,
): Promise<void> {
  if (background !== undefined)
    throw new UsageError('convert', {
      received: '--to onnx --background',
      expected: 'no background: whoever prepares pictures for the encoders chooses it',
    });
  if (floats !== 'F32')
    throw new UsageError('convert', { received: `--to onnx --floats ${floats}`, expected: '--floats F32' });
  if (/\.(onnx|safetensors)$/i.test(out))
    throw new UsageError('convert', {
      received: `${out} to write`,
      expected: 'the name of a folder: two encoders, a tokenizer and configurations go into it',
    });
  await startDevice(flags);
  const { model, tokenizer } = await loadCheckpoint(from, activation && { activation });
  const { cloobToOnnx } = await import('../onnx/index.js');
  const files = await cloobToOnnx(model, tokenizer);
  refuseTaken(out, Object.keys(files), 'these files');
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(out, name)), { recursive: true });
    writeFileSync(join(out, name), content);
  }
  console.log(`${out}: ${sizesOf(model, floats)}; ${Object.keys(files).join(', ')}`);
}

/** @throws UsageError when a file is there already */
function refuseTaken(folder: string, names: readonly string[], what: string): void {
  const taken = names.find((name) => existsSync(join(folder, name)));
  if (taken)
    throw new UsageError('convert', {
      received: `${join(folder, taken)}, which is there already`,
      expected: `a folder for ${what}: ${names.join(', ')}`,
    });
}

function sizesOf(model: CloobModel, floats: FloatStorage): string {
  const { embed_dim, image_resolution } = model.config;
  return (
    `${(model.parameterCount() / 1e6).toFixed(2)} M parameters in ${floats}, ` +
    `pictures of ${image_resolution}×${image_resolution}, vectors of ${embed_dim}`
  );
}
