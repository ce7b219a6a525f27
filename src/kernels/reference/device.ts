/**
 * The reference device: the kernel texts themselves, run as ordinary JavaScript, one output element at a time,
 * in float32 or float64. Slow and plain; everything else is held to it.
 */
import { allocate, type DType, type TypedArray, toTypedArray } from '../../tensor/dtype.js';
import { sizeOf } from '../../tensor/shape.js';
import { MemoryAccount } from '../account.js';
import { type KernelOperand, type MemoryInfo, type ReduceKind, type ScalarKernel, Storage } from '../device.js';
import { identityOf } from '../source/identity.js';
import type { SourceKernel } from '../source/kernel.js';
import { reduceSumInt32 } from '../source/reduce.js';
import { type Grid, SourceDevice, type View } from '../source-device.js';
import { turn } from '../turn.js';

/** See the top of this file. */
export class ReferenceDevice extends SourceDevice {
  readonly name = 'reference';
  readonly description = 'the kernel texts as plain JavaScript, float32 and float64, one thread';
  readonly dtypes = ['float32', 'float64', 'int32'] as const;
  readonly synchronous = true;
  readonly #account = new MemoryAccount();
  // JavaScript collects the arrays by itself; the registry only keeps memory() true.
  #registry = new FinalizationRegistry<{ bytes: number }>((token) => this.#forget(token));
  #tokens = new WeakMap<Storage, { bytes: number }>();

  #wrap(array: TypedArray, dtype: DType): Storage {
    const storage = new Storage(this, dtype, array.length, array);
    const token = { bytes: array.byteLength };
    this.#tokens.set(storage, token);
    this.#registry.register(storage, token);
    this.#account.add(token.bytes);
    return storage;
  }

  #forget(token: { bytes: number }): void {
    if (token.bytes < 0) return;
    this.#account.remove(token.bytes);
    token.bytes = -1;
  }

  upload(data: TypedArray): Storage {
    const array = data.slice();
    const dtype = array instanceof Float32Array ? 'float32' : array instanceof Float64Array ? 'float64' : 'int32';
    return this.#wrap(array, dtype);
  }

  async read(x: Storage): Promise<TypedArray> {
    const copy = this.readSync(x);
    await this.settle();
    return copy;
  }

  readSync(x: Storage, into?: TypedArray): TypedArray {
    if (!into) return array(x).slice();
    into.set(array(x));
    return into;
  }

  copyInto(target: Storage, source: Storage): void {
    array(target).set(array(source));
  }

  release(x: Storage): void {
    this.#forget(this.#tokens.get(x)!);
  }

  memory(): MemoryInfo {
    return this.#account.info();
  }

  settle(): Promise<void> {
    return turn();
  }

  fill(size: number, value: number, dtype: DType): Storage {
    return this.#wrap(allocate(dtype, size).fill(value), dtype);
  }

  cast(x: Storage, dtype: DType): Storage {
    return this.#wrap(toTypedArray(array(x), dtype), dtype);
  }

  protected override reducer(kind: ReduceKind, dtype: DType): SourceKernel {
    return kind === 'sum' && dtype === 'int32' ? reduceSumInt32 : super.reducer(kind, dtype);
  }

  protected run(
    kernel: SourceKernel,
    grid: Grid,
    inputs: View[],
    constants: Record<string, number>,
    dtype: DType,
  ): Storage {
    const [nx, ny = 1, nz = 1] = grid;
    const output = allocate(dtype, nx * ny * nz);
    const views = inputs.map((input) => (typeof input === 'number' ? input : nest(array(input.storage), input.grid)));
    loopOf(kernel)(constants, output, nx, ny, nz, views[0], views[1]);
    return this.#wrap(output, dtype);
  }

  protected runElementwise(
    f: ScalarKernel,
    shape: readonly number[],
    operands: readonly KernelOperand[],
    dtype: DType,
  ): Storage {
    const output = allocate(dtype, sizeOf(shape));
    const [nx, ny = 1, nz = 1] = [...shape].reverse() as [number, number?, number?];
    const sources = operands.map((operand) => (typeof operand === 'number' ? [operand] : array(operand.storage)));
    const steps = operands.map((operand) =>
      typeof operand === 'number' ? [0, 0, 0] : [...operand.strides].reverse().concat([0, 0]),
    );
    const [a, b, c] = sources as unknown as [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>];
    const [da, db, dc] = steps as [number[], number[], number[]];
    let i = 0;
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++) {
        let pa = z * da[2]! + y * da[1]!;
        if (operands.length === 1) for (let x = 0; x < nx; x++, pa += da[0]!) output[i++] = f(a[pa]!);
        else {
          let pb = z * db[2]! + y * db[1]!;
          if (operands.length === 2)
            for (let x = 0; x < nx; x++, pa += da[0]!, pb += db[0]!) output[i++] = f(a[pa]!, b[pb]!);
          else {
            let pc = z * dc[2]! + y * dc[1]!;
            for (let x = 0; x < nx; x++, pa += da[0]!, pb += db[0]!, pc += dc[0]!)
              output[i++] = f(a[pa]!, b[pb]!, c[pc]!);
          }
        }
      }
    return this.#wrap(output, dtype);
  }
}

/** Calls a kernel for every point of a grid. */
type Loop = (
  constants: Record<string, number>,
  output: TypedArray,
  nx: number,
  ny: number,
  nz: number,
  a: unknown,
  b: unknown,
) => void;
const loops = new WeakMap<SourceKernel, Loop>();

/**
 * The loop of one kernel: its text, with `this.thread.x` read from the loop's variable and `this.constants.k` from a
 * local. The arithmetic is untouched; property reads in the innermost loop would take most of the time.
 */
function loopOf(kernel: SourceKernel): Loop {
  let loop = loops.get(kernel);
  if (!loop) {
    const text = identityOf(kernel)
      .text.replace(/^function\s*\w*/, 'function kernel')
      .replaceAll('this.thread.', 'thread_')
      .replaceAll('this.constants.', 'constant_')
      .replace(')', ', thread_x, thread_y, thread_z)'); // the end of the parameters
    const names = [...new Set(text.match(/constant_\w+/g))].map((name) => `${name.slice(9)}: ${name}`);
    loop = new Function(
      'constants, output, nx, ny, nz, a, b',
      `const { ${names} } = constants;
      ${text}
      let i = 0;
      for (let z = 0; z < nz; z++)
        for (let y = 0; y < ny; y++)
          for (let x = 0; x < nx; x++) output[i++] = kernel(${['a', 'b'].slice(0, kernel.length)}, x, y, z);`,
    ) as Loop;
    loops.set(kernel, loop);
  }
  return loop;
}

function array(x: Storage): TypedArray {
  return x.handle as TypedArray;
}

/** The array as nested rows, as a kernel's x[z][y][x] expects. Rows are views, not copies. */
export function nest(data: TypedArray, [nx, ny, nz]: Grid): ArrayLike<unknown> {
  if (ny === undefined) return data;
  const planes = new Array<ArrayLike<number>[]>(nz ?? 1);
  for (let z = 0, start = 0; z < planes.length; z++) {
    const rows = new Array<ArrayLike<number>>(ny);
    for (let y = 0; y < ny; y++, start += nx) rows[y] = data.subarray(start, start + nx);
    planes[z] = rows;
  }
  return nz === undefined ? planes[0]! : planes;
}
