/** Zero-shot classification: classes are described in words, and a picture takes the class that fits best. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { chanceOfRecall, rankOf } from './ranks.js';

/** A sentence about a class: `{}` (or `{c}`, as some published lists write it) is replaced by the class name. */
export type PromptTemplate = string | ((className: string) => string);

/** The prompt for a class. @throws DomainError for a template without a place for the name */
export function fillTemplate(template: PromptTemplate, className: string): string {
  if (typeof template === 'function') return template(className);
  if (!/\{c?\}/.test(template))
    throw new DomainError('fillTemplate', {
      received: `the template ${JSON.stringify(template)}`,
      expected: 'a place for the class name, {}',
    });
  return template.replace(/\{c?\}/g, () => className);
}

/**
 * Embeddings of texts as the text encoder gives them, [texts, dim], a batch at a time. The model should be in
 * evaluation mode; no gradient is recorded.
 * @throws DomainError for no texts
 */
export function embedTexts(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  texts: readonly string[],
  { batchSize = 256 }: { batchSize?: number } = {},
): Tensor {
  if (texts.length === 0) throw new DomainError('embedTexts', { received: 'no texts', expected: 'at least one' });
  const contextLength = model.config.context_length;
  const device = model.logit_inv_tau.device;
  return noGrad(() =>
    scoped(() => {
      const parts: Tensor[] = [];
      for (let start = 0; start < texts.length; start += batchSize) {
        const batch = texts.slice(start, start + batchSize);
        const ids = tokenizer.tokenize(batch, { contextLength });
        const tokens = tensor(ids, { shape: [batch.length, contextLength], device });
        parts.push(scoped(() => model.encodeText(tokens)));
      }
      return concat(parts);
    }),
  );
}

/**
 * One unit vector a class: the mean of the unit embeddings of its prompts, normalised again.
 *
 * w_c = norm(mean_t norm(text(t(c)))), t over the templates.
 *
 * | symbol | code       | shape          |
 * |--------|------------|----------------|
 * | c      | classNames | [classes]      |
 * | t      | templates  | [templates]    |
 * | w      | return     | [classes, dim] |
 *
 * The class of an image is argmax_c xᵀ w_c; {@link classify} measures that.
 * @throws DomainError for no classes, no templates, or a template without a place for the name
 * @source Radford et al. 2021, arXiv 2103.00020, section 3.1.4, and the official `zero_shot.py`
 */
export function zeroShotClassifier(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  {
    classNames,
    templates = ['a photo of a {}.'],
    batchSize = 256,
  }: { classNames: readonly string[]; templates?: readonly PromptTemplate[]; batchSize?: number },
): Tensor {
  if (classNames.length === 0 || templates.length === 0)
    throw new DomainError('zeroShotClassifier', {
      received: `${classNames.length} classes and ${templates.length} templates`,
      expected: 'at least one of each',
    });
  const perBatch = Math.max(1, Math.floor(batchSize / templates.length)); // classes at a time: memory stays bounded
  return noGrad(() =>
    scoped(() => {
      const parts: Tensor[] = [];
      for (let start = 0; start < classNames.length; start += perBatch) {
        const names = classNames.slice(start, start + perBatch);
        const prompts = names.flatMap((name) => templates.map((template) => fillTemplate(template, name)));
        parts.push(
          scoped(() =>
            embedTexts(model, tokenizer, prompts, { batchSize })
              .l2Normalize()
              .reshape([names.length, templates.length, -1])
              .mean({ axis: 1 })
              .l2Normalize(),
          ),
        );
      }
      return concat(parts);
    }),
  );
}

/** How well classes were named. */
export interface Classification {
  /** Share of images whose class is among the k best, by k, in [0, 1]. */
  accuracy: Record<number, number>;
  /** Top-1 accuracy and number of images of every class. */
  perClass: { count: number; accuracy: number }[];
  /** The best class of every image. */
  predicted: Int32Array;
}

export interface ClassifyOptions {
  /** Cut-offs of the accuracy. Default 1 and 5. */
  ks?: readonly number[];
  /** Images worked on at a time. Default 1024. */
  chunk?: number;
  /** Classes of one name cannot be told apart by words: then either is right. Default: all names differ. */
  classNames?: readonly string[];
}

/** For each of `classes` the classes of its name, itself among them. */
export function sameNamed(classNames: readonly string[], classes: number): number[][] {
  const byName = new Map<string, number[]>();
  classNames.forEach((name, c) => {
    byName.set(name, [...(byName.get(name) ?? []), c]);
  });
  return Array.from({ length: classes }, (_, c) => byName.get(classNames[c] ?? '') ?? [c]);
}

/** What guessing reaches: the mean over `labels` of the chance that one of the k guesses has the name of the class. */
export function chanceOfClasses(
  labels: ArrayLike<number>,
  classNames: readonly string[],
  ks: readonly number[] = [1, 5],
): Record<number, number> {
  const n = classNames.length;
  const same = sameNamed(classNames, n);
  const mean = (k: number) =>
    Array.from(labels).reduce((sum, label) => sum + chanceOfRecall(same[label]!.length, n, k), 0) / labels.length;
  return Object.fromEntries(ks.map((k) => [k, mean(k)]));
}

/**
 * Accuracy of a classifier on labelled embeddings. Ties count against it (`rankOf`).
 * @param images     [n, dim], any length; normalised here
 * @param classifier [classes, dim], of {@link zeroShotClassifier}
 * @param labels     n class numbers
 * @throws ShapeError; DomainError for a label that names no class
 */
export async function classify(
  images: Tensor,
  classifier: Tensor,
  labels: ArrayLike<number>,
  { ks = [1, 5], chunk = 1024, classNames }: ClassifyOptions = {},
): Promise<Classification> {
  const [n, classes] = [images.shape[0]!, classifier.shape[0]!];
  if (images.rank !== 2 || classifier.rank !== 2 || images.shape[1] !== classifier.shape[1] || labels.length !== n)
    throw new ShapeError('classify', {
      received: `images ${formatShape(images.shape)}, classifier ${formatShape(classifier.shape)}, ${labels.length} labels`,
      expected: '[n, dim], [classes, dim] and n labels',
    });
  const same = sameNamed(classNames ?? [], classes);
  const predicted = new Int32Array(n);
  const hits = new Map(ks.map((k) => [k, 0]));
  const perClass = Array.from({ length: classes }, () => ({ count: 0, accuracy: 0 }));
  for (let start = 0; start < n; start += chunk) {
    const end = Math.min(n, start + chunk);
    const similarity = noGrad(() =>
      scoped(() =>
        images
          .slice([[start, end]])
          .l2Normalize()
          .matmul(classifier, { transposeB: true }),
      ),
    );
    const scores = await similarity.data(); // [end − start, classes]
    similarity.dispose();
    for (let i = start; i < end; i++) {
      const label = labels[i]!;
      const own = perClass[label];
      if (!own)
        throw new DomainError('classify', {
          received: `label ${label} of image ${i}`,
          expected: `whole numbers in [0, ${classes})`,
        });
      const row = scores.subarray((i - start) * classes, (i - start + 1) * classes);
      const rank = rankOf(row, same[label]!);
      predicted[i] = row.indexOf(Math.max(...row));
      own.count++;
      if (rank === 0) own.accuracy++;
      for (const k of ks) if (rank < k) hits.set(k, hits.get(k)! + 1);
    }
  }
  for (const own of perClass) if (own.count > 0) own.accuracy /= own.count;
  return {
    accuracy: Object.fromEntries(ks.map((k) => [k, n ? hits.get(k)! / n : 0])),
    perClass,
    predicted,
  };
}
