/** Attention and transformer layers, with the parameter names and defaults of the official CLIP and CLOOB models. */
import { attention } from '../autograd/ops/attention.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError } from '../tensor/errors.js';
import { maskedAttention } from './attention.js';
import { Dropout } from './dropout.js';
import * as init from './init.js';
import { checkSizes, checkTokens, Linear, linear } from './layers.js';
import { adopt, assign, Module, type Parameter } from './module.js';
import { LayerNorm } from './norms.js';
import { recompute } from './recompute.js';

/**
 * Multi-head self-attention: Q, K, V = x W_inᵀ + b_in, split into heads; y = concat_h(softmax(Q Kᵀ/√d) V) W_outᵀ + b_out.
 *
 * | symbol     | code           | shape              |
 * |------------|----------------|--------------------|
 * | x, y       | input, result  | [batch, tokens, width] |
 * | W_in, b_in | in_proj_weight, in_proj_bias | [3·width, width], [3·width]: queries, keys, values |
 * | W_out      | out_proj       | [width, width]     |
 * | d          | width / heads  |                    |
 *
 * With another sequence as `context` (cross-attention) keys and values come from that, [batch, contextTokens, width].
 * @source Vaswani et al. 2017, arXiv 1706.03762
 */
export class MultiheadAttention extends Module {
  readonly in_proj_weight: Parameter;
  readonly in_proj_bias: Parameter;
  readonly out_proj: Linear;
  readonly heads: number;
  readonly causal: boolean;

  /** @param causal token i sees tokens 0…i only */
  constructor(width: number, heads: number, { causal = false, std, ...placement }: BlockOptions = {}) {
    super();
    checkSizes('MultiheadAttention', { width, heads });
    if (width % heads !== 0)
      throw new DomainError('MultiheadAttention', {
        received: `${heads} heads for width ${width}`,
        expected: 'a divisor of the width',
      });
    const where = init.place(placement);
    const shape = [3 * width, width];
    this.in_proj_weight = adopt(std ? init.normal(shape, std.attention, where) : init.xavierUniform(shape, where));
    this.in_proj_bias = adopt(init.constant([3 * width], 0, where));
    this.out_proj = new Linear(width, width, {
      ...where,
      ...(std && { std: std.projection }),
    });
    assign(this.out_proj.bias!, init.constant([width], 0, where));
    this.heads = heads;
    this.causal = causal;
  }

  /**
   * @param context what is attended to; default x itself
   * @param mask    not 0 where a query may see a key: [queries, keys], [batch, queries, keys] or
   *   [batch, heads, queries, keys], axes of 1 repeat; see {@link maskedAttention}
   * @throws ShapeError
   */
  forward(x: Tensor, { context, mask }: { context?: Tensor | null; mask?: Tensor | null } = {}): Tensor {
    const width = this.in_proj_weight.shape[1]!;
    checkTokens('MultiheadAttention', x, width);
    if (context) checkTokens('MultiheadAttention', context, width);
    const options = { heads: this.heads, causal: this.causal };
    const [q, k, v] = this.#project(x, context ?? x) as [Tensor, Tensor, Tensor];
    return this.out_proj.forward(mask ? maskedAttention(q, k, v, mask, options) : attention(q, k, v, options));
  }

  /** Queries of x, keys and values of `context`, each [batch, tokens, width]. */
  #project(x: Tensor, context: Tensor): Tensor[] {
    const { in_proj_weight: weight, in_proj_bias: bias } = this;
    const width = weight.shape[1]!;
    const parts = (y: Tensor) => y.split(width, { axis: -1 });
    if (x === context) return parts(linear(x, weight, bias)); // one product for all three
    const [ofQ, ofKV] = weight.split([width, 2 * width]) as [Tensor, Tensor];
    const [biasOfQ, biasOfKV] = bias.split([width, 2 * width]) as [Tensor, Tensor];
    return [linear(x, ofQ, biasOfQ), ...parts(linear(context, ofKV, biasOfKV))];
  }
}

/** Standard deviations of a block's initial weights, where they differ from PyTorch's defaults. */
export interface BlockStd {
  /** in_proj_weight */
  attention: number;
  /** out_proj and c_proj, which write into the residual stream */
  projection: number;
  /** c_fc */
  hidden: number;
}

interface BlockOptions extends init.Placement {
  causal?: boolean;
  /** QuickGELU, x σ(1.702 x), as CLIP has it, or exact GELU. Default true. */
  quick?: boolean;
  std?: BlockStd;
  dropout?: number;
}

/** What forward() of attention, blocks and transformers takes besides the tokens. */
interface MaskOptions {
  /** See {@link maskedAttention}; [batch, 1, tokens] hides padding. */
  mask?: Tensor | null;
}

/** Two linear layers with QuickGELU or GELU between: width → 4 · width → width. */
class Mlp extends Module {
  readonly c_fc: Linear;
  readonly c_proj: Linear;

  constructor(
    width: number,
    where: init.Placement,
    readonly quick: boolean,
    std?: BlockStd,
  ) {
    super();
    const hidden = 4 * width;
    this.c_fc = new Linear(width, hidden, {
      ...where,
      ...(std && { std: std.hidden }),
    });
    this.c_proj = new Linear(hidden, width, {
      ...where,
      ...(std && { std: std.projection }),
    });
  }

  forward(x: Tensor): Tensor {
    const hidden = this.c_fc.forward(x);
    return this.c_proj.forward(this.quick ? hidden.quickGelu() : hidden.gelu());
  }
}

/** One pre-norm transformer block: x + attn(ln_1(x)), then x + mlp(ln_2(x)); with dropout on what is added. */
export class ResidualAttentionBlock extends Module {
  readonly attn: MultiheadAttention;
  readonly ln_1: LayerNorm;
  readonly mlp: Mlp;
  readonly ln_2: LayerNorm;
  readonly dropout: Dropout | null;

  constructor(
    width: number,
    heads: number,
    { causal = false, quick = true, std, dropout = 0, ...placement }: BlockOptions = {},
  ) {
    super();
    const where = init.place(placement);
    this.attn = new MultiheadAttention(width, heads, { causal, ...(std && { std }), ...where });
    this.ln_1 = new LayerNorm(width, where);
    this.mlp = new Mlp(width, where, quick, std);
    this.ln_2 = new LayerNorm(width, where);
    this.dropout = dropout === 0 ? null : new Dropout(dropout);
  }

  /** Tokens, [batch, length, width], in their shape. @param mask which tokens see which, as in MultiheadAttention */
  forward(x: Tensor, { mask = null }: MaskOptions = {}): Tensor {
    const added = (part: Tensor) => this.dropout?.forward(part) ?? part;
    const attended = x.add(added(this.attn.forward(this.ln_1.forward(x), { mask })));
    return attended.add(added(this.mlp.forward(this.ln_2.forward(attended))));
  }
}

export interface TransformerOptions extends init.Placement {
  width: number;
  layers: number;
  heads: number;
  /** Token i sees tokens 0…i only. Default false. */
  causal?: boolean;
  /** QuickGELU or exact GELU. Default true: QuickGELU. */
  quick?: boolean;
  /** Initial standard deviations of all blocks. Default: PyTorch's initialisation. */
  std?: BlockStd;
  /** Probability that an element of what a block adds is left out in training. Default 0. */
  dropout?: number;
}

/** A stack of residual attention blocks over [batch, tokens, width]. */
export class Transformer extends Module {
  readonly resblocks: ResidualAttentionBlock[];
  /** Compute every block again in backward instead of keeping what is inside it. Default false. */
  gradCheckpointing = false;

  constructor({
    width,
    layers,
    heads,
    causal = false,
    quick = true,
    std,
    dropout = 0,
    ...placement
  }: TransformerOptions) {
    super();
    checkSizes('Transformer', { width, layers, heads });
    const where = init.place(placement);
    this.resblocks = Array.from(
      { length: layers },
      () => new ResidualAttentionBlock(width, heads, { causal, quick, dropout, ...(std && { std }), ...where }),
    );
  }

  /** Tokens, [batch, length, width], through all blocks; `options.mask` as in MultiheadAttention. */
  forward(x: Tensor, options: MaskOptions = {}): Tensor {
    const run = (block: ResidualAttentionBlock, y: Tensor) =>
      this.gradCheckpointing ? recompute((t) => block.forward(t, options), y) : block.forward(y, options);
    return this.resblocks.reduce((y, block) => run(block, y), x);
  }
}
