/** The residual image encoder of CLIP and CLOOB. */

import { attention } from '../../autograd/ops/attention.js';
import type { Tensor } from '../../autograd/tensor.js';
import * as init from '../../nn/init.js';
import { Conv2d, Linear } from '../../nn/layers.js';
import { adopt, Module, type Parameter } from '../../nn/module.js';
import { BatchNorm2d } from '../../nn/norms.js';
import { recompute } from '../../nn/recompute.js';
import type { CloobConfig } from './config.js';
import { visionHeads } from './config.js';

/** Channels grow by this factor from a block's middle to its end. */
const expansion = 4;

/**
 * 1×1, 3×3 and 1×1 convolutions with a shortcut. Shrinking is done by average pooling before the convolution that
 * follows (anti-aliasing), not by strides.
 */
class Bottleneck extends Module {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly conv3: Conv2d;
  readonly bn3: BatchNorm2d;
  /** [convolution, norm] of the shortcut where shapes differ. */
  readonly downsample: [Conv2d, BatchNorm2d] | null;
  readonly #stride: number;

  constructor(inChannels: number, channels: number, stride: number, where: init.Placement) {
    super();
    const conv = (from: number, to: number, size: number) =>
      new Conv2d(from, to, size, { padding: (size - 1) / 2, bias: false, ...where });
    const wide = channels * expansion;
    this.conv1 = conv(inChannels, channels, 1);
    this.bn1 = new BatchNorm2d(channels, where);
    this.conv2 = conv(channels, channels, 3);
    this.bn2 = new BatchNorm2d(channels, where);
    this.conv3 = conv(channels, wide, 1);
    this.bn3 = new BatchNorm2d(wide, { ...where, weight: 0 }); // each block begins as its shortcut
    this.downsample =
      stride > 1 || inChannels !== wide ? [conv(inChannels, wide, 1), new BatchNorm2d(wide, where)] : null;
    this.#stride = stride;
  }

  forward(x: Tensor): Tensor {
    const pool = (t: Tensor) => (this.#stride > 1 ? t.avgPool2d({ kernel: this.#stride }) : t);
    let y = this.bn1.forward(this.conv1.forward(x)).relu();
    y = this.bn2.forward(this.conv2.forward(y)).relu();
    y = this.bn3.forward(this.conv3.forward(pool(y)));
    const shortcut = this.downsample ? this.downsample[1].forward(this.downsample[0].forward(pool(x))) : x;
    return y.add(shortcut).relu();
  }
}

/**
 * Attention pooling: the mean over positions queries all positions (itself included), one attention layer.
 * [batch, channels, height, width] → [batch, outDim].
 */
class AttentionPool2d extends Module {
  /** [positions + 1, channels] */
  readonly positional_embedding: Parameter;
  readonly k_proj: Linear;
  readonly q_proj: Linear;
  readonly v_proj: Linear;
  readonly c_proj: Linear;
  readonly #heads: number;

  constructor(side: number, channels: number, heads: number, outDim: number, where: init.Placement) {
    super();
    const std = 1 / Math.sqrt(channels);
    const projection = (to: number) => new Linear(channels, to, { ...where, std });
    this.positional_embedding = adopt(init.normal([side * side + 1, channels], std, where));
    this.k_proj = projection(channels);
    this.q_proj = projection(channels);
    this.v_proj = projection(channels);
    this.c_proj = projection(outDim);
    this.#heads = heads;
  }

  forward(x: Tensor): Tensor {
    const positions = x.flatten(2).transpose(); // [batch, positions, channels]
    const mean = positions.mean({ axis: 1, keepDims: true });
    const tokens = mean.concat(positions, { axis: 1 }).add(this.positional_embedding); // [batch, 1 + positions, channels]
    const query = this.q_proj.forward(
      tokens.slice([
        [0, null],
        [0, 1],
      ]),
    ); // only the mean's answer is used
    const pooled = attention(query, this.k_proj.forward(tokens), this.v_proj.forward(tokens), { heads: this.#heads });
    return this.c_proj.forward(pooled.squeeze(1));
  }
}

/**
 * ModifiedResNet: a stem of three 3×3 convolutions, four stages of bottlenecks (each but the first halving the image),
 * attention pooling. With `stem_reduction: 1` the stem keeps the resolution, for images too small to shrink by 32.
 *
 * @source Radford et al. 2021, arXiv 2103.00020, section 2.4; names and sizes of the official CLIP and CLOOB models
 */
export class ModifiedResNet extends Module {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly conv3: Conv2d;
  readonly bn3: BatchNorm2d;
  readonly layer1: Bottleneck[];
  readonly layer2: Bottleneck[];
  readonly layer3: Bottleneck[];
  readonly layer4: Bottleneck[];
  readonly attnpool: AttentionPool2d;
  /** Compute stem and blocks again in backward instead of keeping what is inside them. Default false. */
  gradCheckpointing = false;
  readonly #shrinkingStem: boolean;

  constructor(config: CloobConfig, where: init.Placement) {
    super();
    const { vision_width: width, stem_reduction: reduction = 4 } = config;
    const layers = config.vision_layers as readonly number[];
    const half = Math.floor(width / 2);
    const conv = (from: number, to: number, stride: number) =>
      new Conv2d(from, to, 3, { stride, padding: 1, bias: false, ...where });
    this.#shrinkingStem = reduction === 4;
    this.conv1 = conv(3, half, this.#shrinkingStem ? 2 : 1);
    this.bn1 = new BatchNorm2d(half, where);
    this.conv2 = conv(half, half, 1);
    this.bn2 = new BatchNorm2d(half, where);
    this.conv3 = conv(half, width, 1);
    this.bn3 = new BatchNorm2d(width, where);
    const stage = (index: number) => {
      const channels = width * 2 ** index;
      const inChannels = index === 0 ? width : (channels / 2) * expansion;
      return Array.from(
        { length: layers[index]! },
        (_, i) =>
          new Bottleneck(i === 0 ? inChannels : channels * expansion, channels, i === 0 && index > 0 ? 2 : 1, where),
      );
    };
    this.layer1 = stage(0);
    this.layer2 = stage(1);
    this.layer3 = stage(2);
    this.layer4 = stage(3);
    const side = Math.floor(config.image_resolution / (8 * reduction));
    this.attnpool = new AttentionPool2d(side, width * 8 * expansion, visionHeads(config), config.embed_dim, where);
  }

  /** @param images [batch, 3, height, width] → [batch, embed_dim] */
  forward(images: Tensor): Tensor {
    const blocks = [...this.layer1, ...this.layer2, ...this.layer3, ...this.layer4].map(
      (block) => (x: Tensor) => block.forward(x),
    );
    const parts = [(x: Tensor) => this.#stem(x), ...blocks];
    const x = parts.reduce((x, part) => (this.gradCheckpointing ? recompute(part, x) : part(x)), images);
    return this.attnpool.forward(x);
  }

  #stem(images: Tensor): Tensor {
    let x = this.bn1.forward(this.conv1.forward(images)).relu();
    x = this.bn2.forward(this.conv2.forward(x)).relu();
    x = this.bn3.forward(this.conv3.forward(x)).relu();
    return this.#shrinkingStem ? x.avgPool2d({ kernel: 2 }) : x;
  }
}
