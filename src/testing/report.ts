/** What gradient checks find, and how they say it. */
import { formatShape } from '../tensor/shape.js';

/** Which directions a gradient check tries; {@link CheckOptions} describes them. */
export type CheckMode = 'full' | 'projection' | 'coordinate' | 'taylor';

/** One place where a derivative is not what differences say. */
export interface GradientFailure {
  /**
   * What was wrong: the value, a kink of f (see `kinks`), a NaN, the shape, a difference between two runs … `forward`,
   * `adjoint`, `batched` and `device` are of the options of these names, and compare with what their docstrings say.
   */
  kind:
    | 'value'
    | 'kink'
    | 'nonfinite'
    | 'shape'
    | 'nondeterminism'
    | 'linearity'
    | 'taylor'
    | 'forward'
    | 'adjoint'
    | 'batched'
    | 'device';
  order: number;
  /** Position of the input whose gradient is wrong; null where a result is, or several inputs are at once. */
  argument: number | null;
  /** Index into the input (or the result), by axis; null for whole-input checks. */
  index: number[] | null;
  analytic: number;
  numeric: number;
  error: number;
  tolerance: number;
  eps: number;
  /** The device that differs from the reference, for kind `device`. */
  device?: string;
}

/** What a check found. As text (`String(report)`, `${report}`) it says so in a few lines. */
export class GradientReport {
  ok = true;
  /** Comparisons made. */
  checked = 0;
  /** Coordinates passed over at kinks. */
  skippedAtKinks = 0;
  /**
   * Whether what is compared, and the values reported, are projections on a random w: ⟨f(x), w⟩ where f has several
   * results, and ⟨∇f, w⟩ at order 2.
   */
  projected = false;
  failures: GradientFailure[] = [];

  /** @param seed pass it as `seed` to repeat this check exactly */
  constructor(
    readonly mode: CheckMode,
    readonly order: 1 | 2,
    readonly seed: number,
  ) {}

  /** What failed, where, and how to see it again. */
  toString(): string {
    const how = `mode ${this.mode}, order ${this.order}, seed ${this.seed}`;
    const kinks = this.skippedAtKinks > 0 ? `, ${this.skippedAtKinks} coordinates skipped at kinks` : '';
    if (this.ok) return `Gradients agree in ${this.checked} comparisons (${how})${kinks}.`;
    const shown = this.failures.slice(0, 5).map((failure) => `\n  ${line(failure)}`);
    const more = this.failures.length > 5 ? `\n  … ${this.failures.length - 5} more` : '';
    const projected = this.projected
      ? `\n  The values are of projections on a random w: ⟨f(x), w⟩${this.order === 2 ? ', at order 2 of ⟨∇f, w⟩' : ''}.`
      : '';
    return `${this.failures.length} failures in ${this.checked} comparisons (${how})${kinks}:${shown.join('')}${more}${projected}`;
  }
}

function line(f: GradientFailure): string {
  const what = f.argument === null ? 'result' : `argument ${f.argument}`;
  const where = `${what}${f.index ? ` at ${formatShape(f.index)}` : ''}, order ${f.order}`;
  const kind = f.device ? `${f.kind} ${f.device}` : f.kind;
  return `${where}: ${kind}, analytic ${f.analytic}, numeric ${f.numeric}, error ${f.error.toExponential(2)} > ${f.tolerance.toExponential(2)} (eps ${f.eps})`;
}
