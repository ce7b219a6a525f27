/**
 * Files that `torch.save` writes: a zip archive with a pickle of the object (`data.pkl`) and one stored, uncompressed
 * entry for the bytes of every storage (`data/0`, `data/1` …). The pickle is read by a restricted reader; tensors are
 * read from their place in the file when they are asked for.
 *
 * Not read, and refused by name: the formats before PyTorch 1.6 and TorchScript archives (programs, not weights).
 */
import { allocate, dtypeOf, type TypedArray } from '../tensor/dtype.js';
import { DataError, printable } from '../tensor/errors.js';
import { formatShape, sizeOf } from '../tensor/shape.js';
import { asDataError, type ByteSource, crc32, type FileInput, guarded, openInput } from './files.js';
import { PickleGlobal, type PickleValue, unpickle } from './pickle.js';
import { type StoredTensor, storedType } from './stored.js';
import { type ZipEntry, zipEntries } from './zip.js';

const op = 'readTorchFile';

/** Storage classes of torch and the element types they hold. */
const storageTypes: Readonly<Record<string, string>> = {
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
    /** For messages. */
    readonly name: string,
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

  /** Shape and type; the elements are in the file. */
  toString(): string {
    return `TorchTensor ${formatShape(this.shape)} ${this.type}`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Shape and type, for JSON.stringify. */
  toJSON(): { type: string; shape: readonly number[] } {
    return { type: this.type, shape: this.shape };
  }

  read(): TypedArray {
    return guarded(op, this.storage.name, () => this.#elements());
  }

  #elements(): TypedArray {
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

/** An opened file of torch.save; its tensors are read when they are asked for. */
export interface TorchFile {
  /** The saved object: maps, arrays, numbers, texts and {@link TorchTensor}s. */
  value: PickleValue;
  /** Closes the file; tensors that were not read are gone. */
  close(): void;
}

/** Most bytes of the pickle: that of a state dict has a hundred a tensor. */
const mostPickleBytes = 2 ** 26;

/**
 * Opens a file of `torch.save`. Its tensors are read when they are asked for, and their sums (CRC-32) checked then.
 * @param input a path; bytes, a Blob, a URL or a Response
 * @throws DataError when it is missing, truncated or damaged, of a layout that is not read, or asks for more than data
 */
export async function openTorchFile(input: FileInput): Promise<TorchFile> {
  return readTorchFile(await openInput(op, input));
}

/** The same for bytes that are open already; closing the file closes them. */
export async function readTorchFile(source: ByteSource): Promise<TorchFile> {
  try {
    refuseOldLayouts(source);
    return { value: readObject(source, await zipEntries(op, source)), close: source.close };
  } catch (error) {
    source.close();
    throw asDataError(op, source.name, error);
  }
}

const startsWith = (bytes: Uint8Array, text: string, at = 0) =>
  text.length + at <= bytes.length && [...text].every((c, i) => bytes[at + i] === c.charCodeAt(0));

function refuseOldLayouts(source: ByteSource): void {
  const head = source.read(0, Math.min(source.size, 512));
  if (startsWith(head, 'PK')) return;
  const legacy = startsWith(head, '\x80\x02\x8a\x0a\x6c\xfc\x9c\x46') && 'the layout of PyTorch before 1.6';
  const tar = startsWith(head, 'ustar', 257) && 'the tar layout of PyTorch before 0.1.10';
  throw new DataError(op, {
    received: `${source.name}: ${legacy || tar || 'not a zip archive'}`,
    expected: 'safetensors, or a file that torch.save of PyTorch 1.6 or newer wrote',
    ...((legacy || tar) && { hint: 'Convert it in Python: torch.save(torch.load(path), path).' }),
  });
}

/** Reads bytes of an entry after its sum was found right, which is looked at once. */
function checkedReader(source: ByteSource, what: string, entry: ZipEntry) {
  let isRight = false;
  const check = (sum: number) => {
    if (sum !== entry.crc32)
      throw new DataError(op, {
        received: `${source.name}: ${what} is damaged (its CRC-32 is ${sum.toString(16)})`,
        expected: `${entry.crc32.toString(16)}, as the archive says`,
        hint: 'Copy or download it again.',
      });
    isRight = true;
  };
  return (start: number, length: number): Uint8Array => {
    const bytes = source.read(entry.start + start, length);
    if (isRight) return bytes;
    if (length === entry.size) check(crc32(bytes, 0));
    else {
      let sum = 0;
      const piece = 2 ** 24;
      for (let at = 0; at < entry.size; at += piece)
        sum = crc32(source.read(entry.start + at, Math.min(piece, entry.size - at)), sum);
      check(sum);
    }
    return bytes;
  };
}

function readObject(source: ByteSource, entries: Map<string, ZipEntry>): PickleValue {
  const fail = (received: string, expected: string, hint?: string): never => {
    throw new DataError(op, { received: `${source.name}: ${received}`, expected, ...(hint && { hint }) });
  };
  const main = [...entries.keys()].find((name) => /^([^/]*\/)?data\.pkl$/.test(name));
  if (main === undefined) return fail('an archive without data.pkl', 'a file of torch.save');
  const folder = main.slice(0, -'data.pkl'.length);
  if (entries.has(`${folder}constants.pkl`))
    fail(
      'a TorchScript archive',
      'a file of torch.save',
      'Convert it in Python: torch.save(torch.jit.load(path, map_location="cpu").state_dict(), "weights.pt").',
    );
  const compressed = [...entries].find(([, entry]) => !entry.stored);
  if (compressed) fail(`entry ${printable(compressed[0])} is compressed`, 'stored entries, as torch.save writes them');
  const all = (name: string, most: number): Uint8Array => {
    const entry = entries.get(name)!;
    if (entry.size > most) fail(`${name} of ${entry.size} bytes`, `at most ${most}`);
    return checkedReader(source, name, entry)(0, entry.size);
  };
  const order = `${folder}byteorder`;
  if (entries.has(order) && new TextDecoder().decode(all(order, 16)) !== 'little')
    fail('big-endian numbers', 'little-endian ones');

  const storage = (id: PickleValue): TorchStorage => {
    const [kind, storageClass, key, , size] = Array.isArray(id) ? id : [];
    const name = storageClass instanceof PickleGlobal ? storageClass.name : '';
    const entry = typeof key === 'string' ? entries.get(`${folder}data/${key}`) : undefined;
    if (kind !== 'storage' || !Object.hasOwn(storageTypes, name) || !entry || !isCount(size))
      return fail('a storage of an unknown kind', "('storage', class, key, device, size) with its entry");
    const what = `storage ${printable(key as string)}`;
    const type = storedType(op, storageTypes[name]!, what);
    if (entry.size !== size * type.bytes)
      fail(`${what} of ${entry.size} bytes`, `${size} elements of ${type.bytes} bytes`);
    const read = checkedReader(source, what, entry);
    return new TorchStorage(source.name, storageTypes[name]!, size, (start, count) =>
      type.decode(read(start * type.bytes, count * type.bytes), what),
    );
  };
  return unpickle(all(main, mostPickleBytes), {
    label: `${source.name} (${main})`,
    globals: allowed(fail, 16 * source.size + 2 ** 20),
    persistent: storage,
  });
}

const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;

/**
 * The names that files with weights need, and what calling them gives.
 * @param mostElements of all tensors together: several may share a storage, and with stride 0 one element makes any size
 */
function allowed(fail: (received: string, expected: string) => never, mostElements: number) {
  let elements = 0;
  const rebuildTensor = ([storage, offset, shape, strides]: readonly PickleValue[]): TorchTensor => {
    const counts = (x: unknown): x is number[] => Array.isArray(x) && x.length <= 64 && x.every(isCount);
    if (!(storage instanceof TorchStorage) || !isCount(offset) || !counts(shape) || !counts(strides))
      return fail('a tensor without storage, offset, shape or strides', 'the arguments of _rebuild_tensor_v2');
    const tensor = new TorchTensor(storage, offset, [...shape], [...strides]); // the pickle can still change its lists
    const fits = shape.length === strides.length && sizeOf(shape) < 2 ** 32 && offset + tensor.span <= storage.size;
    if (!fits)
      fail(`shape [${shape}], strides [${strides}], offset ${offset}`, `a place in a storage of ${storage.size}`);
    elements += sizeOf(shape);
    if (elements > mostElements)
      fail(`tensors of ${elements} elements`, `at most ${mostElements}, 16 for every byte of the file`);
    return tensor;
  };
  const neverCalled = (name: string) => () => fail(`a call of ${name}`, 'a storage only named');
  const isPair = (x: unknown): x is [PickleValue, PickleValue] => Array.isArray(x) && x.length === 2;
  return {
    'collections.OrderedDict': ([items = []]: readonly PickleValue[]) =>
      Array.isArray(items) && items.every(isPair)
        ? new Map(items)
        : fail('a dictionary of no pairs', 'a list of pairs'),
    '__builtin__.set': ([items = []]: readonly PickleValue[]) =>
      Array.isArray(items) ? new Set(items) : fail('a set of no list', 'a list'),
    'torch.Size': ([sizes]: readonly PickleValue[]) => sizes,
    'torch._utils._rebuild_tensor_v2': rebuildTensor,
    'torch._utils._rebuild_parameter': ([data]: readonly PickleValue[]) => data,
    ...Object.fromEntries(Object.keys(storageTypes).map((name) => [name, neverCalled(name)])),
  };
}
