/**
 * One training over several processes or threads, exactly that of one.
 * @module hopgrad/distributed
 */
export { Group, type GroupOptions } from './group.js';
export { type JoinOptions, joinGroup } from './join.js';
export {
  clipLossOf,
  cloobLossOf,
  type GlobalPairs,
  type GlobalSimilarities,
  globalPairs,
  globalSimilarities,
  type Pairs,
} from './losses.js';
export { DistributedError, type Transport } from './transport.js';
export { isRank, type StartOptions, startRanks } from './workers.js';
