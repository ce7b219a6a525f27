/** One training of a small CLOOB: everything it computes, apart from where it runs and how it is shown. */
import { type NestedArray, Random, scoped, type Tensor, tensor } from 'hopgrad';
import { ClipTokenizer, type CloobModel, checkpointBytes, createModel, retrievalMetrics } from 'hopgrad/models/cloob';
import {
  AdamW,
  clipLoss,
  cloobLoss,
  infoLoobLoss,
  infoNceLoss,
  retrievedSimilarities,
  retrievePairs,
} from 'hopgrad/nn';
import { type Drawings, heldOutOf, normalised, pixelsOf } from './drawings.js';
import { config, peakRate, type RunOptions, type View } from './model.js';

/** Steps in which the learning rate grows to its peak. */
const warmUp = 20;

/** Everything that is said of a concept; the tokenizer is made of it. */
const captions = ({ concepts }: Drawings) => concepts.flatMap(({ name, keywords }) => [name, ...keywords]);

/** A picture a few pixels aside, on white, and mirrored in half of the cases: what is drawn stays what it is. */
function moved(picture: Uint8Array, size: number, random: Random): Uint8Array {
  const [right, down, mirrored] = [random.int(7) - 3, random.int(7) - 3, random.int(2) === 1];
  const result = new Uint8Array(picture.length).fill(255);
  for (let y = Math.max(0, down); y < Math.min(size, size + down); y++)
    for (let x = Math.max(0, right); x < Math.min(size, size + right); x++) {
      const from = 3 * ((y - down) * size + x - right);
      const to = 3 * (y * size + (mirrored ? size - 1 - x : x));
      for (let c = 0; c < 3; c++) result[to + c] = picture[from + c]!;
    }
  return result;
}

export class Run {
  readonly model: CloobModel;
  readonly tokenizer: ClipTokenizer;
  readonly #optimizer: AdamW;
  readonly #random: Random;
  /** Drawings to train on, by concept, and the held-out one of each. */
  readonly #train: number[][];
  readonly heldOut: number[];
  steps = 0;

  constructor(
    readonly drawings: Drawings,
    readonly options: RunOptions,
    readonly device: string,
  ) {
    this.heldOut = heldOutOf(drawings);
    this.#train = drawings.concepts.map((_, concept) =>
      drawings.drawings.flatMap((one, i) => (one.concept === concept && one.style !== drawings.heldOut ? [i] : [])),
    );
    this.tokenizer = ClipTokenizer.train(captions(drawings), { vocabSize: config.vocab_size });
    this.model = createModel(config, { seed: options.seed, device });
    this.#optimizer = new AdamW(this.model.parameters(), { lr: peakRate, weightDecay: 0.05 });
    this.#random = new Random(options.seed, 17);
  }

  images(pictures: readonly Uint8Array[]): Tensor {
    const { size } = this.drawings;
    return tensor(normalised(pictures), { shape: [pictures.length, 3, size, size], device: this.device });
  }

  tokens(texts: readonly string[]): Tensor {
    const { context_length: contextLength } = config;
    const ids = this.tokenizer.tokenize(texts, { contextLength });
    return tensor(ids, { shape: [texts.length, contextLength], device: this.device });
  }

  /** What is said of a drawing this time: its name, with a keyword in half of the cases. */
  #caption(concept: number): string {
    const { name, keywords } = this.drawings.concepts[concept]!;
    return this.#random.int(2) === 0 || keywords.length === 0 ? name : `${name}, ${this.#random.pick(keywords)}`;
  }

  #loss(images: Tensor, texts: Tensor): Tensor {
    const { loss, hopfield, from, invTau, beta } = this.options;
    if (!hopfield || this.steps <= from)
      return loss === 'infonce'
        ? clipLoss(images, texts, { invTau })
        : infoLoobLoss(images, texts, { invTau })
            .add(infoLoobLoss(texts, images, { invTau }))
            .mul(0.5);
    if (loss === 'infoloob') return cloobLoss(images, texts, { invTau, beta }).mul(invTau / 2);
    const pairs = retrievePairs(images, texts, { beta });
    return infoNceLoss(pairs.imageFromImage, pairs.imageFromText, { invTau })
      .add(infoNceLoss(pairs.textFromText, pairs.textFromImage, { invTau }))
      .mul(0.5);
  }

  /** One step on a batch of different concepts, each in some training style. @returns the loss, nats, mean of both sides */
  async step(): Promise<number> {
    const { drawings, model } = this;
    const order = this.#random.shuffle(drawings.concepts.map((_, i) => i)).slice(0, this.options.batch);
    const pictures = order.map((concept) => {
      const picture = pixelsOf(drawings, this.#random.pick(this.#train[concept]!));
      return moved(picture, drawings.size, this.#random);
    });
    const texts = order.map((concept) => this.#caption(concept));
    this.#optimizer.lr = peakRate * Math.min(1, ++this.steps / warmUp);
    model.train();
    const loss = scoped(() => {
      const value = this.#loss(
        model.encodeImage(this.images(pictures)).l2Normalize(),
        model.encodeText(this.tokens(texts)).l2Normalize(),
      );
      value.backward();
      void this.#optimizer.step();
      this.#optimizer.zeroGrad();
      return value.detach();
    });
    const value = await loss.item();
    loss.dispose();
    return value;
  }

  /** Unit embeddings of pictures, in evaluation mode, without gradient. */
  embedPictures(pictures: readonly Uint8Array[]): Tensor {
    this.model.eval();
    return scoped(() => this.model.encodeImage(this.images(pictures)).l2Normalize().detach());
  }

  embedTexts(texts: readonly string[]): Tensor {
    this.model.eval();
    return scoped(() => this.model.encodeText(this.tokens(texts)).l2Normalize().detach());
  }

  /** Embeddings of the held-out drawings of all concepts, and of their names. */
  heldOutPairs(): { images: Tensor; texts: Tensor } {
    return {
      images: this.embedPictures(this.heldOut.map((i) => pixelsOf(this.drawings, i))),
      texts: this.embedTexts(this.drawings.concepts.map(({ name }) => name)),
    };
  }

  /** Share of the held-out drawings that find their name first among all names, 0 … 1. */
  async recall(): Promise<number> {
    const { images, texts } = this.heldOutPairs();
    const { imageToText } = await retrievalMetrics(images, texts);
    images.dispose();
    texts.dispose();
    return imageToText.recall[1]!;
  }

  /**
   * What the loss compares of the held-out pairs of some concepts: their cosines, or those of what memories answer.
   * `image`: rows are pictures, both sides as the image memory answers them; `text`: rows are names, as the text memory
   * answers; `plain`: rows are pictures, columns names, nothing is retrieved.
   * @returns cosines and their softmax along the row, [concepts][concepts] each
   */
  async matrix(concepts: readonly number[], view: View): Promise<{ cosines: number[][]; p: number[][] }> {
    const { beta, invTau } = this.options;
    const images = this.embedPictures(concepts.map((i) => pixelsOf(this.drawings, this.heldOut[i]!)));
    const texts = this.embedTexts(concepts.map((i) => this.drawings.concepts[i]!.name));
    const { cosines, p } = scoped(() => {
      const found =
        view === 'plain'
          ? images.matmul(texts, { transposeB: true })
          : retrievedSimilarities(images, texts, { beta })[view];
      return { cosines: found, p: found.mul(invTau).softmax({ axis: 1 }) };
    });
    const rows = async (t: Tensor) => (await t.array()) as NestedArray as number[][];
    const answer = { cosines: await rows(cosines), p: await rows(p) };
    for (const t of [images, texts, cosines, p]) t.dispose();
    return answer;
  }

  /** The held-out drawings that are closest to words. @returns `[drawing, cosine]`, best first */
  async searchWords(words: string, count: number): Promise<[number, number][]> {
    const text = this.embedTexts([words]);
    const images = this.embedPictures(this.heldOut.map((i) => pixelsOf(this.drawings, i)));
    return (await this.#best(text, images, count)).map(([i, cosine]) => [this.heldOut[i]!, cosine]);
  }

  /** The concepts whose names are closest to a picture, [size, size, 3]. @returns `[concept, cosine]`, best first */
  async searchPicture(picture: Uint8Array, count: number): Promise<[number, number][]> {
    const names = this.drawings.concepts.map(({ name }) => name);
    return this.#best(this.embedPictures([picture]), this.embedTexts(names), count);
  }

  /** The model as a file that the commands of hopgrad read. */
  weights(): Promise<Uint8Array<ArrayBuffer>> {
    const { model, tokenizer } = this;
    const { loss, hopfield } = this.options;
    const method = `${loss === 'infoloob' ? 'InfoLOOB' : 'InfoNCE'}${hopfield ? ' with Hopfield retrieval' : ''}, in a tab`;
    return checkpointBytes({ model, tokenizer, metadata: { method, step: String(this.steps) } });
  }

  async #best(query: Tensor, candidates: Tensor, count: number): Promise<[number, number][]> {
    const cosines = scoped(() => query.matmul(candidates, { transposeB: true }));
    const values = [...(await cosines.data())];
    for (const t of [query, candidates, cosines]) t.dispose();
    return values
      .map((cosine, i): [number, number] => [i, cosine])
      .sort(([, a], [, b]) => b - a)
      .slice(0, count);
  }
}
