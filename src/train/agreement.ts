/** Ranks keep the same weights without sending them: whether they do, and what is let differ on purpose. */
import { createHash } from 'node:crypto';
import type { Tensor } from '../autograd/tensor.js';
import type { Group } from '../distributed/group.js';
import { DistributedError } from '../distributed/transport.js';
import { assign, type Module } from '../nn/module.js';
import { BatchNorm } from '../nn/norms.js';
import { bytesOf } from '../tensor/bytes.js';
import type { Learner } from './learner.js';
import type { Trainer } from './trainer.js';

/**
 * Puts the mean over ranks in the place of every rank's running statistics of batch norm. A running statistic is linear in what it
 * has seen, so it does not matter when, or how often, this is done.
 */
export function averageStatistics(group: Group, model: Module): void {
  if (group.size === 1) return;
  const norms = [...model.namedModules()].flatMap(([, module]) => (module instanceof BatchNorm ? [module] : []));
  const buffers = norms.flatMap(({ running_mean, running_var }) => [running_mean, running_var]);
  if (buffers.length === 0) return;
  const sums = group.allReduce(buffers);
  for (const [i, buffer] of buffers.entries()) assign(buffer, sums[i]!.div(group.size));
}

const digest = (bytes: Uint8Array | string) => createHash('sha1').update(bytes).digest('hex');

/**
 * Compares hashes of all that the ranks have trained so far: weights, running statistics, averages, moments' number of updates.
 * @throws DistributedError naming the ranks that differ from rank 0, the step, and the first tensor in which they do
 */
export function checkAgreement({ group, model, objective, ema, position }: Trainer<Learner>): void {
  if (group.size === 1) return;
  const tensors: [string, Tensor][] = [
    ...Object.entries(model.stateDict()),
    ...Object.entries(objective.stateDict()).map(([name, value]): [string, Tensor] => [`objective.${name}`, value]),
    ...Object.entries(ema?.state().averages ?? {}).map(([name, value]): [string, Tensor] => [`average.${name}`, value]),
  ];
  const own = tensors.map(([, value]) => digest(bytesOf(value.dataSync())));
  const totals = group.gatherJson(digest(own.join()));
  const others = totals.flatMap((total, r) => (total === totals[0] ? [] : [r]));
  if (others.length === 0) return;
  const all = group.gatherJson(own);
  const first = tensors.findIndex((_, i) => others.some((r) => all[r]![i] !== all[0]![i]));
  throw new DistributedError('train', {
    received: `weights of rank ${others.join(', rank ')} that are not those of rank 0 after step ${position.step}, in ${tensors[first]![0]}`,
    expected: 'the same bits on all ranks',
    hint: 'Ranks need the same hopgrad, Node and kind of processor. Checkpoints before this step are good: --resume.',
  });
}
