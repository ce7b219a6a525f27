// A small CLOOB on emoji drawings, in the page. The pictures are drawn by the browser itself from their SVG.
import { noGrad, Random, scoped, tensor } from 'hopgrad';
import { ClipTokenizer, createModel } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss, infoLoobLoss } from 'hopgrad/nn';

const size = 32;
const options = { invTau: 30, beta: 8 };
const config = {
  ...{
    embed_dim: 64,
    image_resolution: size,
    vision_layers: 2,
    vision_width: 64,
    vision_patch_size: 8,
    vision_heads: 4,
  },
  ...{ context_length: 12, vocab_size: 700, transformer_width: 64, transformer_heads: 4, transformer_layers: 2 },
};

/** The pixels of an SVG on white, [3, 32, 32], in −1 … 1. */
async function pixelsOf(svg, context) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  context.fillStyle = 'white';
  context.fillRect(0, 0, size, size);
  context.drawImage(image, 0, 0, size, size);
  const { data } = context.getImageData(0, 0, size, size);
  return Float32Array.from({ length: 3 * size * size }, (_, i) => {
    const channel = Math.floor(i / (size * size));
    return data[4 * (i % (size * size)) + channel] / 127.5 - 1;
  });
}

/** InfoLOOB of the embeddings themselves, both ways, on the scale of the CLOOB loss: τ (L_img + L_txt). */
function plainLoss(images, texts) {
  return infoLoobLoss(images, texts, options)
    .add(infoLoobLoss(texts, images, options))
    .div(options.invTau);
}

export class Training {
  static async create({ device, pairs, concepts = 96 }) {
    const response = await fetch(new URL('../data/drawings.json', import.meta.url)); // beside assets/, where this lies
    if (!response.ok) throw new Error(`the drawings: ${response.status}`);
    const { things, styles } = await response.json();
    const drawings = things.slice(0, concepts);
    const canvas = Object.assign(document.createElement('canvas'), { width: size, height: size });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    return new Training(device, pairs, drawings, styles, context);
  }

  constructor(device, pairs, things, styles, context) {
    this.device = device;
    this.pairs = pairs;
    this.things = things;
    /** The last of them is held out. */
    this.styles = styles;
    this.context = context;
    this.drawn = new Map();
    this.random = new Random(1);
    this.tokenizer = ClipTokenizer.train(
      things.map(({ name }) => name),
      { vocabSize: config.vocab_size },
    );
    this.model = createModel(config, { seed: 1, device });
    this.optimizer = new AdamW(this.model.parameters(), { lr: 1e-3, weightDecay: 0.05 });
  }

  /** A drawing's pixels, drawn once. */
  async pixels(svg) {
    if (!this.drawn.has(svg)) this.drawn.set(svg, await pixelsOf(svg, this.context));
    return this.drawn.get(svg);
  }

  /**
   * One step on `pairs` different things, each in a style of its own. Fresh embeddings are all alike, and memories made
   * of them answer alike to everything: so the first steps compare the embeddings themselves, the rest what they retrieve.
   */
  async step(number, { retrieve }) {
    const { pairs } = this;
    this.optimizer.lr = 1e-3 * Math.min(1, number / 20);
    const chosen = this.random
      .shuffle(this.things.map((_, i) => i))
      .slice(0, pairs)
      .map((i) => this.things[i]);
    const pixels = new Float32Array(pairs * 3 * size * size);
    for (const [i, { svgs }] of chosen.entries())
      pixels.set(await this.pixels(svgs[this.random.int(svgs.length - 1)]), i * 3 * size * size);
    const ids = this.tokenizer.tokenize(
      chosen.map(({ name }) => name),
      { contextLength: config.context_length },
    );
    const { device, model, optimizer } = this;
    const { loss, best } = scoped(() => {
      const images = model.encodeImage(tensor(pixels, { shape: [pairs, 3, size, size], device })).l2Normalize();
      const texts = model.encodeText(tensor(ids, { shape: [pairs, config.context_length], device })).l2Normalize();
      const value = retrieve ? cloobLoss(images, texts, options) : plainLoss(images, texts);
      value.backward();
      void optimizer.step();
      optimizer.zeroGrad();
      return { loss: value.detach(), best: images.detach().matmul(texts.detach().transpose()).argmax({ axis: 1 }) };
    });
    const [lossValue, found] = [await loss.item(), await best.data()];
    loss.dispose();
    best.dispose();
    return { loss: lossValue, found: found.filter((text, image) => text === image).length };
  }

  /** Every thing in the style that no step has seen, and the name that is most like it. */
  async heldOut() {
    const { device, model, things } = this;
    const pixels = new Float32Array(things.length * 3 * size * size);
    for (const [i, { svgs }] of things.entries()) pixels.set(await this.pixels(svgs.at(-1)), i * 3 * size * size);
    const names = things.map(({ name }) => name);
    const ids = this.tokenizer.tokenize(names, { contextLength: config.context_length });
    const best = scoped(() =>
      noGrad(() => {
        const count = things.length;
        const images = model.encodeImage(tensor(pixels, { shape: [count, 3, size, size], device })).l2Normalize();
        const texts = model.encodeText(tensor(ids, { shape: [count, config.context_length], device })).l2Normalize();
        return images.matmul(texts.transpose()).argmax({ axis: 1 });
      }),
    );
    const found = await best.data();
    best.dispose();
    const answers = things.map(({ name, svgs }, i) => ({ svg: svgs.at(-1), name, given: names[found[i]] }));
    const right = answers.filter(({ name, given }) => name === given).length;
    return { answers, recall: right / answers.length, style: this.styles.at(-1) };
  }
}
