/** The models whose transfer is judged: four methods, trained on the embedded emoji with everything else equal. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { Loader } from 'hopgrad/data';
import {
  ClipTokenizer,
  type CloobModel,
  configs,
  createModel,
  loadCheckpoint,
  preprocessing,
  saveCheckpoint,
} from 'hopgrad/models/cloob';
import { type EmojiData, emojiSource } from '#src/data/emoji-source.js';
import { PictureLearner } from '#src/train/learner.js';
import { modelConfig, presets, type TrainOptions } from '#src/train/options.js';
import { Trainer } from '#src/train/trainer.js';

/** A way to train: its name, and what is not that of the default run. */
export interface Method {
  name: string;
  options: Partial<TrainOptions>;
}

export interface Trained {
  model: CloobModel;
  tokenizer: ClipTokenizer;
}

/** Every training has the same vocabulary: that of the default run. */
export function vocabulary(data: EmojiData): ClipTokenizer {
  const captions = [...emojiSource(data, data.split.train, 'sampled').captions!()];
  return ClipTokenizer.train(captions, { vocabSize: configs['emoji-resnet'].vocab_size });
}

/** The weights from which a method's training begins. */
export function untrained(method: Method, tokenizer: ClipTokenizer, seed: number): Trained {
  const options: TrainOptions = { ...presets.emoji, ...method.options, seed };
  return { model: createModel(modelConfig(options), { seed, initInvTau: options.initInvTau }), tokenizer };
}

/** What it takes to train a method on the training drawings, from its first step. */
export function training(
  method: Method,
  { data, tokenizer, seed, steps }: { data: EmojiData; tokenizer: ClipTokenizer; seed: number; steps: number },
) {
  const options: TrainOptions = { ...presets.emoji, ...method.options, steps, seed };
  const source = emojiSource(data, data.split.train, 'sampled');
  const { model } = untrained(method, tokenizer, seed);
  const transform = { ...preprocessing(model.config), ...(source.view && { view: source.view }) };
  const loader = new Loader(source, { batchSize: options.batchSize, seed, transform, train: true, workers: 0 });
  const trainer = new Trainer({ learner: new PictureLearner({ model, tokenizer }), loader, options });
  return { model, loader, trainer };
}

/**
 * A model after `steps` steps on the training drawings.
 * @param folder where finished models are kept; one that is there is not trained again. null: nothing is kept
 */
export async function trained(
  method: Method,
  given: { data: EmojiData; tokenizer: ClipTokenizer; seed: number; steps: number; folder: string | null },
): Promise<Trained> {
  const { tokenizer, seed, steps, folder } = given;
  const file = folder && join(folder, `${method.name.toLowerCase().replace(/\W+/g, '-')}-${steps}-${seed}.safetensors`);
  if (file && existsSync(file)) return { model: (await loadCheckpoint(file)).model, tokenizer };
  const began = performance.now();
  const { model, loader, trainer } = training(method, given);
  let loss = Number.NaN;
  await trainer.run({
    measureEvery: steps + 1, // embeddings are not watched
    onStep: (step) => {
      loss = step.loss;
    },
  });
  await loader.close();
  const minutes = ((performance.now() - began) / 60_000).toFixed(1);
  if (folder) console.error(`${method.name}, seed ${seed}: ${minutes} minutes, a loss of ${loss.toPrecision(3)}`);
  if (file) {
    mkdirSync(folder, { recursive: true });
    await saveCheckpoint(`${file}.partial`, { model, tokenizer });
    renameSync(`${file}.partial`, file);
  }
  return { model, tokenizer };
}
