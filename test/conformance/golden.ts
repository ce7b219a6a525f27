/**
 * The golden fixtures on any device, reads awaited: embeddings, every gradient by name and ten AdamW steps of the
 * official model, as float64 arithmetic has them. Runs in Node and in the page.
 *
 * The steps are compared in two ways. Left to itself, a device must follow the losses; but AdamW's first step moves
 * each weight by the learning rate in the direction of its gradient's sign, so a weight whose gradient is a millionth
 * of the largest goes either way by rounding, and batch norm over a few values makes it count: of the residual
 * network in float32, even the reference device is 2.4e-4 off after ten steps. So the float64 path is walked too,
 * and at each of its ten points the device's loss and gradients are compared: there nothing adds up.
 */
import { noGrad, type Tensor, withDevice } from 'hopgrad';
import { createModel, readSafetensors } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';

export const options = { invTau: 30, beta: 8 };
const adamW = { lr: 1e-3, weightDecay: 0.1 };

export interface GoldenErrors {
  /** Of image and text embeddings in evaluation mode, relative to their largest. */
  embeddings: number;
  /** Of the gradient that is furthest off, relative to its own largest. */
  gradient: number;
  worstGradient: string;
  /** Per step of the device's own, relative to the largest loss. */
  losses: number[];
  /** The same at the parameters that float64 has there. */
  forcedLosses: number[];
  /** The worst gradient at each of them, relative to its own largest. */
  forcedGradients: number[];
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
}

function furthest(actual: ArrayLike<number>, expected: ArrayLike<number>, scale = largest(expected)): number {
  let most = 0;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    if (!(d <= most)) most = d;
  }
  return most / scale;
}

export interface Golden {
  stored: ReturnType<typeof readSafetensors>;
  config: string;
  /** A model with the stored parameters on a device, and its loss on the stored batch. */
  model(dtype: 'float32' | 'float64', device: string): { model: Cloob; embed(): [Tensor, Tensor]; loss(): Tensor };
}

type Cloob = ReturnType<typeof createModel>;

/** @param file the bytes of official-tiny-vit.safetensors or official-tiny-resnet.safetensors */
export function openGolden(file: Uint8Array): Golden {
  const stored = readSafetensors(file, { device: 'reference' });
  const state = Object.entries(stored.tensors).filter(([name]) => name.startsWith('state.'));
  const config = stored.metadata.config!;
  return {
    stored,
    config,
    model(dtype, device) {
      const model = createModel(JSON.parse(config), { dtype, device, seed: 3 });
      model.loadStateDict(Object.fromEntries(state.map(([name, value]) => [name.slice(6), value])));
      const images = stored.tensors['input.images']!.cast(dtype).to(device);
      const tokens = stored.tensors['input.tokens']!.to(device);
      const embed = (): [Tensor, Tensor] =>
        withDevice(device, () => [model.encodeImage(images), model.encodeText(tokens)]);
      const loss = () => {
        const [i, t] = embed();
        return cloobLoss(i.l2Normalize(), t.l2Normalize(), options);
      };
      return { model, embed, loss };
    },
  };
}

/** The gradient that is furthest from `expected`, relative to its own largest. */
async function worstOf(model: Cloob, expected: (name: string) => ArrayLike<number>): Promise<[number, string]> {
  let [worst, at] = [0, ''];
  for (const [name, parameter] of model.namedParameters()) {
    if (name === 'logit_inv_tau') continue; // fixed at 30 in these values
    // Softmax ignores what all logits share, so a key bias has no gradient but rounding: its scale is the query bias's.
    const scale = largest(expected(name.replace('k_proj.bias', 'q_proj.bias')));
    const error = furthest(await parameter.grad!.data(), expected(name), scale);
    if (!(error <= worst)) [worst, at] = [error, name];
  }
  return [worst, at];
}

/** Where float64 stands before one of the steps: its state, and its loss and gradients there. */
interface Point {
  state: Record<string, Tensor>;
  loss: number;
  gradients: Map<string, ArrayLike<number>>;
}

/** The points so far, and one more. Walked once for all devices: each gradient is copied out. */
const paths = new Map<string, { points: Point[]; walk(): Promise<void> }>();

function beginPath(golden: Golden) {
  const { model, loss } = golden.model('float64', 'wasm');
  const optimizer = new AdamW(model.parameters(), adamW);
  const points: Point[] = [];
  model.train();
  const walk = async () => {
    const state = Object.fromEntries(Object.entries(model.stateDict()).map(([name, t]) => [name, t.clone().detach()]));
    optimizer.zeroGrad();
    const step = loss();
    step.backward();
    points.push({
      state,
      loss: await step.item(),
      gradients: new Map(model.namedParameters().map(([name, p]) => [name, p.grad?.dataSync() ?? []])),
    });
    await optimizer.step();
  };
  return { points, walk };
}

/** The first `steps` points of ten AdamW steps in float64. */
export async function exactPath(golden: Golden, steps: number): Promise<readonly Point[]> {
  const path = paths.get(golden.config) ?? beginPath(golden);
  paths.set(golden.config, path);
  while (path.points.length < steps) await path.walk();
  return path.points;
}

/** @param steps of the ten; fewer where the same texts have taken all ten on another engine */
export async function goldenErrors(file: Uint8Array, device: string, steps = 10): Promise<GoldenErrors> {
  const golden = openGolden(file);
  const values = (name: string) => golden.stored.tensors[name]!.dataSync();
  const { model, embed, loss } = golden.model('float32', device);

  model.eval();
  const [imageFeatures, textFeatures] = noGrad(embed);
  const embeddings = Math.max(
    furthest(await imageFeatures.data(), values('eval.image_features')),
    furthest(await textFeatures.data(), values('eval.text_features')),
  );

  const scale = largest(values('trajectory.cloob_loss'));
  const path = await exactPath(golden, steps);
  const [losses, forcedLosses, forcedGradients]: number[][] = [[], [], []];
  const offAt = async (i: number, own: Cloob, step: Tensor) => {
    forcedLosses!.push(Math.abs((await step.item()) - path[i]!.loss) / scale);
    forcedGradients!.push((await worstOf(own, (name) => path[i]!.gradients.get(name)!))[0]);
  };

  model.train();
  const optimizer = new AdamW(model.parameters(), adamW);
  let [gradient, worstGradient] = [0, ''];
  for (const [i, expected] of values('trajectory.cloob_loss').slice(0, steps).entries()) {
    optimizer.zeroGrad();
    const step = loss();
    step.backward();
    if (i === 0) {
      [gradient, worstGradient] = await worstOf(model, (name) => values(`grad.${name}`));
      await offAt(0, model, step); // nobody has taken a step yet
    }
    await optimizer.step();
    losses!.push(Math.abs((await step.item()) - expected) / scale);
  }

  const forced = golden.model('float32', device);
  forced.model.train();
  for (let i = 1; i < steps; i++) {
    forced.model.loadStateDict(path[i]!.state);
    const step = forced.loss();
    step.backward();
    await offAt(i, forced.model, step);
    for (const parameter of forced.model.parameters()) parameter.grad = null;
  }
  return {
    embeddings,
    gradient,
    worstGradient,
    losses: losses!,
    forcedLosses: forcedLosses!,
    forcedGradients: forcedGradients!,
  };
}

/**
 * What is beyond the bounds: 1e-4, but for what the residual network does of itself (see the head of this file), and
 * for a point or two where a relu's input is zero but for rounding, so that its derivative is 0 or 1 by chance.
 */
export function goldenFailures(kind: 'vit' | 'resnet', errors: GoldenErrors): string[] {
  const failures: string[] = [];
  const check = (what: string, values: number[], bound: (i: number) => number) => {
    for (const [i, error] of values.entries())
      if (!(error < bound(i))) failures.push(`${what} ${i + 1}: ${error} (bound ${bound(i)})`);
  };
  check('embeddings', [errors.embeddings], () => 1e-4);
  check(`gradient of ${errors.worstGradient}`, [errors.gradient], () => 1e-4);
  check('loss of step', errors.losses, (i) => (kind === 'vit' || i < 3 ? 1e-4 : 5e-3));
  check('loss at point', errors.forcedLosses, () => 1e-5);
  const points = [...errors.forcedGradients].sort((a, b) => a - b);
  const smooth = points.slice(0, Math.ceil(0.8 * points.length));
  check('gradients at the points, ordered,', smooth, () => 1e-4);
  check('gradients at point', errors.forcedGradients, () => 2e-2);
  return failures;
}
