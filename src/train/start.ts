/** What a training starts from: the sizes of the model, its tokenizer, and weights of another training. */
import type { EmbeddingPairs } from '../data/embeddings.js';
import { captionsOf, type Source } from '../data/source.js';
import { describeCheckpoint, loadCheckpoint } from '../models/cloob/checkpoint.js';
import { type CloobConfig, resolveConfig } from '../models/cloob/config.js';
import { HeadsModel } from '../models/cloob/heads.js';
import { type CloobModel, createModel } from '../models/cloob/model.js';
import { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { DataError, printable } from '../tensor/errors.js';
import { colourOf } from './option-kinds.js';
import { modelConfig, type TrainOptions } from './options.js';

/** Sizes of the model that the options describe, those of `--pretrained` included. @throws what reading the file throws */
export async function startConfig(options: TrainOptions): Promise<CloobConfig> {
  const { model, pretrained, center, embedDim, imageSize, contextLength, background } = options;
  const fromFile = model === 'pretrained' && pretrained !== null;
  const config = fromFile ? (await describeCheckpoint(pretrained)).config : modelConfig(options);
  return resolveConfig({
    ...config,
    center,
    ...(embedDim !== null && { embed_dim: embedDim }),
    ...(imageSize !== null && { image_resolution: imageSize }),
    ...(contextLength !== null && { context_length: contextLength }),
    ...(background !== null && { image_background: colourOf(background)! }),
  });
}

/**
 * The tokenizer of a fresh model: that of `--pretrained` where it fits, the published one where the vocabulary has its size, else one
 * trained on the training captions.
 */
async function startTokenizer(
  { vocabSize, pretrained }: TrainOptions,
  config: CloobConfig,
  source: Source,
): Promise<ClipTokenizer> {
  const size = vocabSize ?? config.vocab_size;
  if (pretrained !== null && vocabSize === null) {
    const { config: theirs, tokenizer } = await describeCheckpoint(pretrained);
    if (tokenizer && theirs.vocab_size === size) return tokenizer;
  }
  if (size === ClipTokenizer.officialSize) return ClipTokenizer.official();
  const captions: string[] = [];
  for await (const caption of captionsOf(source)) captions.push(caption);
  return ClipTokenizer.train(captions, { vocabSize: size });
}

/** A model with its tokenizer before the first step. @param say told what was taken from `--pretrained` */
export async function startModel(
  options: TrainOptions,
  source: Source,
  say: (text: string) => void,
): Promise<{ model: CloobModel; tokenizer: ClipTokenizer }> {
  const config = await startConfig(options);
  const tokenizer = await startTokenizer(options, config, source);
  const sizes = { ...config, vocab_size: options.vocabSize ?? config.vocab_size };
  const model = createModel(sizes, { seed: options.seed, initInvTau: options.initInvTau });
  if (options.pretrained !== null) say(await takeWeights(model, options.pretrained));
  return { model, tokenizer };
}

/**
 * Copies every tensor of a file that the model has in the same shape. τ⁻¹ belongs to the objective and stays.
 * @returns what was taken, in words
 * @throws DataError when nothing fits; what {@link loadCheckpoint} throws
 */
async function takeWeights(model: CloobModel, path: string): Promise<string> {
  const own = model.stateDict();
  const { model: other } = await loadCheckpoint(path, { device: model.logit_inv_tau.device });
  const theirs = other.stateDict();
  const wanted = Object.keys(own).filter((name) => name !== 'logit_inv_tau');
  const same = (a: readonly number[], b: readonly number[]) => a.join() === b.join();
  const fits = (name: string) => name in theirs && same(own[name]!.shape, theirs[name]!.shape);
  const taken = wanted.filter(fits);
  if (taken.length > 0)
    model.loadStateDict(Object.fromEntries(taken.map((name) => [name, theirs[name]!])), { strict: false });
  for (const value of Object.values(theirs)) value.dispose();
  const left = wanted.filter((name) => !fits(name));
  const told = left.slice(0, 5).map((name) => {
    const there = name in theirs ? `[${theirs[name]!.shape}] there` : 'not there';
    return `${name} ([${own[name]!.shape}], ${there})`;
  });
  const missing = `${told.join(', ')}${left.length > told.length ? `, and ${left.length - told.length} more` : ''}`;
  if (taken.length === 0)
    throw new DataError('train', {
      received: `--pretrained ${path}, of which nothing fits the model: ${missing}`,
      expected: 'weights of a model of such sizes',
      hint: 'Without --model, the sizes come from the file.',
    });
  const start = `Starting from ${printable(path, 500)}: ${taken.length} of ${wanted.length} tensors`;
  return left.length === 0 ? start : `${start}; initialised anew: ${missing}`;
}

/** The most numbers of an embedding that heads have unless told otherwise. */
export const headsDim = 256;

/** Heads before the first step. */
export function startHeads(
  { embedDim, center, seed, initInvTau }: TrainOptions,
  { images, texts }: EmbeddingPairs,
): HeadsModel {
  const [image_features, text_features] = [images.dim, texts.dim];
  const embed_dim = embedDim ?? Math.min(headsDim, image_features, text_features);
  return new HeadsModel({ embed_dim, image_features, text_features, center }, { seed, initInvTau });
}

/** Captions that are looked at for {@link cutNote}. */
const mostCaptions = 1000;

/** A sentence about captions that are longer than the model reads, when there are some. */
export async function cutNote(
  { tokenizer, model }: { tokenizer: ClipTokenizer; model: CloobModel },
  source: Source,
  seed: number,
): Promise<string | null> {
  const { context_length: most } = model.config;
  const lengths: number[] = [];
  for await (const row of source.rows({ seed, epoch: 0, shuffle: true })) {
    if ('caption' in row && row.caption) lengths.push(tokenizer.encode(row.caption).length + 2); // start and end
    if (lengths.length === mostCaptions) break;
  }
  const cut = lengths.filter((length) => length > most).length;
  if (cut === 0) return null;
  const sorted = lengths.sort((a, b) => a - b);
  const enough = sorted[Math.ceil(0.99 * sorted.length) - 1]!;
  const share = Math.max(1, Math.round((100 * cut) / lengths.length));
  return (
    `${share} % of ${lengths.length} captions are longer than the ${most} tokens that the model reads, and are cut there; ` +
    `--context-length ${enough} would hold 99 % of them whole`
  );
}
