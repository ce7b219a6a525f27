/**
 * Contrastive losses. Rows of `x` and `y` with the same index belong together; all other rows are negatives.
 *
 * Notation throughout: s_ij = x_iᵀ y_j (`similarities`), k_ij = τ⁻¹ s_ij, p_ij = softmax_j k_ij, q_ij = softmax over j ≠ i.
 *
 * How the scales of this file compare with those in use elsewhere, with L_img and L_txt the mean InfoLOOB of the two
 * sides (see {@link infoLoobLoss}):
 *
 * | source                          | value                                   |
 * |---------------------------------|-----------------------------------------|
 * | the paper's objective           | L_img + L_txt                           |
 * | the official code, `cloobLoss`  | τ · (L_img + L_txt)                     |
 * | crowsonkb/cloob-training        | (L_img + L_txt) / 2                     |
 * | CLIP, `clipLoss`                | (CE_img + CE_txt) / 2, positive in the denominator |
 * | as mutual information, nats     | I_NCE = ln N − L_NCE, I_LOOB = ln(N−1) − L_LOOB |
 */
import { eye } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { ShapeError } from '../tensor/errors.js';
import { checkPairs, positive } from './hopfield.js';
import { type RetrievalForm, type RetrievedSimilarities, retrievedSimilarities } from './retrieved-pairs.js';

/** What contrastive losses need beside the embeddings. */
export interface ContrastiveOptions {
  /** τ⁻¹, the inverse temperature, > 0; a number, or a tensor with one element when it is learnt. */
  invTau: number | Tensor;
}

/** x_iᵀ y_j for all pairs, [batch, batch]: the only thing that the losses ask of the embeddings. */
export function similarities(x: Tensor, y: Tensor): Tensor {
  return x.matmul(y, { transposeB: true });
}

/** s for both directions: anchors x among y, and anchors y among x. */
export function bothWays(s: Tensor): RetrievedSimilarities {
  return { image: s, text: s.permute([1, 0]) };
}

/** The logits of anchors with their partners, k_ii, [batch]. */
function positives(logits: Tensor, first = 0): Tensor {
  return diagonal(logits, first).where(logits, 0).sum({ axis: 1 });
}

/** The logits with −∞ on the diagonal. */
function withoutDiagonal(logits: Tensor, first = 0): Tensor {
  return diagonal(logits, first).where(-Infinity, logits);
}

/** 1 where an anchor meets its partner: row i in column first + i. */
function diagonal({ shape, dtype, device }: Tensor, first: number): Tensor {
  const ones = eye(shape[0]!, shape[1]! - first, { dtype, device });
  return first === 0
    ? ones
    : ones.pad([
        [0, 0],
        [first, 0],
      ]);
}

/**
 * InfoNCE: the cross-entropy of finding the partner of each anchor among all candidates.
 *
 * $$ \mathcal L = -\frac1N\sum_i \ln\frac{\exp(\tau^{-1} x_i^\top y_i)}{\sum_j \exp(\tau^{-1} x_i^\top y_j)} $$
 *
 * | symbol | code   | shape        | unit / range                  |
 * |--------|--------|--------------|-------------------------------|
 * | x      | x      | [batch, dim] | anchors, unit length expected |
 * | y      | y      | [batch, dim] | candidates                    |
 * | τ⁻¹    | invTau | scalar       | > 0                           |
 * | L      | return | []           | nats, ≥ 0                     |
 *
 * Derivative: ∂L/∂s_ij = τ⁻¹/N (p_ij − δ_ij). As the pair is found (p_ii → 1) it vanishes: InfoNCE saturates.
 *
 * @throws ShapeError, DomainError
 * @source van den Oord et al. 2018, arXiv 1807.03748
 */
export function infoNceLoss(x: Tensor, y: Tensor, { invTau }: ContrastiveOptions): Tensor {
  checkPairs('infoNceLoss', x, y, 1);
  invTau = positive('infoNceLoss', 'invTau', invTau);
  return infoNceOf(similarities(x, y), invTau);
}

/** {@link infoNceLoss} of s_ij, [anchors, candidates]: the partner of row i is in column first + i. */
export function infoNceOf(s: Tensor, invTau: number | Tensor, first = 0): Tensor {
  const logits = s.mul(invTau);
  return logits.logSumExp({ axis: 1 }).sub(positives(logits, first)).mean();
}

/**
 * InfoLOOB, "leave one out": InfoNCE without the positive in the denominator.
 *
 * $$ \mathcal L = -\frac1N\sum_i \ln\frac{\exp(\tau^{-1} x_i^\top y_i)}{\sum_{j\ne i} \exp(\tau^{-1} x_i^\top y_j)} $$
 *
 * | symbol | code   | shape        | unit / range                                     |
 * |--------|--------|--------------|--------------------------------------------------|
 * | x      | x      | [batch, dim] | anchors, unit length expected; batch ≥ 2         |
 * | y      | y      | [batch, dim] | candidates                                       |
 * | τ⁻¹    | invTau | scalar       | > 0; 30 in the paper                             |
 * | L      | return | []           | nats; can be NEGATIVE, ≥ ln(N−1) − 2τ⁻¹ for unit vectors |
 *
 * Derivative: ∂L/∂s_ij = τ⁻¹/N (q_ij − δ_ij), q_ii = 0: per row that of InfoNCE divided by (1 − p_ii), so it does not
 * saturate. Per row ℓ_LOOB = ℓ_NCE + ln(1 − p_ii).
 * Stability: logits are shifted by their maximum; the diagonal is masked with a true −∞.
 *
 * @throws ShapeError; DomainError for a batch of one (the denominator would be empty) or τ⁻¹ ≤ 0
 * @source CLOOB, arXiv 2110.11316; the bound: Poole et al. 2019, arXiv 1905.06922
 */
export function infoLoobLoss(x: Tensor, y: Tensor, { invTau }: ContrastiveOptions): Tensor {
  checkPairs('infoLoobLoss', x, y, 2);
  invTau = positive('infoLoobLoss', 'invTau', invTau);
  return infoLoobOf(similarities(x, y), invTau);
}

/** {@link infoLoobLoss} of s_ij, [anchors, candidates]: the partner of row i is in column first + i. */
export function infoLoobOf(s: Tensor, invTau: number | Tensor, first = 0): Tensor {
  const logits = s.mul(invTau);
  return withoutDiagonal(logits, first).logSumExp({ axis: 1 }).sub(positives(logits, first)).mean();
}

/**
 * DCL, the decoupled contrastive loss of a two-view batch: the negatives of both views, the positive of neither.
 *
 * $$ \mathcal L = -\frac1N\sum_i\Big(k_{ii} - \ln\sum_{j\ne i}\big[\exp(\tau^{-1}x_i^\top y_j) + \exp(\tau^{-1}x_i^\top x_j)\big]\Big) $$
 *
 * Without the second term (`withinView: false`) it is InfoLOOB: the two were found independently.
 * @param x [batch, dim] unit anchors, batch ≥ 2; @param y [batch, dim] partners
 * @returns [], nats, not bounded below by 0
 * @throws ShapeError, DomainError
 * @source Yeh et al. 2021, "Decoupled contrastive learning", arXiv 2110.06848
 */
export function dclLoss(
  x: Tensor,
  y: Tensor,
  { invTau, withinView = true }: ContrastiveOptions & { withinView?: boolean },
): Tensor {
  if (!withinView) return infoLoobLoss(x, y, { invTau });
  checkPairs('dclLoss', x, y, 2);
  invTau = positive('dclLoss', 'invTau', invTau);
  return dclOf(similarities(x, y), similarities(x, x), invTau);
}

/** {@link dclLoss} of s_ij and of x_iᵀx_j, [anchors, candidates] each: partner of row i, and row i itself, in column first + i. */
export function dclOf(s: Tensor, within: Tensor, invTau: number | Tensor, first = 0): Tensor {
  const logits = s.mul(invTau);
  const negatives = withoutDiagonal(logits, first).concat(withoutDiagonal(within.mul(invTau), first), { axis: 1 });
  return negatives.logSumExp({ axis: 1 }).sub(positives(logits, first)).mean();
}

/**
 * SigLIP: every pair of the batch is a yes-or-no question of its own.
 *
 * $$ \mathcal L = \frac1N\sum_{ij}\mathrm{softplus}\big(-z_{ij}(\tau^{-1}x_i^\top y_j + b)\big),\quad z_{ii}=1,\ z_{ij}=-1 $$
 *
 * @param bias b, negative to begin with since most pairs are negative; −10 in the paper
 * @throws ShapeError, DomainError
 * @source Zhai et al. 2023, arXiv 2303.15343
 */
export function sigLipLoss(
  x: Tensor,
  y: Tensor,
  { invTau, bias = -10 }: ContrastiveOptions & { bias?: number | Tensor },
): Tensor {
  checkPairs('sigLipLoss', x, y, 1);
  invTau = positive('sigLipLoss', 'invTau', invTau);
  return sigLipOf(similarities(x, y), invTau, bias);
}

/** {@link sigLipLoss} of s_ij, [anchors, candidates]: the partner of row i is in column first + i. */
export function sigLipOf(s: Tensor, invTau: number | Tensor, bias: number | Tensor, first = 0): Tensor {
  const against = diagonal(s, first).mul(-2).add(1); // −z
  return s.mul(invTau).add(bias).mul(against).softplus().sum().div(s.shape[0]!);
}

/**
 * CLIP's objective: InfoNCE from images to texts and from texts to images, averaged.
 *
 * L = (InfoNCE(images, texts) + InfoNCE(texts, images)) / 2.
 *
 * @param images [batch, dim] unit image embeddings; @param texts [batch, dim] unit text embeddings
 * @returns [], nats, ≥ 0
 * @throws ShapeError, DomainError
 * @source Radford et al. 2021, arXiv 2103.00020
 */
export function clipLoss(images: Tensor, texts: Tensor, { invTau }: ContrastiveOptions): Tensor {
  checkPairs('clipLoss', images, texts, 1);
  invTau = positive('clipLoss', 'invTau', invTau);
  const { image, text } = bothWays(similarities(images, texts));
  return infoNceOf(image, invTau).add(infoNceOf(text, invTau)).mul(0.5);
}

/** A teacher's embeddings of the same pairs. */
export interface DistillationOptions extends ContrastiveOptions {
  /** [batch, teacherDim] unit image embeddings, and text embeddings; no gradient goes there. */
  teacher: { images: Tensor; texts: Tensor };
  /** The teacher's τ⁻¹, > 0. */
  teacherInvTau: number | Tensor;
}

/**
 * Distillation: the cross-entropy between what a teacher and a student think of which candidate belongs to an anchor.
 *
 * $$ \mathcal L = -\frac1{2N}\sum_{ij}\big(p^T_{ij}\ln p^S_{ij} + q^T_{ij}\ln q^S_{ij}\big) $$
 *
 * with p = softmax_j τ⁻¹ x_iᵀy_j over texts for each image, q = softmax_i over images for each text, T the teacher's. Its least
 * value is the mean entropy of the teacher's p and q. Derivative: ∂L/∂k_ij = (p^S_ij − p^T_ij + q^S_ij − q^T_ij) / 2N.
 *
 * @param images [batch, dim] unit image embeddings of the student; @param texts [batch, dim]
 * @returns [], nats, ≥ 0
 * @throws ShapeError, DomainError
 * @source Hinton et al. 2015, arXiv 1503.02531; between similarities as in open_clip's --distill-model
 */
export function distillationLoss(
  images: Tensor,
  texts: Tensor,
  { invTau, teacher, teacherInvTau }: DistillationOptions,
): Tensor {
  const op = 'distillationLoss';
  checkPairs(op, images, texts, 1);
  checkPairs(op, teacher.images, teacher.texts, 1);
  if (teacher.images.shape[0] !== images.shape[0])
    throw new ShapeError(op, {
      received: `${teacher.images.shape[0]} pairs of the teacher for ${images.shape[0]}`,
      expected: 'the same pairs',
    });
  const theirs = similarities(teacher.images.detach(), teacher.texts.detach());
  return distillationOf(
    bothWays(similarities(images, texts).mul(positive(op, 'invTau', invTau))),
    bothWays(theirs.mul(positive(op, 'teacherInvTau', teacherInvTau)).detach()),
  );
}

/** {@link distillationLoss} of the logits of student and teacher, [anchors, candidates] each. */
export function distillationOf(student: RetrievedSimilarities, teacher: RetrievedSimilarities): Tensor {
  const one = (side: 'image' | 'text') =>
    teacher[side]
      .softmax({ axis: 1 })
      .mul(student[side].logSoftmax({ axis: 1 }))
      .sum();
  return one('image')
    .add(one('text'))
    .div(-2 * student.image.shape[0]!);
}

/** The temperatures of CLOOB, and the scale and form of its loss. */
export interface CloobOptions extends ContrastiveOptions {
  /** β of the Hopfield memories, > 0; 8 in the paper. */
  beta: number | Tensor;
  /** Multiply by τ as the official code does. Default true; false gives the paper's L_img + L_txt. */
  scaleByTau?: boolean;
  /** How the retrieved patterns are compared: see {@link retrievedSimilarities}. Default: the form of fewer operations. */
  form?: RetrievalForm;
}

/**
 * CLOOB's objective: InfoLOOB between embeddings that Hopfield memories of the batch have enriched.
 *
 * $$ \mathcal L = \tau\,(\mathcal L_{img}+\mathcal L_{txt}),\quad
 *    \mathcal L_{img} = \mathrm{InfoLOOB}(U_x, U_y),\ \mathcal L_{txt} = \mathrm{InfoLOOB}(V_y, V_x) $$
 *
 * | symbol   | code   | shape        | unit / range                                             |
 * |----------|--------|--------------|----------------------------------------------------------|
 * | X = U    | images | [batch, dim] | unit image embeddings, also the image memory; batch ≥ 2  |
 * | Y = V    | texts  | [batch, dim] | unit text embeddings, also the text memory               |
 * | U_x, U_y | {@link retrievePairs} | [batch, dim] | images and texts answered by the image memory, unit length |
 * | V_x, V_y |        | [batch, dim] | images and texts answered by the text memory             |
 * | τ⁻¹      | invTau | scalar       | > 0; 30 in the paper                                     |
 * | β        | beta   | scalar       | > 0; 8 in the paper                                      |
 * | L        | return | []           | can be NEGATIVE; scales: see the table at the top of this file |
 *
 * Image side: anchor U_x, candidates U_y. Text side: anchor V_y, candidates V_x. Memories include the query itself.
 *
 * @throws ShapeError; DomainError for a batch of one, τ⁻¹ ≤ 0 or β ≤ 0
 * @source Fürst et al. 2021, CLOOB, arXiv 2110.11316, and the official code's scale
 */
export function cloobLoss(
  images: Tensor,
  texts: Tensor,
  { invTau, beta, scaleByTau = true, form }: CloobOptions,
): Tensor {
  checkPairs('cloobLoss', images, texts, 2);
  invTau = positive('cloobLoss', 'invTau', invTau);
  const { image, text } = retrievedSimilarities(images, texts, { beta, form });
  const loss = infoLoobOf(image, invTau).add(infoLoobOf(text, invTau));
  return scaleByTau ? loss.div(invTau) : loss;
}
