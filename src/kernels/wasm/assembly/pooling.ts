/** Average pooling and its gradient. */
import { Chunk } from './pool';

/** Whether the windows are 2 × 2 and cover the image: then the rows of all planes are one sequence of pairs. */
// @ts-ignore: decorator
@inline function halves(
  height: i32, width: i32, kernelY: i32, kernelX: i32, strideY: i32, strideX: i32, outHeight: i32, outWidth: i32,
): bool {
  return (
    kernelY == 2 && kernelX == 2 && strideY == 2 && strideX == 2 && height == 2 * outHeight && width == 2 * outWidth
  );
}
/** [a₀+a₁, a₂+a₃, b₀+b₁, b₂+b₃] */
// @ts-ignore: decorator
@inline function pairs(a: v128, b: v128): v128 {
  return f32x4.add(v128.shuffle<f32>(a, b, 0, 2, 4, 6), v128.shuffle<f32>(a, b, 1, 3, 5, 7));
}
// @ts-ignore: decorator
@inline function both(x: usize, y: usize): v128 { return f32x4.add(v128.load(x), v128.load(y)); }
// @ts-ignore: decorator
@inline function corner(x: usize, bytes: usize): f32 {
  return load<f32>(x) + load<f32>(x + bytes) + (load<f32>(x + 4) + load<f32>(x + bytes + 4));
}

/** `rows` rows of means of 2 × 2 windows, from twice as many rows twice as wide. */
function halve(x: usize, y: usize, rows: i32, width: i32): void {
  const quarter = f32x4.splat(0.25);
  const bytes = <usize>width << 3;
  let r = 0;
  if (width == 1)
    for (; r + 4 <= rows; r += 4, x += 64, y += 16) {
      const a = pairs(v128.load(x), v128.load(x, 16));
      const b = pairs(v128.load(x, 32), v128.load(x, 48));
      v128.store(y, f32x4.mul(pairs(a, b), quarter));
    }
  if (width == 2)
    for (; r + 2 <= rows; r += 2, x += 64, y += 16)
      v128.store(y, f32x4.mul(pairs(both(x, x + 16), both(x + 32, x + 48)), quarter));
  for (; r < rows; r++, x += 2 * bytes) {
    let j = 0;
    for (; j + 4 <= width; j += 4, y += 16) {
      const at = x + (<usize>j << 3);
      v128.store(y, f32x4.mul(pairs(both(at, at + bytes), both(at + 16, at + bytes + 16)), quarter));
    }
    for (; j < width; j++, y += 4) store<f32>(y, corner(x + (<usize>j << 3), bytes) * 0.25);
  }
}

/** The transpose of halve: a quarter of every element of g goes to the four of its window. */
function spread(g: usize, x: usize, rows: i32, width: i32): void {
  const quarter = f32x4.splat(0.25);
  const bytes = <usize>width << 3;
  let r = 0;
  if (width == 1)
    for (; r < rows; r++, g += 4, x += 16) v128.store(x, f32x4.mul(v128.load32_splat(g), quarter));
  if (width == 2)
    for (; r + 2 <= rows; r += 2, g += 16, x += 64) {
      const v = f32x4.mul(v128.load(g), quarter);
      v128.store(x, v128.shuffle<f32>(v, v, 0, 0, 1, 1));
      v128.store(x, v128.shuffle<f32>(v, v, 0, 0, 1, 1), 16);
      v128.store(x, v128.shuffle<f32>(v, v, 2, 2, 3, 3), 32);
      v128.store(x, v128.shuffle<f32>(v, v, 2, 2, 3, 3), 48);
    }
  for (; r < rows; r++, x += 2 * bytes) {
    let j = 0;
    for (; j + 4 <= width; j += 4, g += 16) {
      const v = f32x4.mul(v128.load(g), quarter);
      const low = v128.shuffle<f32>(v, v, 0, 0, 1, 1);
      const high = v128.shuffle<f32>(v, v, 2, 2, 3, 3);
      const at = x + (<usize>j << 3);
      v128.store(at, low);
      v128.store(at, high, 16);
      v128.store(at + bytes, low);
      v128.store(at + bytes, high, 16);
    }
    for (; j < width; j++, g += 4) {
      const value = load<f32>(g) * 0.25;
      const at = x + (<usize>j << 3);
      store<f32>(at, value);
      store<f32>(at, value, 4);
      store<f32>(at + bytes, value);
      store<f32>(at + bytes, value, 4);
    }
  }
}

/** Mean over windows; a chunk is a group of planes. */
export function avgPool<T>(
  chunk: Chunk, x: usize, y: usize, height: i32, width: i32, kernelY: i32, kernelX: i32, strideY: i32, strideX: i32,
  outHeight: i32, outWidth: i32, planes: i32, grain: i32,
): void {
  const down = strideY * width;
  const factor = <T>1 / <T>(kernelY * kernelX);
  const end = min(planes, (chunk + 1) * grain);
  if (sizeof<T>() == 4 && halves(height, width, kernelY, kernelX, strideY, strideX, outHeight, outWidth)) {
    const plane = chunk * grain;
    const outputs = <usize>outHeight * <usize>outWidth << alignof<T>();
    halve(x + 4 * <usize>plane * outputs, y + <usize>plane * outputs, (end - plane) * outHeight, outWidth);
    return;
  }
  for (let plane = chunk * grain; plane < end; plane++) {
    const image = x + ((<usize>plane * <usize>height * <usize>width) << alignof<T>());
    let at = y + ((<usize>plane * <usize>outHeight * <usize>outWidth) << alignof<T>());
    for (let i = 0; i < outHeight; i++)
      for (let j = 0; j < outWidth; j++, at += sizeof<T>()) {
        let sum: T = 0;
        const window = image + (<usize>(i * down + j * strideX) << alignof<T>());
        for (let u = 0; u < kernelY; u++)
          for (let v = 0; v < kernelX; v++) sum += load<T>(window + (<usize>(u * width + v) << alignof<T>()));
        store<T>(at, sum * factor);
      }
  }
}

/** The transpose of avgPool: spreads every element of ȳ over its window. */
export function avgPoolGrad<T>(
  chunk: Chunk, gradOutput: usize, x: usize, height: i32, width: i32, kernelY: i32, kernelX: i32, strideY: i32,
  strideX: i32, outHeight: i32, outWidth: i32, planes: i32, grain: i32,
): void {
  const down = strideY * width;
  const factor = <T>1 / <T>(kernelY * kernelX);
  const bytes = (<usize>height * <usize>width) << alignof<T>();
  const end = min(planes, (chunk + 1) * grain);
  if (sizeof<T>() == 4 && halves(height, width, kernelY, kernelX, strideY, strideX, outHeight, outWidth)) {
    const plane = chunk * grain;
    const outputs = <usize>outHeight * <usize>outWidth << alignof<T>();
    spread(gradOutput + <usize>plane * outputs, x + 4 * <usize>plane * outputs, (end - plane) * outHeight, outWidth);
    return;
  }
  for (let plane = chunk * grain; plane < end; plane++) {
    let g = gradOutput + ((<usize>plane * <usize>outHeight * <usize>outWidth) << alignof<T>());
    const image = x + <usize>plane * bytes;
    memory.fill(image, 0, bytes);
    for (let i = 0; i < outHeight; i++)
      for (let j = 0; j < outWidth; j++, g += sizeof<T>()) {
        const value = load<T>(g) * factor;
        const window = image + (<usize>(i * down + j * strideX) << alignof<T>());
        for (let u = 0; u < kernelY; u++)
          for (let v = 0; v < kernelX; v++) {
            const at = window + (<usize>(u * width + v) << alignof<T>());
            store<T>(at, load<T>(at) + value);
          }
      }
  }
}
