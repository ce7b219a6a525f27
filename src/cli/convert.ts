/** `hopgrad convert`: weights of the official code or of PyTorch into safetensors, and between precisions. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import type { FloatStorage } from '../formats/stored.js';
import { filesBeside } from '../models/cloob/beside.js';
import { loadCheckpoint, saveCheckpoint } from '../models/cloob/checkpoint.js';
import type { Activation } from '../models/cloob/config.js';
import { type Layout, layouts } from '../models/cloob/layouts.js';
import { UsageError } from '../tensor/errors.js';
import { addDeviceFlags, type DeviceFlags, startDevice } from './device.js';

/** Enters `hopgrad convert`. */
export function addConvertCommand(program: Command): void {
  const command = program
    .command('convert')
    .description(
      'read weights of CLOOB, CLIP, open_clip or Hugging Face (.pt, .bin, .safetensors) and write them as safetensors',
    )
    .argument('<from>', 'file of weights, index of several (.index.json), or a folder that holds them')
    .argument('<out>', 'file to write, ending in .safetensors')
    .addOption(new Option('--floats <type>', 'how numbers are stored').choices(['F32', 'F16', 'BF16']).default('F32'))
    .addOption(
      new Option('--to <layout>', 'whose names the weights get; configurations that go with them are written beside')
        .choices(layouts)
        .default('cloob'),
    )
    .addOption(
      new Option(
        '--activation <name>',
        'what the weights were trained with, where nothing beside them says it',
      ).choices(['quick_gelu', 'gelu']),
    );
  addDeviceFlags(command).action(convert);
}

interface ConvertFlags extends DeviceFlags {
  floats: FloatStorage;
  to: Layout;
  activation?: Activation;
}

async function convert(
  from: string,
  out: string,
  { floats, to: layout, activation, ...flags }: ConvertFlags,
): Promise<void> {
  if (!/\.safetensors$/i.test(out))
    throw new UsageError('convert', {
      received: `${out} to write`,
      expected: 'a name ending in .safetensors, the format that is written',
    });
  await startDevice(flags);
  const { model, tokenizer, metadata } = await loadCheckpoint(from, activation && { activation });
  const files = filesBeside(layout, model.config, tokenizer);
  const taken = Object.keys(files).find((name) => existsSync(join(dirname(out), name)));
  if (taken)
    throw new UsageError('convert', {
      received: `${join(dirname(out), taken)}, which is there already`,
      expected: `a folder for ${basename(out)} and what goes with it: ${Object.keys(files).join(', ')}`,
    });
  await saveCheckpoint(out, { model, metadata, floats, layout, ...(tokenizer && { tokenizer }) });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dirname(out), name), text);
  const { embed_dim, image_resolution } = model.config;
  console.log(
    `${out}: ${(model.parameterCount() / 1e6).toFixed(2)} M parameters in ${floats}, ` +
      `pictures of ${image_resolution}×${image_resolution}, vectors of ${embed_dim}` +
      `${Object.keys(files).length > 0 ? `; beside it ${Object.keys(files).join(', ')}` : ''}`,
  );
}
