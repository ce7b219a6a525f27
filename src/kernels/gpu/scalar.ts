/** Scalar kernels that only the gpu.js devices use, in gpu.js's kernel language. See AdamW for the equations. */
import { builtIn } from '../source/own.js';

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

/** Toward zero; NaN gives 0, as when a number becomes an int32 in JavaScript. */
export function truncate(x: number): number {
  let result = Math.floor(x);
  if (x < 0) result = Math.ceil(x);
  if (x !== x) result = 0;
  return result;
}

// For the fused kernels (fused.ts). `max` and `lse` of a row of −∞ are −∞: clipped, so that the row gives 0 and not NaN.

/** e^(x − max) */
export function expShifted(x: number, max: number): number {
  let shift = max;
  if (max < -3.4028234663852886e38) shift = -3.4028234663852886e38;
  return Math.exp(x - shift);
}

/** e^(x − max) / Σ */
export function softmaxOf(x: number, max: number, total: number): number {
  let shift = max;
  if (max < -3.4028234663852886e38) shift = -3.4028234663852886e38;
  return Math.exp(x - shift) / total;
}

/** e^(x − lse) g */
export function expShiftedTimes(x: number, lse: number, g: number): number {
  let shift = lse;
  if (lse < -3.4028234663852886e38) shift = -3.4028234663852886e38;
  return Math.exp(x - shift) * g;
}

/** (x − max) − log Σ */
export function logSoftmaxOf(x: number, max: number, total: number): number {
  let shift = max;
  if (max < -3.4028234663852886e38) shift = -3.4028234663852886e38;
  return x - shift - Math.log(total);
}

/** max, finite, so that a row with an ∞ has a logarithmic sum of ∞ and not of ∞ − ∞ */
export function finite(max: number): number {
  let shift = max;
  if (max < -3.4028234663852886e38) shift = -3.4028234663852886e38;
  if (max > 3.4028234663852886e38) shift = 3.4028234663852886e38;
  return shift;
}

/** log Σ + max */
export function logPlus(total: number, max: number): number {
  let shift = max;
  if (max < -3.4028234663852886e38) shift = -3.4028234663852886e38;
  return Math.log(total) + shift;
}

/** (g − Σ) p */
export function centredTimes(g: number, p: number, total: number): number {
  return (g - total) * p;
}

/** g − e^y Σ */
export function lessExpTimes(g: number, y: number, total: number): number {
  return g - Math.exp(y) * total;
}

export function share(x: number, count: number): number {
  return x / count;
}

export function productShare(a: number, b: number, count: number): number {
  return (a * b) / count;
}

export function squaredDistance(x: number, mean: number): number {
  return (x - mean) * (x - mean);
}

export function squareShare(x: number, mean: number, count: number): number {
  return ((x - mean) * (x - mean)) / count;
}

/** 1/√(variance + ε) */
export function rootInverse(variance: number, eps: number): number {
  return 1 / Math.sqrt(variance + eps);
}

/** n w + b for n = (x − mean) · rstd */
export function normalised(x: number, mean: number, rstd: number, weight: number, bias: number): number {
  return (x - mean) * rstd * weight + bias;
}

/** g n */
export function timesNormal(g: number, x: number, mean: number, rstd: number): number {
  return g * ((x - mean) * rstd);
}

/** g w n / count */
export function normalShare(g: number, w: number, x: number, mean: number, rstd: number, count: number): number {
  return (g * w * ((x - mean) * rstd)) / count;
}

/** (g w − mean(g w) − n mean(g w n)) rstd */
export function layerNormGrad(
  g: number,
  w: number,
  x: number,
  mean: number,
  rstd: number,
  hMean: number,
  hnMean: number,
): number {
  return (g * w - hMean - (x - mean) * rstd * hnMean) * rstd;
}

/** (g − Σg/count − n Σ(g n)/count) rstd w */
export function batchNormGrad(
  g: number,
  x: number,
  mean: number,
  rstd: number,
  weight: number,
  gSum: number,
  gnSum: number,
  count: number,
): number {
  return (g - gSum / count - ((x - mean) * rstd * gnSum) / count) * (rstd * weight);
}

builtIn({
  firstMoment,
  secondMoment,
  update,
  truncate,
  expShifted,
  softmaxOf,
  expShiftedTimes,
  logSoftmaxOf,
  finite,
  logPlus,
  centredTimes,
  lessExpTimes,
  share,
  productShare,
  squaredDistance,
  squareShare,
  rootInverse,
  normalised,
  timesNormal,
  normalShare,
  layerNormGrad,
  batchNormGrad,
});
