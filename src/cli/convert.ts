/** `hopgrad convert`: weights of the official code or of PyTorch into safetensors, and between precisions. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import type { FloatStorage } from '../formats/stored.js';
import { loadCheckpoint, saveCheckpoint } from '../models/cloob/checkpoint.js';
import { UsageError } from '../tensor/errors.js';
import { addDeviceFlags, type DeviceFlags, startDevice } from './device.js';

/** Enters `hopgrad convert`. */
export function addConvertCommand(program: Command): void {
  const command = program
    .command('convert')
    .description('read weights (.pt of the official code, .safetensors) and write them as safetensors')
    .argument('<from>', 'file of weights, or folder of a run')
    .argument('<to>', 'file to write, ending in .safetensors')
    .addOption(new Option('--floats <type>', 'how numbers are stored').choices(['F32', 'F16', 'BF16']).default('F32'));
  addDeviceFlags(command).action(convert);
}

async function convert(from: string, to: string, flags: DeviceFlags & { floats: FloatStorage }): Promise<void> {
  if (!/\.safetensors$/i.test(to))
    throw new UsageError('convert', {
      received: `${to} to write`,
      expected: 'a name ending in .safetensors, the format that is written',
    });
  const isFolder = existsSync(from) && statSync(from).isDirectory();
  await startDevice(flags);
  const { model, tokenizer, metadata } = await loadCheckpoint(isFolder ? join(from, 'model.safetensors') : from);
  await saveCheckpoint(to, { model, metadata, floats: flags.floats, ...(tokenizer && { tokenizer }) });
  const { embed_dim, image_resolution } = model.config;
  console.log(
    `${to}: ${(model.parameterCount() / 1e6).toFixed(2)} M parameters in ${flags.floats}, ` +
      `pictures of ${image_resolution}×${image_resolution}, vectors of ${embed_dim}`,
  );
}
