/** The elementwise loops that training spends most on; all others run as loops compiled from their kernels' text. */

// @ts-ignore: decorator
@inline function each(a: usize, b: usize, y: usize, n: i32, op: i32): void {
  const zero = f32x4.splat(0);
  for (let i = 0; i < n; i += 4) {
    const at = <usize>i << 2;
    // Storages are padded to 16 bytes, so the last vector may reach beyond n.
    const x = v128.load(a + at);
    const z = v128.load(b + at);
    let r = zero;
    if (op == 0) r = f32x4.add(x, z);
    if (op == 1) r = f32x4.sub(x, z);
    if (op == 2) r = f32x4.mul(x, z);
    if (op == 3) r = v128.and(x, f32x4.gt(z, zero)); // ȳ where the saved value is positive
    v128.store(y + at, r);
  }
}

export function add(a: usize, b: usize, y: usize, n: i32): void { each(a, b, y, n, 0); }
export function sub(a: usize, b: usize, y: usize, n: i32): void { each(a, b, y, n, 1); }
export function mul(a: usize, b: usize, y: usize, n: i32): void { each(a, b, y, n, 2); }
export function reluGrad(a: usize, b: usize, y: usize, n: i32): void { each(a, b, y, n, 3); }

export function relu(x: usize, y: usize, n: i32): void {
  const zero = f32x4.splat(0);
  for (let i = 0; i < n; i += 4) {
    const at = <usize>i << 2;
    const v = v128.load(x + at);
    // NaN is neither above nor below: it must pass.
    v128.store(y + at, v128.andnot(v, f32x4.lt(v, zero)));
  }
}
