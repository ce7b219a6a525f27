/**
 * Files that `torch.save` writes: a zip archive with a pickle of the object (`data.pkl`) and one stored, uncompressed
 * entry for the bytes of every storage (`data/0`, `data/1` …). The pickle is read by a restricted reader; tensors are
 * read from their place in the file when they are asked for.
 *
 * Not read, and refused by name: the formats before PyTorch 1.6 and TorchScript archives (programs, not weights).
 */
import { allocate, dtypeOf, type TypedArray } from '../tensor/dtype.js';
import { DataError } from '../tensor/errors.js';
import { sizeOf } from '../tensor/shape.js';
import { PickleGlobal, type PickleValue, unpickle } from './pickle.js';
import { type ByteSource, openFile, type StoredTensor, storedType } from './stored.js';

const op = 'readTorchFile';

/** Storage classes of torch and the element types they hold. */
const storageTypes: Record<string, string> = {
  'torch.FloatStorage': 'F32',
  'torch.DoubleStorage': 'F64',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

/** The elements behind one or several tensors. */
class TorchStorage {
  constructor(
    readonly type: string,
    readonly size: number,
    /** Elements from `start` on. */
    readonly read: (start: number, count: number) => TypedArray,
  ) {}
}

/** A tensor of a torch file, read when asked for. */
export class TorchTensor implements StoredTensor {
  readonly type: string;

  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {
    this.type = storage.type;
  }

  /** Number of storage elements from the first to the last of the tensor's. */
  get span(): number {
    if (sizeOf(this.shape) === 0) return 0;
    return this.shape.reduce((span, size, axis) => span + (size - 1) * this.strides[axis]!, 1);
  }

  read(): TypedArray {
    const source = this.storage.read(this.offset, this.span);
    const rowMajor = this.shape.every(
      (size, axis) => size === 1 || this.strides[axis] === sizeOf(this.shape.slice(axis + 1)),
    );
    return rowMajor ? source : this.#gather(source);
  }

  #gather(source: TypedArray): TypedArray {
    const target = allocate(dtypeOf(source), sizeOf(this.shape));
    const index = this.shape.map(() => 0);
    for (let i = 0, from = 0; i < target.length; i++) {
      target[i] = source[from]!;
      for (let axis = index.length - 1; axis >= 0; axis--) {
        from += this.strides[axis]!;
        if (++index[axis]! < this.shape[axis]!) break;
        from -= this.shape[axis]! * this.strides[axis]!;
        index[axis] = 0;
      }
    }
    return target;
  }
}

export interface TorchFile {
  /** The saved object: maps, arrays, numbers, texts and {@link TorchTensor}s. */
  value: PickleValue;
  close(): void;
}

/**
 * Opens a file of `torch.save`.
 * @throws DataError when it is missing, truncated, of a layout that is not read, or asks for more than data
 */
export async function openTorchFile(path: string): Promise<TorchFile> {
  const source = openFile(op, path);
  try {
    refuseOldLayouts(path, source);
    return { value: readObject(path, source, await zipEntries(path)), close: source.close };
  } catch (error) {
    source.close();
    throw error;
  }
}

const startsWith = (bytes: Uint8Array, text: string, at = 0) =>
  text.length + at <= bytes.length && [...text].every((c, i) => bytes[at + i] === c.charCodeAt(0));

function refuseOldLayouts(path: string, source: ByteSource): void {
  const head = source.read(0, Math.min(source.size, 512));
  if (startsWith(head, 'PK')) return;
  const legacy = startsWith(head, '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46') && 'the layout of PyTorch before 1.6';
  const tar = startsWith(head, 'ustar', 257) && 'the tar layout of PyTorch before 0.1.10';
  throw new DataError(op, {
    received: `${path}: ${legacy || tar || 'not a zip archive'}`,
    expected: 'safetensors, or a file that torch.save of PyTorch 1.6 or newer wrote',
    ...((legacy || tar) && { hint: 'Convert it in Python: torch.save(torch.load(path), path).' }),
  });
}

interface ZipEntry {
  start: number;
  size: number;
  /** Not compressed. */
  stored: boolean;
}

/** Where the bytes of every entry are. @throws DataError for a damaged archive */
async function zipEntries(path: string): Promise<Map<string, ZipEntry>> {
  const { openPromise } = await import('yauzl');
  const entries = new Map<string, ZipEntry>();
  try {
    const zip = await openPromise(path);
    try {
      for await (const entry of zip.eachEntry()) {
        const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
        entries.set(entry.fileName, {
          start: fileDataStart,
          size: entry.uncompressedSize,
          stored: entry.compressionMethod === 0,
        });
      }
    } finally {
      zip.close();
    }
  } catch (error) {
    throw new DataError(op, {
      received: `${path}: ${(error as Error).message}`,
      expected: 'a complete zip archive',
    });
  }
  return entries;
}

function readObject(path: string, source: ByteSource, entries: Map<string, ZipEntry>): PickleValue {
  const fail = (received: string, expected: string, hint?: string): never => {
    throw new DataError(op, { received: `${path}: ${received}`, expected, ...(hint && { hint }) });
  };
  const main = [...entries.keys()].find((name) => /^([^/]*\/)?data\.pkl$/.test(name));
  if (main === undefined) return fail('an archive without data.pkl', 'a file of torch.save');
  const folder = main.slice(0, -'data.pkl'.length);
  const all = ({ start, size }: ZipEntry) => source.read(start, size);
  if (entries.has(`${folder}constants.pkl`))
    fail(
      'a TorchScript archive',
      'a file of torch.save',
      'Convert it in Python: torch.save(torch.jit.load(path, map_location="cpu").state_dict(), "weights.pt").',
    );
  const compressed = [...entries].find(([, entry]) => !entry.stored);
  if (compressed) fail(`entry ${compressed[0]} is compressed`, 'stored entries, as torch.save writes them');
  const order = entries.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(all(order)) !== 'little') fail('big-endian numbers', 'little-endian ones');

  const storage = (id: PickleValue): TorchStorage => {
    const [kind, storageClass, key, , size] = Array.isArray(id) ? id : [];
    const name = storageClass instanceof PickleGlobal ? storageClass.name : '';
    const entry = entries.get(`${folder}data/${key}`);
    if (kind !== 'storage' || !storageTypes[name] || !entry || typeof size !== 'number')
      return fail(`the storage ${JSON.stringify(id)}`, "('storage', class, key, device, size) with its entry");
    const type = storedType(op, storageTypes[name], `storage ${key}`);
    if (entry.size !== size * type.bytes)
      fail(`storage ${key} of ${entry.size} bytes`, `${size} elements of ${type.bytes} bytes`);
    return new TorchStorage(storageTypes[name], size, (start, count) =>
      type.decode(source.read(entry.start + start * type.bytes, count * type.bytes), `storage ${key}`),
    );
  };
  return unpickle(all(entries.get(main)!), { label: `${path} (${main})`, globals: allowed(fail), persistent: storage });
}

/** The names that files with weights need, and what calling them gives. */
function allowed(fail: (received: string, expected: string) => never) {
  const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
  const rebuildTensor = ([storage, offset, shape, strides]: readonly PickleValue[]): TorchTensor => {
    const counts = (x: unknown): x is number[] => Array.isArray(x) && x.every(isCount);
    if (!(storage instanceof TorchStorage) || !isCount(offset) || !counts(shape) || !counts(strides))
      return fail('a tensor without storage, offset, shape or strides', 'the arguments of _rebuild_tensor_v2');
    const tensor = new TorchTensor(storage, offset, shape, strides);
    const fits = shape.length === strides.length && sizeOf(shape) < 2 ** 32 && offset + tensor.span <= storage.size;
    if (!fits)
      fail(`shape [${shape}], strides [${strides}], offset ${offset}`, `a place in a storage of ${storage.size}`);
    return tensor;
  };
  const neverCalled = (name: string) => () => fail(`a call of ${name}`, 'a storage only named');
  return {
    'collections.OrderedDict': ([items]: readonly PickleValue[]) =>
      new Map(Array.isArray(items) ? items.map(([key, value]: PickleValue[]) => [key, value]) : []),
    '__builtin__.set': ([items]: readonly PickleValue[]) => new Set(Array.isArray(items) ? items : []),
    'torch.Size': ([sizes]: readonly PickleValue[]) => sizes,
    'torch._utils._rebuild_tensor_v2': rebuildTensor,
    'torch._utils._rebuild_parameter': ([data]: readonly PickleValue[]) => data,
    ...Object.fromEntries(Object.keys(storageTypes).map((name) => [name, neverCalled(name)])),
  };
}
