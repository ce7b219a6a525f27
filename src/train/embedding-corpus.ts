/** Embeddings from elsewhere as the data of a run: heads are trained on them, validated and evaluated. */
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import type { EmbeddingPairs, EmbeddingTable } from '../data/embeddings.js';
import { Loader } from '../data/loader.js';
import { type OpenedData, openData } from '../data/open.js';
import { chanceOfPairs, retrievalMetrics } from '../evaluate/metrics.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';
import { UsageError } from '../tensor/errors.js';
import {
  type Corpus,
  type CorpusOptions,
  type CorpusRequest,
  type Evaluation,
  pairEvaluation,
  type ValidationData,
} from './corpus.js';
import { type EmbeddedSet, scoreSets } from './validate.js';

/**
 * Opens embeddings of a run, for the first time or again.
 * @throws DataError when they cannot be read or have changed; UsageError when those to evaluate on have other sizes than those to
 * train on
 */
export async function openEmbeddingCorpus(
  { train, val }: CorpusRequest,
  { log, ranks }: Pick<CorpusOptions, 'log' | 'ranks'>,
): Promise<Corpus> {
  const { source, spec, embeddings } = await openData(train);
  const held = val && (await openData(val));
  const { images, texts } = embeddings!;
  if (held) checkSizes(held.embeddings!, { image: images.dim, text: texts.dim });
  const loading = {
    ...(log && { log }),
    ...(ranks && { ranks }),
    transform: { size: 1 },
    pictures: false,
    workers: 0,
    train: true,
  };
  return {
    description: `${images.count} pairs of embeddings: ${spec.path} (${images.dim} numbers each), ${spec.texts} (${texts.dim})`,
    spec: { train: spec, val: held?.spec ?? null },
    source,
    embeddings: embeddings!,
    loader: ({ batchSize, seed }) => new Loader(source, { batchSize, seed, ...loading }),
    async evaluate({ model }, label, validation) {
      if (!held) return null;
      return validation ? pairEvaluation(validation.sets[0]!, label) : evaluateEmbeddings(model, held, label);
    },
    evaluationSize: (validated) => (held && !validated ? held.embeddings!.images.count : 0),
    validation: held && validationOn(held),
    heldOut: [],
  };
}

/** @throws UsageError for embeddings of other sizes than heads take */
export function checkSizes({ images, texts }: EmbeddingPairs, { image, text }: { image: number; text: number }): void {
  if (images.dim === image && texts.dim === text) return;
  throw new UsageError('embeddings', {
    received: `embeddings of ${images.dim} and ${texts.dim} numbers`,
    expected: `${image} and ${text}, which the heads take`,
  });
}

function validationOn(held: OpenedData): ValidationData {
  const { count } = held.embeddings!.images;
  return {
    size: count,
    cost: count,
    hasClasses: false,
    validate({ model }, { onProgress, ...options }) {
      const embed = async function* (): AsyncGenerator<EmbeddedSet> {
        yield { set: held.source.name, ...projectPairs(model, held.embeddings!, onProgress) };
      };
      return scoreSets(embed(), options);
    },
  };
}

/** Retrieval both ways among pairs of embeddings, through heads. */
export async function evaluateEmbeddings(
  model: TwoTowers,
  { source, embeddings }: Pick<OpenedData, 'source' | 'embeddings'>,
  label: string,
): Promise<Evaluation> {
  const { images, texts, pairs } = projectPairs(model, embeddings!);
  const metrics = await retrievalMetrics(images, texts, { pairs });
  for (const used of [images, texts]) used.dispose();
  return pairEvaluation({ set: source.name, pairs: pairs.length, ...metrics, chance: chanceOfPairs(pairs) }, label);
}

/** Rows that are projected at a time. */
const atATime = 4096;

/** Every picture and every text once, through the heads: rows of the same numbers are one. The model is put into evaluation mode. */
function projectPairs(
  model: TwoTowers,
  { images, texts }: EmbeddingPairs,
  onProgress: (done: number) => void = () => {},
): Omit<EmbeddedSet, 'set'> {
  model.eval();
  const [pictures, words] = [images.same(), texts.same()];
  const project = (table: EmbeddingTable, rows: readonly number[], head: (features: Tensor) => Tensor) =>
    noGrad(() =>
      scoped(() => {
        const parts: Tensor[] = [];
        for (let start = 0; start < rows.length; start += atATime)
          parts.push(head(table.rows(rows.slice(start, start + atATime), model.logit_inv_tau.device)));
        return concat(parts);
      }),
    );
  const embedded = {
    images: project(images, pictures.firsts, (features) => model.imagesFrom(features)),
    texts: project(texts, words.firsts, (features) => model.textsFrom(features)),
    pairs: pictures.of.map((picture, row) => [picture, words.of[row]!] as const),
  };
  onProgress(images.count);
  return embedded;
}
