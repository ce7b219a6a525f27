// Trains a small CLOOB on coloured shapes, drawn here pixel by pixel, and writes the weights where the page finds them.
import { mkdirSync } from 'node:fs';
import { manualSeed, Random, scoped, tensor } from 'hopgrad';
import { evalTransform, normaliser } from 'hopgrad/data';
import { ClipTokenizer, createModel, preprocessing, saveCheckpoint } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss, cosineWarmup, infoLoobLoss } from 'hopgrad/nn';
import { captions, colours, shapes } from './src/world.js';

const steps = Number(process.argv[2] ?? 150);
const batchSize = 48;

manualSeed(1);
const tokenizer = ClipTokenizer.train(captions, { vocabSize: 600 });
const model = createModel(
  {
    embed_dim: 32,
    image_resolution: 32,
    vision_layers: 2,
    vision_width: 64,
    vision_patch_size: 8,
    vision_heads: 4,
    context_length: 8,
    vocab_size: tokenizer.vocabSize,
    transformer_width: 64,
    transformer_heads: 4,
    transformer_layers: 1,
    center: 'batch', // takes off what all embeddings share
  },
  { seed: 1 },
);
const settings = preprocessing(model.config);
const normalise = normaliser(settings);
const random = new Random(1);
const between = (low, high) => low + (high - low) * random.uniform();

/** A shape somewhere on white, with a size and a place of its own, as the page's canvas would hold it. */
function draw(inside, [red, green, blue]) {
  const side = 64;
  const data = new Uint8Array(side * side * 4).fill(255);
  const [radius, x0, y0] = [between(12, 26), between(28, 36), between(28, 36)];
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      if (inside((x - x0) / radius, (y - y0) / radius)) data.set([red, green, blue], (y * side + x) * 4);
  return { data, width: side, height: side, channels: 4, mode: 'RGBA' };
}

/** `batchSize` different captions and a fresh drawing of each. */
function batch() {
  const chosen = random.shuffle(captions.keys()).slice(0, batchSize);
  const { size } = settings;
  const pixels = new Float32Array(batchSize * 3 * size * size);
  const texts = chosen.map((index, row) => {
    const [colour, shape] = [Math.floor(index / shapes.length), index % shapes.length];
    const picture = draw(shapes[shape].inside, colours[colour].rgb);
    normalise(evalTransform(picture, settings), pixels, row * 3 * size * size);
    return captions[index];
  });
  const contextLength = model.config.context_length;
  return {
    images: tensor(pixels, { shape: [batchSize, 3, size, size] }),
    tokens: tensor(tokenizer.tokenize(texts, { contextLength }), { shape: [batchSize, contextLength] }),
  };
}

const optimizer = new AdamW(model.parameters(), { weightDecay: 0.05, maxGradNorm: 1 });
const rate = cosineWarmup({ lr: 2e-3, warmup: 20, total: steps });
for (let step = 0; step < steps; step++) {
  optimizer.zeroGrad();
  optimizer.lr = rate(step);
  const loss = scoped(() => {
    const { images, tokens } = batch();
    const [x, y] = [model.encodeImage(images).l2Normalize(), model.encodeText(tokens).l2Normalize()];
    // Embeddings of a fresh model are nearly alike, and memories of such average everything away: at first without them.
    const value = step < 0.8 * steps ? infoLoobLoss(x, y, { invTau: 15 }) : cloobLoss(x, y, { invTau: 15, beta: 8 });
    value.backward();
    return value;
  });
  if (step % 25 === 0 || step === steps - 1) console.log(`step ${step}: loss ${(await loss.item()).toFixed(3)}`);
  await optimizer.step();
}
mkdirSync('public', { recursive: true });
await saveCheckpoint('public/shapes.safetensors', { model, tokenizer });
console.log('public/shapes.safetensors is written: npm run dev');
