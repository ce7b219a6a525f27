/** The sizes of a model, read off the shapes of its weights. */
import { CheckpointError } from '../../tensor/errors.js';
import type { BesideFacts } from './beside.js';
import { type CloobConfig, resolveConfig } from './config.js';

/** Width of one attention head in all official models; shapes do not tell it. */
const headWidth = 64;

/**
 * The configuration that a state dict's names and shapes belong to, as the official code infers it: heads are 64 wide,
 * and a residual net shrinks images by 32. Models that differ there (small ones) must state their configuration.
 *
 * @param shapes by official name (`visual.…`, `transformer.…`)
 * @param beside what a configuration beside the weights says
 * @throws CheckpointError when the names are not those of such a model, or heads of 64 do not fit its widths
 */
export function inferConfig(shapes: ReadonlyMap<string, readonly number[]>, beside: BesideFacts = {}): CloobConfig {
  const fail = (received: string): never => {
    throw new CheckpointError('loadCheckpoint', {
      received,
      expected: 'the weights of a CLIP or CLOOB model of official proportions',
      hint: 'Pass a model of the right sizes: loadCheckpoint(path, { model: createModel(config) }).',
    });
  };
  const size = (name: string, axis: number): number =>
    shapes.get(name)?.[axis] ?? fail(`no weight ${name} with ${axis + 1} axes`);
  const children = (prefix: string) =>
    new Set(
      [...shapes.keys()]
        .filter((name) => name.startsWith(prefix))
        .map((name) => name.slice(prefix.length).split('.')[0]),
    ).size;
  const heads = (width: number, what: string) =>
    width % headWidth === 0 ? width / headWidth : fail(`${what} of ${width}, no multiple of ${headWidth}`);

  const textWidth = size('transformer.ln_final.weight', 0);
  return resolveConfig({
    embed_dim: size('transformer.text_projection', 1),
    ...(shapes.has('visual.proj') ? visionTransformer() : residualNet()),
    context_length: size('transformer.positional_embedding', 0),
    vocab_size: size('transformer.token_embedding.weight', 0),
    transformer_width: textWidth,
    transformer_layers: children('transformer.transformer.resblocks.'),
    ...beside,
    transformer_heads: beside.transformer_heads ?? heads(textWidth, 'a text width'),
  });

  function side(name: string): number {
    const positions = size(name, 0) - 1; // one belongs to the class token or the mean
    const root = Math.round(Math.sqrt(positions));
    return root * root === positions && root > 0 ? root : fail(`${positions} positions in ${name}, no square`);
  }

  function visionTransformer() {
    const width = size('visual.conv1.weight', 0);
    const patch = size('visual.conv1.weight', 3);
    if (!beside.vision_heads) heads(width, 'a vision width');
    return {
      image_resolution: patch * side('visual.positional_embedding'),
      vision_layers: children('visual.transformer.resblocks.'),
      vision_width: width,
      vision_patch_size: patch,
    };
  }

  function residualNet() {
    const stage = (index: number) => children(`visual.layer${index}.`);
    return {
      image_resolution: 32 * side('visual.attnpool.positional_embedding'),
      vision_layers: [stage(1), stage(2), stage(3), stage(4)] as const,
      vision_width: size('visual.layer1.0.conv1.weight', 0),
      vision_patch_size: null,
    };
  }
}
