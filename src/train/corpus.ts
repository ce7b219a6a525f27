/** Data sets as a run sees them: pairs to train on, and an evaluation that ends in text and numbers. */

import { dataVersions } from '../data/emoji.js';
import { emojiPairs, prepareEmoji } from '../data/emoji-pairs.js';
import type { LoaderOptions } from '../data/loader.js';
import { openPairs } from '../data/open.js';
import type { PairSource } from '../data/pairs.js';
import type { Source } from '../data/source.js';
import { retrievalMetrics } from '../evaluate/metrics.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { DataError } from '../tensor/errors.js';
import { embedSource } from './embed-source.js';
import { evaluateEmoji } from './evaluate.js';
import { type Output, withProgress } from './progress.js';
import { pairTable, retrievalTable, zeroShotTable } from './report.js';

export interface Evaluation {
  /** For results.json. */
  results: unknown;
  /** For people. */
  text: string;
}

export interface Corpus {
  /** One line about the data. */
  description: string;
  /** What identifies the data; a resumed run must have the same. */
  facts: Record<string, unknown>;
  source(options: { batchSize: number; seed: number }): PairSource;
  /** Evaluates; null when there is nothing to evaluate on. */
  evaluate(model: CloobModel, tokenizer: ClipTokenizer, label: string): Promise<Evaluation | null>;
}

/**
 * The embedded data at a size, drawn on first use.
 * @throws DataError when it cannot be prepared
 */
export async function emojiCorpus(options: {
  size: number;
  cacheFolder: string;
  validation: boolean;
  output: Output;
}): Promise<Corpus> {
  const { size, validation, output } = options;
  const data = await withProgress(
    'Drawing emoji',
    undefined, // nothing is drawn, and no bar shown, where the cache has them
    ({ update }) => prepareEmoji({ ...options, onProgress: (done, total) => update(done, '', total) }),
    { output },
  );
  const { train, testA, testB, testC } = data.split;
  return {
    description:
      `embedded emoji, ${size}×${size}: ${train.length} drawings to train on; held out: ` +
      `A ${testA.length}, B ${testB.length}, C ${testC.length}${validation ? ' (validation split)' : ''}`,
    facts: { data: 'embedded emoji', size, validation, versions: dataVersions() },
    source: (wanted) => emojiPairs(data, wanted),
    async evaluate(model, tokenizer, label) {
      const results = await withProgress(
        'Evaluating',
        9,
        ({ update }) => evaluateEmoji(model, tokenizer, data, (done) => update(done)),
        { output },
      );
      return { results, text: `${retrievalTable(results, label)}\n\n${zeroShotTable(results)}` };
    },
  };
}

export interface PairFiles {
  /** Pairs to train on, opened. */
  train: Source;
  /** Pairs to evaluate on, if any. */
  val: Source | null;
  /** Rows of `train` where the source cannot know: shards. */
  numSamples: number | null;
  /** Pixels a side. */
  size: number;
  loader: Pick<LoaderOptions, 'workers' | 'maxBadShare' | 'log'>;
  output: Output;
}

/** Tables or shards of captioned pictures. */
export function pairCorpus({ train, val, numSamples, size, loader, output }: PairFiles): Corpus {
  const count = train.size ?? numSamples;
  return {
    description: `${train.name}, ${count ?? 'an unknown number of'} pairs at ${size}×${size}`,
    facts: { data: train.name, pairs: count, size },
    source({ batchSize, seed }) {
      const pairs = openPairs(train, { batchSize, seed, transform: { size }, ...loader });
      const known = pairs.batchesPerEpoch ?? (numSamples === null ? undefined : Math.floor(numSamples / batchSize));
      return { ...pairs, batchesPerEpoch: known };
    },
    evaluate: async (model, tokenizer, label) =>
      val ? evaluatePairs(model, tokenizer, val, { label, output, ...loader }) : null,
  };
}

/** Retrieval both ways among the pairs of a source. @throws DataError for pictures without captions */
export async function evaluatePairs(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  source: Source,
  { label, output, ...loader }: { label: string; output: Output } & Pick<LoaderOptions, 'maxBadShare' | 'log'>,
): Promise<Evaluation> {
  const options = {
    ...(loader.maxBadShare !== undefined && { maxBadShare: loader.maxBadShare }),
    ...(loader.log && { log: loader.log }),
  };
  const { features, captions, names } = await withProgress(
    'Evaluating',
    source.size,
    ({ update }) => embedSource(model, source, { ...options, onProgress: (done) => update(done) }),
    { output },
  );
  const wordless = captions.indexOf('');
  if (wordless >= 0)
    throw new DataError('eval', { received: `${names[wordless]} without words`, expected: 'pictures with captions' });
  const texts = embedTexts(model, tokenizer, captions);
  const results = await retrievalMetrics(features, texts);
  features.dispose();
  texts.dispose();
  return { results: { data: source.name, ...results }, text: pairTable(results, label) };
}
