/**
 * A variational autoencoder learns to draw discs, squares and crosses: pictures x are thought of as made from a few hidden
 * numbers z ~ N(0, 1) by a decoder p(x|z), and an encoder q(z|x) = N(μ(x), σ²(x)) guesses them. Trained is the bound
 *
 *     −ln p(x) ≤ E_q[−ln p(x|z)] + KL(q(z|x) ‖ N(0, 1)),   KL = ½ Σ (μ² + σ² − ln σ² − 1),
 *
 * with z = μ + σ ε, ε ~ N(0, 1), so that gradients reach μ and σ. (Kingma & Welling 2014, arXiv 1312.6114)
 *
 *     node examples/vae.js
 */
import { pathToFileURL } from 'node:url';
import { manualSeed, noGrad, randn, scoped } from 'hopgrad';
import { AdamW, binaryCrossEntropyWithLogits, GELU, Linear, Module, Sequential } from 'hopgrad/nn';
import { drawShapes, size } from './shapes.js';

const pixels = size * size;

export class VAE extends Module {
  constructor(latent = 6, hidden = 96) {
    super();
    this.latent = latent;
    this.encoder = new Sequential(new Linear(pixels, hidden), new GELU(), new Linear(hidden, 2 * latent));
    this.decoder = new Sequential(new Linear(latent, hidden), new GELU(), new Linear(hidden, pixels));
  }

  /** @returns the two parts of the bound, in nats a picture: reconstruction and KL */
  forward(x) {
    const [mean, logVariance] = this.encoder.forward(x).split(this.latent, { axis: 1 });
    const z = mean.add(logVariance.mul(0.5).exp().mul(randn(mean.shape)));
    const reconstruction = binaryCrossEntropyWithLogits(this.decoder.forward(z), x, { reduction: 'sum' });
    const kl = mean.square().add(logVariance.exp()).sub(logVariance).sub(1).sum().mul(0.5);
    return [reconstruction, kl].map((part) => part.div(x.shape[0]));
  }

  /** New pictures [count, size, size], from hidden numbers drawn at random. */
  sample(count) {
    return noGrad(() =>
      this.decoder
        .forward(randn([count, this.latent]))
        .sigmoid()
        .reshape([count, size, size]),
    );
  }
}

const draw = (batch) => drawShapes(batch, { noise: 0 }).images.reshape([batch, pixels]);

/** A picture as text. */
const picture = (rows) =>
  rows.map((row) => row.map((value) => ' ░▒▓█'[Math.min(4, Math.floor(value * 5))]).join('')).join('\n');

export async function trainVae({ steps = 200, batch = 64, log = console.log } = {}) {
  manualSeed(2);
  const model = new VAE();
  const optimizer = new AdamW(model.parameters(), { lr: 4e-3, weightDecay: 0 });
  const bounds = [];
  for (let step = 0; step < steps; step++) {
    const [reconstruction, kl] = scoped(() => {
      optimizer.zeroGrad();
      const parts = model.forward(draw(batch));
      parts[0].add(parts[1]).backward();
      return parts.map((part) => part.detach());
    });
    await optimizer.step();
    const [r, k] = [await reconstruction.item(), await kl.item()];
    bounds.push(r + k);
    if (step % 40 === 0) log(`step ${step}: ${(r + k).toFixed(1)} nats a picture, of these KL ${k.toFixed(1)}`);
  }
  const samples = await model.sample(3).array();
  for (const sample of samples) log(`${picture(sample)}\n`);
  return { model, bounds, samples };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await trainVae();
