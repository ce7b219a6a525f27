/** Data sets as a run sees them: pairs to train on, and an evaluation that ends in text and numbers. */

import { dataVersions } from '../data/emoji.js';
import { type EmojiData, emojiPairs, prepareEmoji } from '../data/emoji-pairs.js';
import type { PairSource } from '../data/pairs.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { evaluateEmoji } from './evaluate.js';
import { type Output, startProgress } from './progress.js';
import { retrievalTable, zeroShotTable } from './report.js';

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
  let progress: ReturnType<typeof startProgress> | null = null;
  const data: EmojiData = await prepareEmoji({
    ...options,
    onProgress: (done, total) => {
      progress ??= startProgress('Drawing emoji', total, output);
      progress.update(done);
    },
  });
  (progress as ReturnType<typeof startProgress> | null)?.stop();
  const { train, testA, testB, testC } = data.split;
  return {
    description:
      `embedded emoji, ${size}×${size}: ${train.length} drawings to train on; held out: ` +
      `A ${testA.length}, B ${testB.length}, C ${testC.length}${validation ? ' (validation split)' : ''}`,
    facts: { data: 'embedded emoji', size, validation, versions: dataVersions() },
    source: (wanted) => emojiPairs(data, wanted),
    async evaluate(model, tokenizer, label) {
      const bar = startProgress('Evaluating', 9, output);
      const results = await evaluateEmoji(model, tokenizer, data, (done) => bar.update(done));
      bar.stop();
      return { results, text: `${retrievalTable(results, label)}\n\n${zeroShotTable(results)}` };
    },
  };
}
