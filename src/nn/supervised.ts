/**
 * Losses against known targets: classes, numbers, yes or no, and distances. Each is defined element by element and then
 * reduced; definitions and defaults are PyTorch's, but that classes are the last axis here.
 */
import { arange } from '../autograd/create.js';
import { Tensor } from '../autograd/tensor.js';
import { DomainError, DTypeError, describeValue, ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape, sameShape } from '../tensor/shape.js';

/** How the losses of single rows become one. */
export interface ReductionOptions {
  /** `mean` (default) or `sum` of the single losses, or `none`: the single losses. */
  reduction?: 'mean' | 'sum' | 'none';
}

function reduced(op: string, losses: Tensor, { reduction = 'mean' }: ReductionOptions): Tensor {
  if (reduction === 'mean') return losses.mean();
  if (reduction === 'sum') return losses.sum();
  if (reduction === 'none') return losses;
  throw new UsageError(op, { received: `reduction ${describeValue(reduction)}`, expected: 'mean, sum or none' });
}

function checkSame(op: string, predicted: Tensor, target: Tensor): void {
  if (!(predicted instanceof Tensor && target instanceof Tensor))
    throw new UsageError(op, { received: 'something that is no tensor', expected: 'two tensors' });
  // Broadcasting here is nearly always a mistake: [n] against [n, 1] would compare all with all.
  if (!sameShape(predicted.shape, target.shape))
    throw new ShapeError(op, {
      received: `predictions ${formatShape(predicted.shape)} and targets ${formatShape(target.shape)}`,
      expected: 'the same shape',
      hint: 'Reshape one of them; losses do not broadcast.',
    });
}

function checkPositive(op: string, name: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value)))
    throw new DomainError(op, { received: `${name} ${value}`, expected: 'a finite number > 0' });
}

/** Which targets count in a cross-entropy, and how much. */
export interface CrossEntropyOptions extends ReductionOptions {
  /** ε in [0, 1]: the share of each target that is spread evenly over all classes. Default 0. */
  labelSmoothing?: number;
  /** w, a factor for each class, [classes]; the mean is then over the weights of the targets' classes. Default 1. */
  weight?: Tensor | null;
  /** Targets of this number are passed over: they have loss 0 and do not count in the mean. For padding. Default: none. */
  ignoreIndex?: number | null;
}

/**
 * Cross-entropy of logits against classes or probabilities.
 *
 * $$ \ell = -\sum_c w_c\,t_c \ln\mathrm{softmax}(z)_c,\qquad t = (1-\varepsilon)\,t' + \varepsilon/C $$
 *
 * | symbol | code           | shape                                     | range                       |
 * |--------|----------------|-------------------------------------------|-----------------------------|
 * | z      | logits         | […, classes]                              |                             |
 * | t′     | targets        | int32 […], one class each; or […, classes] | [0, classes); rows of sum 1 |
 * | ε      | labelSmoothing | scalar                                    | [0, 1]                      |
 * | w      | weight         | [classes]                                 | ≥ 0                         |
 * | ℓ      | return         | [], or […] with reduction `none`          | nats, ≥ 0                   |
 *
 * Derivative: z̄ = softmax(z) − t, with w = 1. The mean over classes weighs by w: Σ ℓ / Σ w of the targets' classes; it is NaN
 * where all targets are passed over.
 * @throws ShapeError, DTypeError; DomainError for a class outside [0, classes), where the device can be read at once
 * @source label smoothing: Szegedy et al. 2016, arXiv 1512.00567
 */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  { labelSmoothing = 0, weight = null, ignoreIndex = null, ...options }: CrossEntropyOptions = {},
): Tensor {
  const classes = logits.shape.at(-1);
  if (classes === undefined || classes === 0)
    throw new ShapeError('crossEntropy', {
      received: `logits of shape ${formatShape(logits.shape)}`,
      expected: '[…, classes] with at least one class',
    });
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw new DomainError('crossEntropy', {
      received: `labelSmoothing ${labelSmoothing}`,
      expected: 'a number in [0, 1]',
    });
  if (weight && !sameShape(weight.shape, [classes]))
    throw new ShapeError('crossEntropy', {
      received: `weight ${formatShape(weight.shape)} for ${classes} classes`,
      expected: `[${classes}]`,
    });
  const logProbabilities = logits.logSoftmax({ axis: -1 });
  const gains = weight ? logProbabilities.mul(weight) : logProbabilities; // of each class, were it the target
  const smooth = (exact: Tensor) =>
    (labelSmoothing === 0
      ? exact
      : exact.mul(1 - labelSmoothing).add(gains.mean({ axis: -1 }).mul(labelSmoothing))
    ).neg();
  if (sameShape(targets.shape, logits.shape))
    return reduced('crossEntropy', smooth(targets.mul(gains).sum({ axis: -1 })), options);

  const ignored = ignoreIndex === null ? null : targets.equal(ignoreIndex);
  const known = ignored ? ignored.where(0, targets) : targets;
  const losses = smooth(picked(gains, known, classes));
  const counted = ignored ? ignored.where(0, losses) : losses;
  if ((options.reduction ?? 'mean') !== 'mean' || !(weight || ignored))
    return reduced('crossEntropy', counted, options);
  const shares = weight ? weight.detach().gather(known) : losses.detach().mul(0).add(1);
  return counted.sum().div((ignored ? ignored.where(0, shares) : shares).sum());
}

/** The value of each row's own class: [..., classes] and int32 [...] → [...]. */
function picked(values: Tensor, labels: Tensor, classes: number): Tensor {
  const rows = values.shape.slice(0, -1);
  if (!sameShape(labels.shape, rows))
    throw new ShapeError('crossEntropy', {
      received: `logits ${formatShape(values.shape)} and targets ${formatShape(labels.shape)}`,
      expected: `targets ${formatShape(rows)} (classes) or ${formatShape(values.shape)} (probabilities)`,
    });
  if (labels.dtype !== 'int32')
    throw new DTypeError('crossEntropy', {
      received: `${labels.dtype} classes`,
      expected: 'int32 class numbers, or probabilities in the shape of the logits',
      hint: "Make them with tensor([…], { dtype: 'int32' }).",
    });
  if (labels.storage.device.synchronous) {
    const wrong = labels.dataSync().find((label) => label < 0 || label >= classes);
    if (wrong !== undefined)
      throw new DomainError('crossEntropy', {
        received: `class ${wrong}`,
        expected: `whole numbers in [0, ${classes})`,
      });
  }
  const starts = arange(0, labels.size * classes, classes, { dtype: 'int32', device: labels.device });
  return values
    .reshape([values.size])
    .gather(labels.reshape([labels.size]).add(starts))
    .reshape(rows);
}

/**
 * Mean squared error: ℓ = (x − t)². Derivative: x̄ = 2 (x − t).
 * @param predicted any shape; @param target the same shape
 * @throws ShapeError
 */
export function mseLoss(predicted: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkSame('mseLoss', predicted, target);
  return reduced('mseLoss', predicted.sub(target).square(), options);
}

/**
 * Mean absolute error: ℓ = |x − t|. Derivative: x̄ = sign(x − t), 0 where they are equal.
 * @param predicted any shape; @param target the same shape
 * @throws ShapeError
 */
export function l1Loss(predicted: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkSame('l1Loss', predicted, target);
  return reduced('l1Loss', predicted.sub(target).abs(), options);
}

/**
 * Huber's loss: squared near the target, linear far from it. With d = x − t,
 *
 * ℓ = ½ d² where |d| ≤ δ, δ (|d| − ½ δ) beyond. Derivative: x̄ = d limited to [−δ, δ].
 * @param delta δ > 0, default 1
 * @throws ShapeError, DomainError
 * @source Huber 1964, "Robust estimation of a location parameter"
 */
export function huberLoss(
  predicted: Tensor,
  target: Tensor,
  { delta = 1, ...options }: ReductionOptions & { delta?: number } = {},
): Tensor {
  checkSame('huberLoss', predicted, target);
  checkPositive('huberLoss', 'delta', delta);
  // With m = min(|d|, δ) both cases are one: ½ m² + δ (|d| − m).
  const distance = predicted.sub(target).abs();
  const near = distance.minimum(delta);
  return reduced('huberLoss', near.square().mul(0.5).add(distance.sub(near).mul(delta)), options);
}

/**
 * Binary cross-entropy of logits: ℓ = −t ln σ(z) − (1 − t) ln(1 − σ(z)) = softplus(z) − t z, which is stable for any z.
 *
 * Derivative: z̄ = σ(z) − t.
 * @param logits any shape; @param target the same shape, in [0, 1]
 * @param positiveWeight factor on the positive term, for unbalanced data: a number > 0, default 1
 * @throws ShapeError, DomainError
 */
export function binaryCrossEntropyWithLogits(
  logits: Tensor,
  target: Tensor,
  { positiveWeight = 1, ...options }: ReductionOptions & { positiveWeight?: number } = {},
): Tensor {
  checkSame('binaryCrossEntropyWithLogits', logits, target);
  checkPositive('binaryCrossEntropyWithLogits', 'positiveWeight', positiveWeight);
  // −ln σ(z) = softplus(−z) and −ln(1 − σ(z)) = softplus(z) = softplus(−z) + z.
  const weight = target.mul(positiveWeight - 1).add(1);
  const losses = logits
    .neg()
    .softplus()
    .mul(weight)
    .add(logits.mul(target.neg().add(1)));
  return reduced('binaryCrossEntropyWithLogits', losses, options);
}

/**
 * Triplet loss: an anchor shall be nearer to its positive than to its negative, by a margin.
 *
 * ℓ = max(0, ‖a − p‖ − ‖a − n‖ + margin), norms over the last axis.
 * @param anchor […, dim]; @param positive and @param negative the same shape
 * @param margin > 0, default 1
 * @param eps added to every difference, which keeps the norm's derivative finite at 0; default 1e-6
 * @throws ShapeError, DomainError
 * @source Schroff et al. 2015, arXiv 1503.03832
 */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  { margin = 1, eps = 1e-6, ...options }: ReductionOptions & { margin?: number; eps?: number } = {},
): Tensor {
  checkSame('tripletMarginLoss', anchor, positive);
  checkSame('tripletMarginLoss', anchor, negative);
  checkPositive('tripletMarginLoss', 'margin', margin);
  const distance = (other: Tensor) => anchor.sub(other).add(eps).square().sum({ axis: -1 }).sqrt();
  return reduced('tripletMarginLoss', distance(positive).sub(distance(negative)).add(margin).relu(), options);
}
