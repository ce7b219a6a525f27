/**
 * The golden fixtures on any device, reads awaited: embeddings, every gradient by name and ten AdamW steps of the
 * official model, as float64 arithmetic has them. Runs in Node and in the page.
 */
import { noGrad, type Tensor, withDevice } from 'hopgrad';
import { createModel, readSafetensors } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';

const options = { invTau: 30, beta: 8 };

export interface GoldenErrors {
  /** Of image and text embeddings in evaluation mode, relative to their largest. */
  embeddings: number;
  /** Of the gradient that is furthest off, relative to its own largest. */
  gradient: number;
  worstGradient: string;
  /** Per step, relative to the largest loss. */
  losses: number[];
}

function furthest(actual: ArrayLike<number>, expected: ArrayLike<number>, scale?: number): number {
  let most = 0;
  let largest = 1e-6;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    if (!(d <= most)) most = d;
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return most / (scale ?? largest);
}

/** @param file the bytes of official-tiny-vit.safetensors or official-tiny-resnet.safetensors */
export async function goldenErrors(file: Uint8Array, device: string): Promise<GoldenErrors> {
  const stored = readSafetensors(file, { device: 'reference' });
  const golden = (name: string) => stored.tensors[name]!.dataSync();
  const model = createModel(JSON.parse(stored.metadata.config!), { dtype: 'float32', device, seed: 3 });
  const state = Object.entries(stored.tensors).filter(([name]) => name.startsWith('state.'));
  model.loadStateDict(Object.fromEntries(state.map(([name, value]) => [name.slice(6), value])));
  const images = stored.tensors['input.images']!.cast('float32').to(device);
  const tokens = stored.tensors['input.tokens']!.to(device);
  const embed = (): [Tensor, Tensor] => withDevice(device, () => [model.encodeImage(images), model.encodeText(tokens)]);
  const loss = () => {
    const [i, t] = embed();
    return cloobLoss(i.l2Normalize(), t.l2Normalize(), options);
  };

  model.eval();
  const [imageFeatures, textFeatures] = noGrad(embed);
  const embeddings = Math.max(
    furthest(await imageFeatures.data(), golden('eval.image_features')),
    furthest(await textFeatures.data(), golden('eval.text_features')),
  );

  model.train();
  loss().backward();
  let [gradient, worstGradient] = [0, ''];
  for (const [name, parameter] of model.namedParameters()) {
    if (name === 'logit_inv_tau') continue; // fixed at 30 in these values
    // Softmax ignores what all logits share, so a key bias has no gradient but rounding: its scale is the query bias's.
    const scale = Math.max(1e-6, ...golden(`grad.${name.replace('k_proj.bias', 'q_proj.bias')}`).map(Math.abs));
    const error = furthest(await parameter.grad!.data(), golden(`grad.${name}`), scale);
    if (!(error <= gradient)) [gradient, worstGradient] = [error, name];
  }

  const optimizer = new AdamW(model.parameters(), { lr: 1e-3, weightDecay: 0.1 });
  const trajectory = golden('trajectory.cloob_loss');
  const largest = Math.max(...trajectory.map(Math.abs));
  const losses: number[] = [];
  for (const expected of trajectory) {
    optimizer.zeroGrad();
    const step = loss();
    step.backward();
    await optimizer.step();
    losses.push(Math.abs((await step.item()) - expected) / largest);
  }
  return { embeddings, gradient, worstGradient, losses };
}
