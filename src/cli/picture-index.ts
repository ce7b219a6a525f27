/** Embedded pictures in a file: made by `hopgrad embed`, searched by `hopgrad search` and `hopgrad serve`. */
import { existsSync } from 'node:fs';
import { tensor } from '../autograd/create.js';
import type { DataSpec } from '../data/open.js';
import { openSafetensors, writeSafetensors } from '../formats/safetensors.js';
import type { WeightFile } from '../formats/stored.js';
import type { Preprocessing } from '../models/cloob/config.js';
import { DataError } from '../tensor/errors.js';

/** What is known of an embedded picture. */
export interface IndexedPicture {
  /** Its path as it was given, or its name. */
  name: string;
  /** Its row in the data. */
  row: number;
  /** Its absolute path, where it is a file of its own. */
  file?: string;
  /** It is taken to be unchanged while this is the same: length and time of a file, else a digest of its bytes. */
  stamp: string;
}

export interface PictureIndex {
  /** Unit vectors, row-major [pictures, dim]. */
  vectors: Float32Array;
  dim: number;
  pictures: IndexedPicture[];
  /** Pictures that could not be read, and why. */
  broken: { name: string; why: string }[];
  /** The weights that made the vectors. */
  checkpoint: string;
  /** SHA-256 of their file. */
  weights: string;
  /** How pictures were shown to the model. */
  shown: Preprocessing;
  /** Where the pictures are. */
  data: DataSpec;
  /** False where embedding was interrupted. */
  complete: boolean;
}

const format = 'hopgrad pictures 1';

/** JSON lines as a tensor: metadata of a safetensors file end at 100 MB, which a million paths pass. UTF-8, four bytes a number. */
function linesTensor(records: readonly unknown[]) {
  const text = Buffer.from(`${records.map((record) => JSON.stringify(record)).join('\n')}\n`);
  const bytes = new Uint8Array(Math.ceil(text.length / 4) * 4).fill(10);
  bytes.set(text);
  return tensor(new Int32Array(bytes.buffer), { shape: [bytes.length / 4], device: 'reference' });
}

function linesOf(numbers: Int32Array): unknown[] {
  const text = Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString();
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
}

/** Writes an index, which {@link readIndex} reads; it is whole or not there. @throws DataError when it cannot be written */
export async function writeIndex(path: string, index: PictureIndex): Promise<void> {
  const { vectors, dim, pictures, broken, checkpoint, weights, shown, data, complete } = index;
  const tensors = {
    embeddings: tensor(vectors, { shape: [pictures.length, dim], device: 'reference' }),
    pictures: linesTensor(pictures),
    broken: linesTensor(broken),
  };
  const [how, where] = [shown, data].map((value) => JSON.stringify(value)) as [string, string];
  const metadata = { format, checkpoint, weights, shown: how, data: where, complete: String(complete) };
  await writeSafetensors(path, tensors, metadata);
  for (const each of Object.values(tensors)) each.dispose();
}

/** @throws DataError when the file is missing or no index of this version */
export function readIndex(path: string): PictureIndex {
  if (!existsSync(path))
    throw new DataError('search', {
      received: `no index ${path}`,
      expected: 'a file that hopgrad embed wrote',
      hint: 'Make one (npx hopgrad embed FOLDER), or name the pictures with --images.',
    });
  const unusable = (received: string, cause?: unknown) =>
    new DataError('search', {
      received,
      expected: 'a file that hopgrad embed of this version wrote',
      hint: 'Make it anew: npx hopgrad embed FOLDER --fresh.',
      cause,
    });
  const fail = (received: string): never => {
    throw unusable(`${path} ${received}`);
  };
  let file: WeightFile | undefined;
  try {
    file = openSafetensors(path);
    const { tensors } = file;
    const { checkpoint, weights, shown, data, complete, ...rest } = file.metadata;
    const embeddings = tensors.get('embeddings');
    const [count, dim] = embeddings?.shape ?? [];
    const vectors = embeddings?.read();
    const lines = (name: string) => {
      const numbers = tensors.get(name)?.read();
      return numbers instanceof Int32Array ? linesOf(numbers) : fail(`without ${name}`);
    };
    if (rest.format !== format || !checkpoint || !weights || !shown || !data) return fail('is no index of pictures');
    if (!(vectors instanceof Float32Array) || dim === undefined || embeddings!.shape.length !== 2)
      return fail('without embeddings');
    const pictures = lines('pictures');
    if (pictures.length !== count || !pictures.every(isPicture)) return fail(`without pictures for ${count} vectors`);
    return {
      ...{ vectors, dim, pictures, checkpoint, weights },
      broken: lines('broken') as PictureIndex['broken'],
      shown: JSON.parse(shown) as Preprocessing,
      data: JSON.parse(data) as DataSpec,
      complete: complete === 'true',
    };
  } catch (error) {
    if (error instanceof SyntaxError) return fail(`with JSON that is none (${error.message})`);
    if (error instanceof DataError && error.op !== 'search') throw unusable(error.received, error); // damaged
    throw error;
  } finally {
    file?.close();
  }
}

function isPicture(value: unknown): value is IndexedPicture {
  const { name, row, file = '', stamp } = (value ?? {}) as Partial<Record<keyof IndexedPicture, unknown>>;
  return typeof name === 'string' && Number.isSafeInteger(row) && typeof file === 'string' && typeof stamp === 'string';
}
