/**
 * The official model and hopgrad's: the same names and shapes, the same numbers from the same weights, and what the scales of losses in use are to
 * one another. Official numbers are PyTorch's, of an independent definition of the model (test/fixtures/official_model.py).
 */
import { readFileSync } from 'node:fs';
import { init, noGrad, type Tensor } from 'hopgrad';
import { type CloobConfig, type configs, createModel, readSafetensors } from 'hopgrad/models/cloob';
import { clipLoss, cloobLoss, infoLoobLoss, infoNceLoss, retrievePairs } from 'hopgrad/nn';
import { unitVectors, values } from './chapter.js';
import type { Chapter, Findings } from './record.js';

const fixture = (name: string) => new URL(`../../test/fixtures/${name}`, import.meta.url);
const [n, dim, invTau, beta] = [32, 24, 30, 8];
const number = (t: Tensor) => values(t)[0]!;

interface Architecture {
  config: CloobConfig;
  parameters: number;
  entries: Record<string, number[]>;
}

/** Entries whose name or shape is another one. */
function strangers(model: ReturnType<typeof createModel>, { entries }: Architecture): number {
  const own = Object.entries(model.stateDict()).filter(([name]) => name !== 'logit_inv_tau'); // a scalar there, one number here
  const same = own.filter(([name, { shape }]) => `${entries[name]}` === `${shape}`);
  return own.length - same.length + Math.abs(Object.keys(entries).length - 1 - own.length);
}

function architectures(found: Findings): void {
  const all = JSON.parse(readFileSync(fixture('architectures.json'), 'utf8')) as Record<string, Architecture>;
  const rows = Object.entries(all).map(([name, official]) => {
    const model = createModel(name as keyof typeof configs, { blank: true, device: 'reference' });
    const off = strangers(model, official) + Math.abs(model.parameterCount() - official.parameters);
    return { name, entries: Object.keys(official.entries).length, parameters: official.parameters, off };
  });
  const off = rows.reduce((sum, row) => sum + row.off, 0);
  found.claim('names', 'names and shapes of all entries, and the counts of parameters, that differ', off, 0);
  found.table(
    'architectures',
    'Official architectures.',
    ['model', 'entries', 'parameters'],
    rows.map(({ name, entries, parameters }) => [name, String(entries), parameters.toLocaleString('en')]),
  );
}

/** How far hopgrad is from the stored numbers of a small model with the official layers, relative to the largest of them. */
function embeddings(kind: 'vit' | 'resnet') {
  const { tensors, metadata } = readSafetensors(readFileSync(fixture(`official-tiny-${kind}.safetensors`)), {
    device: 'wasm',
  });
  const model = createModel(JSON.parse(metadata.config!), { dtype: 'float64', device: 'wasm', blank: true });
  const state = Object.entries(tensors).filter(([name]) => name.startsWith('state.'));
  model.loadStateDict(Object.fromEntries(state.map(([name, value]) => [name.slice('state.'.length), value])));
  model.eval();
  const [images, texts] = noGrad(() => [
    model.encodeImage(tensors['input.images']!.cast('float64')),
    model.encodeText(tensors['input.tokens']!),
  ]) as [Tensor, Tensor];
  const off = (own: Tensor, official: Tensor) =>
    number(own.sub(official.cast('float64')).abs().max()) / number(official.abs().max());
  const [x, y] = [images.l2Normalize(), texts.l2Normalize()];
  return {
    images: off(images, tensors['eval.image_features']!),
    texts: off(texts, tensors['eval.text_features']!),
    cloob: off(cloobLoss(x, y, { invTau, beta }), tensors['eval.cloob_loss']!),
    clip: off(clipLoss(x, y, { invTau }), tensors['eval.clip_loss']!),
  };
}

/** Losses as the sources write them, each from its own formula. */
function conventions(found: Findings): void {
  const [x, y] = [unitVectors(n, dim, 1), unitVectors(n, dim, 2)];
  const { imageFromImage, imageFromText, textFromText, textFromImage } = retrievePairs(x, y, { beta });
  const sides = [
    infoLoobLoss(imageFromImage, imageFromText, { invTau }),
    infoLoobLoss(textFromText, textFromImage, { invTau }),
  ].map(number) as [number, number];
  const paper = sides[0] + sides[1];
  const own = number(cloobLoss(x, y, { invTau, beta }));
  found.claim('scale', 'cloobLoss = τ (L_img + L_txt), the official code’s', Math.abs(own - paper / invTau), 1e-12);
  const unscaled = number(cloobLoss(x, y, { invTau, beta, scaleByTau: false }));
  found.claim('unscaled', 'with scaleByTau: false it is the paper’s objective', Math.abs(unscaled - paper), 1e-12);
  const clip = number(clipLoss(x, y, { invTau }));
  const sum = number(infoNceLoss(x, y, { invTau })) + number(infoNceLoss(y, x, { invTau }));
  found.claim('clip', 'clipLoss = (L_img + L_txt) / 2', Math.abs(clip - sum / 2), 1e-12);
  found.table(
    'scales',
    `The same batch (N = ${n}, τ⁻¹ = ${invTau}, β = ${beta}) on the scales in use.`,
    ['source', 'formula', 'value'],
    [
      ['the paper', 'L_img + L_txt', paper],
      ['the official code, cloobLoss', 'τ (L_img + L_txt)', own],
      ['crowsonkb/cloob-training', '(L_img + L_txt) / 2', paper / 2],
      [
        'InfoLOOB of the pairs, without memories',
        'L_img + L_txt',
        number(infoLoobLoss(x, y, { invTau })) + number(infoLoobLoss(y, x, { invTau })),
      ],
      ['CLIP, clipLoss', '(CE_img + CE_txt) / 2', clip],
    ],
  );
}

async function run(found: Findings): Promise<void> {
  await init({ device: 'wasm' });
  architectures(found);
  for (const kind of ['vit', 'resnet'] as const)
    for (const [what, error] of Object.entries(embeddings(kind)))
      found.claim(
        `${kind}-${what}`,
        `${what === 'images' || what === 'texts' ? `embeddings of ${what}` : `${what} loss`}, ${kind === 'vit' ? 'vision transformer' : 'residual network'}, relative`,
        error,
        1e-6,
      );
  conventions(found);
}

export const parity: Chapter = {
  name: 'parity',
  title: 'Parity: the official model in shape, number and convention',
  run,
};
