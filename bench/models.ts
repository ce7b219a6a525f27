/** Layers, losses, and whole training steps of the small models. */
import { randn, scoped, type Tensor, tensor } from 'hopgrad';
import { type CloobModel, createModel } from 'hopgrad/models/cloob';
import { AdamW, clipLoss, cloobLoss, type Module, ResidualAttentionBlock } from 'hopgrad/nn';
import type { Case } from './case.js';

function layer(name: string, module: Module & { forward(x: Tensor): Tensor }, x: Tensor): Case {
  const run = () => {
    scoped(() => module.forward(x).square().sum().backward());
    for (const tensor of [x, ...module.parameters()]) {
      tensor.grad?.dispose();
      tensor.grad = null;
    }
  };
  return { name, run };
}

function loss(name: string, f: (images: Tensor, texts: Tensor) => Tensor): Case {
  const pair = [0, 1].map((seed) => randn([256, 512], { seed, requiresGrad: true }));
  const [images, texts] = pair as [Tensor, Tensor];
  const run = () => {
    scoped(() => f(images.l2Normalize(), texts.l2Normalize()).backward());
    for (const x of pair) x.grad = null;
  };
  return { name, run };
}

export interface Training {
  model: CloobModel;
  /** One step as the trainer does it: scoped forward and backward, AdamW, the loss read. */
  step(): Promise<number>;
}

/** A model of the embedded data's size, with random images and captions of its shape. */
export function training(name: 'emoji-resnet' | 'emoji-vit', batch: number): Training {
  const model = createModel(name, { seed: 1 });
  const { image_resolution: side, context_length: length, vocab_size: vocabulary } = model.config;
  const images = randn([batch, 3, side, side], { seed: 2 });
  const ids = Int32Array.from({ length: batch * length }, (_, i) =>
    i % length === length - 1 ? vocabulary - 1 : (i * 7919) % (vocabulary - 2),
  );
  const tokens = tensor(ids, { shape: [batch, length] });
  const optimizer = new AdamW(model.parameters(), { lr: 1e-3 });
  async function step(): Promise<number> {
    const value = scoped(() => {
      model.zeroGrad();
      const [x, y] = [model.encodeImage(images).l2Normalize(), model.encodeText(tokens).l2Normalize()];
      const result = cloobLoss(x, y, { invTau: 30, beta: 8 });
      result.backward();
      return result.detach();
    });
    await optimizer.step();
    return value.item();
  }
  return { model, step };
}

function trainingCase(name: 'emoji-resnet' | 'emoji-vit', batch: number): Case {
  const { step } = training(name, batch);
  return {
    name: `training step, ${name}, batch ${batch}`,
    run: async () => {
      const value = await step();
      if (!Number.isFinite(value)) throw new Error(`${name}: the loss is ${value}`);
    },
    work: { items: batch, unit: 'pairs/s' },
  };
}

function encoding(): Case {
  const { model } = training('emoji-resnet', 2);
  model.eval();
  const images = randn([64, 3, 32, 32]);
  const run = () => {
    scoped(() => {
      model.encodeImage(images);
    });
  };
  return { name: 'encodeImage, emoji-resnet, 64 images', run, work: { items: 64, unit: 'images/s' } };
}

export function modelCases(): Case[] {
  return [
    layer(
      'transformer block 32 × 32 × 128, all gradients',
      new ResidualAttentionBlock(128, 4),
      randn([32, 32, 128], { requiresGrad: true }),
    ),
    loss('clipLoss 256×512, both gradients', (x, y) => clipLoss(x, y, { invTau: 30 })),
    loss('cloobLoss 256×512, both gradients', (x, y) => cloobLoss(x, y, { invTau: 30, beta: 8 })),
    encoding(),
    trainingCase('emoji-resnet', 64),
    trainingCase('emoji-vit', 64),
  ];
}
