/** Scalar kernels that only the gpu.js devices use, in gpu.js's kernel language. See AdamW for the equations. */

/** m ← β₁ m + (1 − β₁) g, for the scaled gradient */
export function firstMoment(m: number, g: number, beta: number, rest: number, scale: number): number {
  return beta * m + rest * (scale * g);
}

/** v ← β₂ v + (1 − β₂) g² */
export function secondMoment(v: number, g: number, beta: number, rest: number, scale: number): number {
  return beta * v + rest * (scale * g) * (scale * g);
}

/** θ ← θ (1 − η λ) − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε) */
export function update(
  parameter: number,
  m: number,
  v: number,
  decay: number,
  rate: number,
  correction: number,
  eps: number,
): number {
  return parameter * decay - (rate * m) / (Math.sqrt(v) * correction + eps);
}

/** A number everywhere. */
export function same(x: number): number {
  return x;
}

export function square(x: number): number {
  return x * x;
}

/** Toward zero; NaN gives 0, as when a number becomes an int32 in JavaScript. */
export function truncate(x: number): number {
  let result = Math.floor(x);
  if (x < 0) result = Math.ceil(x);
  if (x !== x) result = 0;
  return result;
}
