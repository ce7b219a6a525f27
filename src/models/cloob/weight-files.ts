/**
 * Files of weights as people have them: one file, several with an index, or a folder as it is downloaded, with a
 * configuration beside. In pages only single files are opened.
 */
import { type ByteSource, type FileInput, fileSystem, openFile, openInput, readJson } from '../../formats/files.js';
import { openSafetensors } from '../../formats/safetensors.js';
import type { StoredTensor, WeightFile } from '../../formats/stored.js';
import { readTorchFile, TorchTensor } from '../../formats/torch-file.js';
import { DataError, describeValue, printable } from '../../tensor/errors.js';

const op = 'loadCheckpoint';

/** Names under which weights lie in a folder, in the order in which they are looked for. */
const usualNames = [
  'model.safetensors',
  'model.safetensors.index.json',
  'open_clip_model.safetensors',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
  'open_clip_pytorch_model.bin',
];

/** Weights, and the folder they lie in: null for what came as bytes or from a server. */
export interface OpenedWeights extends WeightFile {
  name: string;
  folder: string | null;
}

/**
 * Opens weights of any kind.
 * @throws DataError for what cannot be read, holds no weights, or an index that names files outside its folder
 */
export async function openWeights(input: FileInput): Promise<OpenedWeights> {
  const path = localPath(input);
  if (path === null) {
    const source = await openInput(op, input);
    return { ...(await openSource(source)), name: source.name, folder: null };
  }
  const fs = fileSystem(op);
  const isFolder = fs.existsSync(path) && fs.statSync(path).isDirectory();
  const found = isFolder ? usualNames.find((name) => fs.existsSync(`${path}/${name}`)) : undefined;
  if (isFolder && !found)
    throw new DataError(op, {
      received: `${path}: a folder without weights`,
      expected: `one of ${usualNames.join(', ')}`,
    });
  const name = found ? `${path}/${found}` : path;
  const folder = name.replace(/[^/\\]*$/, '');
  const file = name.endsWith('.index.json') ? await openShards(name, folder) : await openSource(openFile(op, name));
  return { ...file, name, folder };
}

/** The path that an input names; null when it is none. */
function localPath(input: FileInput): string | null {
  if (input instanceof URL && input.protocol === 'file:') return decodeURIComponent(input.pathname);
  return typeof input === 'string' && !/^(https?|blob|data|file):/i.test(input) ? input : null;
}

/** Either kind of file, told apart by the first bytes. */
async function openSource(source: ByteSource): Promise<WeightFile> {
  const head = source.read(0, Math.min(9, source.size));
  const isSafetensors = head[8] === 0x7b; // '{' after the header's length
  if (isSafetensors || head.length < 9) return openSafetensors(source);
  const { value, close } = await readTorchFile(source);
  const isStateDict = (x: unknown): x is Map<string, TorchTensor> =>
    x instanceof Map && x.size > 0 && [...x].every(([k, v]) => typeof k === 'string' && v instanceof TorchTensor);
  const saved = value instanceof Map && value.has('state_dict') ? value.get('state_dict') : value;
  if (isStateDict(saved)) return { tensors: saved, metadata: value === saved ? {} : facts(value), close };
  close();
  throw new DataError(op, {
    received: `${source.name} without a state dict`,
    expected: 'a dictionary of tensors by name, or one under the key state_dict',
    hint: 'Save model.state_dict() with torch.save.',
  });
}

/** The numbers and texts beside a state dict, as text. */
function facts(value: unknown): Record<string, string> {
  const plain = [...(value as Map<unknown, unknown>)].filter(
    ([key, v]) => typeof key === 'string' && (typeof v === 'number' || typeof v === 'string'),
  );
  return Object.fromEntries(plain.map(([key, v]) => [key as string, String(v)]));
}

/** Weights in several files, which an index lists by name: `{ weight_map: { name: file } }`. */
async function openShards(index: string, folder: string): Promise<WeightFile> {
  const map = (readJson(op, index, 2 ** 26) as { weight_map?: unknown } | null)?.weight_map;
  if (map === null || typeof map !== 'object' || Object.keys(map).length === 0)
    throw new DataError(op, {
      received: `${index} without a weight_map`,
      expected: '{ "weight_map": { name: file } }',
    });
  const places = Object.entries(map as Record<string, unknown>);
  const opened = new Map<string, WeightFile>();
  const close = () => {
    for (const file of opened.values()) file.close();
  };
  const tensors = new Map<string, StoredTensor>();
  try {
    for (const [name, file] of places) {
      if (typeof file !== 'string' || !/^[^/\\]+$/.test(file) || file === '..' || file === '.')
        throw new DataError(op, {
          received: `${index}: ${printable(name)} in ${describeValue(file)}`,
          expected: 'the name of a file beside the index',
        });
      if (!opened.has(file)) opened.set(file, await openSource(openFile(op, folder + file)));
      const stored = opened.get(file)!.tensors.get(name);
      if (!stored)
        throw new DataError(op, {
          received: `${index}: no ${printable(name)} in ${printable(file)}`,
          expected: 'what the index lists',
        });
      tensors.set(name, stored);
    }
  } catch (error) {
    close();
    throw error;
  }
  return { tensors, metadata: {}, close };
}
