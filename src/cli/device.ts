/** The flags about where to compute, shared by all commands. */
import { type Command, Option } from 'commander';
import { type InitOptions, type InitResult, init } from '../kernels/init.js';
import { UsageError } from '../tensor/errors.js';
import { parseWhole } from './parse.js';
import { ownCores, ranks } from './ranks.js';

export interface DeviceFlags {
  device: NonNullable<InitOptions['device']>;
  threads?: number;
}

const names = ['auto', 'wasm', 'webgpu', 'webgl2', 'gpujs-cpu', 'reference'];

/** The flags about where to compute. */
export function addDeviceFlags(command: Command): Command {
  return command
    .optionsGroup('Device:')
    .addOption(new Option('--device <name>', 'where to compute; auto tries a GPU first').choices(names).default('wasm'))
    .addOption(new Option('--threads <n>', 'threads of the wasm device (default: all cores)').argParser(parseWhole));
}

/** @throws UsageError for a number of threads below 1; DeviceError when the device cannot run here */
export async function startDevice({ device, threads }: DeviceFlags): Promise<InitResult> {
  const group = ranks();
  if (group.size === 1) return init({ device, ...(threads !== undefined && { threads }) });
  if (device !== 'wasm' && device !== 'reference')
    throw new UsageError('--device', {
      received: `${device} on ${group.size} ranks`,
      expected: 'wasm or reference: what ranks send is read at once, which graphics devices cannot',
    });
  const own = process.env.HOPGRAD_THREADS === undefined ? ownCores() : undefined;
  const count = threads ?? own;
  const result = await init({ device, ...(count !== undefined && { threads: count }) });
  return { ...result, description: `${group.size} ranks (${group.transport.name}), each on ${result.description}` };
}
