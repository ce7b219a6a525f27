/** The encoders in groups, counted from their ends: what `--unlock-last` and `--layer-decay` go by. */
import { HeadsModel } from '../models/cloob/heads.js';
import { CloobModel } from '../models/cloob/model.js';
import { ModifiedResNet } from '../models/cloob/resnet.js';
import type { VisualTransformer } from '../models/cloob/transformers.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';
import { Module, type Parameter } from '../nn/module.js';
import type { Transformer } from '../nn/transformer.js';
import { UsageError } from '../tensor/errors.js';
import type { TrainOptions } from './options.js';

/** Modules and parameters that are trained, or not, together. */
export type TowerGroup = readonly (Module | Parameter)[];

/**
 * A tower's groups, the last first, as open_clip has them:
 *
 * | tower              | groups                                                                                |
 * |--------------------|---------------------------------------------------------------------------------------|
 * | residual network   | attention pooling; stages 4, 3, 2, 1; the stem                                        |
 * | vision transformer | projection; last block and final norm; the blocks before, one by one; the embeddings  |
 * | text transformer   | the same                                                                              |
 */
export function towerGroups(model: TwoTowers, tower: 'image' | 'text'): TowerGroup[] {
  if (model instanceof HeadsModel) return [[tower === 'text' ? model.text_head : model.image_head]];
  if (!(model instanceof CloobModel)) return [];
  if (tower === 'text') {
    const { text_projection, ln_final, transformer, token_embedding, positional_embedding } = model.transformer;
    return ofTransformer(text_projection, ln_final, transformer, [token_embedding, positional_embedding]);
  }
  const { visual } = model;
  if (visual instanceof ModifiedResNet) {
    const { attnpool, layer1, layer2, layer3, layer4, conv1, bn1, conv2, bn2, conv3, bn3 } = visual;
    return [[attnpool], layer4, layer3, layer2, layer1, [conv1, bn1, conv2, bn2, conv3, bn3]];
  }
  const { proj, ln_post, transformer, conv1, class_embedding, positional_embedding, ln_pre } =
    visual as VisualTransformer;
  return ofTransformer(proj, ln_post, transformer, [conv1, class_embedding, positional_embedding, ln_pre]);
}

function ofTransformer(
  projection: Parameter,
  norm: Module,
  { resblocks }: Transformer,
  embeddings: TowerGroup,
): TowerGroup[] {
  const [last, ...before] = [...resblocks].reverse();
  return [[projection], [...(last ? [last] : []), norm], ...before.map((block) => [block]), embeddings];
}

const parametersOf = (group: TowerGroup): Parameter[] =>
  group.flatMap((member) => (member instanceof Module ? member.parameters() : [member]));

/**
 * Freezes the towers that are locked, but for their last groups (Zhai et al. 2022, "LiT", arXiv 2111.07991).
 * @returns the modules that are frozen, which stay in evaluation mode: running statistics are frozen with the weights
 * @throws UsageError for more groups than a tower has
 */
export function lockTowers(
  model: TwoTowers,
  { lockImage, lockText, unlockLast }: Pick<TrainOptions, 'lockImage' | 'lockText' | 'unlockLast'>,
): Module[] {
  const locked = [...(lockImage ? (['image'] as const) : []), ...(lockText ? (['text'] as const) : [])];
  return locked.flatMap((tower) => {
    const groups = towerGroups(model, tower);
    if (unlockLast > groups.length)
      throw new UsageError('train', {
        received: `--unlock-last ${unlockLast} of the ${tower} tower, which has ${groups.length} groups`,
        expected: `at most ${groups.length}`,
      });
    const frozen = groups.slice(unlockLast);
    for (const parameter of frozen.flatMap(parametersOf)) parameter.requiresGrad = false;
    return frozen.flatMap((group) => group.filter((member) => member instanceof Module));
  });
}

/** Parameters with a factor on the learning rate. */
export interface ScaledGroup {
  parameters: Parameter[];
  lrScale: number;
}

/**
 * Layer-wise decay of the learning rate: what is k groups from the end of its tower has the rate η dᵏ; what belongs to no
 * tower has η. Only what is trained is there.
 * @source Clark et al. 2020, "ELECTRA", arXiv 2003.10555, appendix A; Bao et al. 2021, "BEiT", arXiv 2106.08254
 */
export function scaledGroups(model: TwoTowers, all: readonly Parameter[], decay: number): ScaledGroup[] {
  const scales = new Map<Parameter, number>();
  for (const tower of ['image', 'text'] as const)
    for (const [k, group] of towerGroups(model, tower).entries())
      for (const parameter of parametersOf(group)) scales.set(parameter, decay ** k);
  const groups = new Map<number, Parameter[]>();
  for (const parameter of all) {
    const scale = scales.get(parameter) ?? 1;
    groups.set(scale, [...(groups.get(scale) ?? []), parameter]);
  }
  return [...groups].map(([lrScale, parameters]) => ({ parameters, lrScale }));
}
