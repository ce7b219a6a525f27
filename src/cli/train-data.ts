/** The flags of `hopgrad train` that say what it is trained and evaluated on, and the data that they stand for. */
import type { Command } from 'commander';
import { type Columns, type DataRequest, isDrawn, isShards } from '../data/open.js';
import { type CloobConfig, preprocessing } from '../models/cloob/config.js';
import { UsageError } from '../tensor/errors.js';
import { type Corpus, type CorpusRequest, type CorpusSpec, openCorpus } from '../train/corpus.js';
import { openEmbeddingCorpus } from '../train/embedding-corpus.js';
import { flagOf, type RunSettings } from '../train/options.js';
import { say } from '../train/progress.js';
import { addColumnFlags, columnFlags, dataRequest, type TableFlags } from './data.js';
import { parseCount, parseNumber } from './parse.js';
import { ownWorkers, ranks } from './ranks.js';
import type { TrainFlags } from './train-flags.js';

export interface DataFlags extends Omit<TableFlags, 'maxBadShare'> {
  trainData?: string;
  valData?: string;
  zeroShotData?: string;
  imageEmbeddings?: string;
  textEmbeddings?: string;
  valImageEmbeddings?: string;
  valTextEmbeddings?: string;
  trainDataUpsamplingFactors?: number[];
  trainNumSamples?: number;
  validation?: boolean;
}

/** The flags about data. */
export function addDataFlags(command: Command): void {
  command
    .optionsGroup('Data:')
    .option(
      '--train-data <path>',
      'captioned pictures: a table (.tsv, .csv), .jsonl, COCO’s .json, shards (.tar), or icons (default: the embedded emoji)',
    )
    .option('--val-data <path>', 'the same, to evaluate on')
    .option(
      '--zero-shot-data <path>',
      'folder with a subfolder a class, or mnist, fashion-mnist, openclipart: classified by names in every validation',
    )
    .option(
      '--image-embeddings <file>',
      'instead of pictures their embeddings, a row each (.npy, .safetensors): heads on them are trained',
    )
    .option('--text-embeddings <file>', 'those of their texts, row by row')
    .option('--val-image-embeddings <file>', 'the same, to evaluate on')
    .option('--val-text-embeddings <file>', 'and their texts')
    .option(
      '--train-data-upsampling-factors <n::m>',
      'of several, joined by ::, how often an epoch has their pairs (default: 1 each)',
      (text) => text.split('::').map(parseNumber),
    )
    .option('--train-num-samples <n>', 'pairs in the shards, when not given by --steps', parseCount)
    .option(
      '--validation',
      'of the emoji or icons, a split inside the training data instead of the test sets: tune with this',
    );
  addColumnFlags(command);
}

/** What kind of data flags name. */
export const kindOfData = ({ trainData, imageEmbeddings, textEmbeddings }: DataFlags) => ({
  ownData: trainData !== undefined && !trainData.split('::').every(isDrawn),
  embeddings: imageEmbeddings !== undefined || textEmbeddings !== undefined,
});

/** The data that flags ask for. @param limit rows of each set; undefined: all @throws UsageError for flags that do not fit together */
export function requestOf(flags: DataFlags, limit?: number): CorpusRequest {
  const { trainData, valData, zeroShotData, validation, trainNumSamples: samples } = flags;
  const { trainDataUpsamplingFactors: factors } = flags;
  const limited = (request: DataRequest): DataRequest => (limit === undefined ? request : { ...request, limit });
  if (kindOfData(flags).embeddings) {
    const { train, val } = embeddingsOf(flags);
    return { train: limited(train), val: val && limited(val) };
  }
  if (flags.valImageEmbeddings !== undefined || flags.valTextEmbeddings !== undefined)
    throw new UsageError('train', {
      received: 'embeddings to evaluate on, and none to train on',
      expected: '--image-embeddings and --text-embeddings with them',
    });
  if (trainData === undefined && valData !== undefined)
    throw new UsageError('train', { received: '--val-data without --train-data', expected: 'both, or none' });
  if (zeroShotData !== undefined && valData === undefined)
    throw new UsageError('train', { received: '--zero-shot-data without --val-data', expected: 'both, or none' });
  const drawnToJudge = valData !== undefined && isDrawn(valData);
  if (zeroShotData !== undefined && drawnToJudge)
    throw new UsageError('train', {
      received: `--zero-shot-data with --val-data ${valData}`,
      expected: 'one of them: the pictures of these sets are classified by their own names',
    });
  const drawn = trainData === undefined || isDrawn(trainData);
  if (validation && !drawn && !drawnToJudge)
    throw new UsageError('train', {
      received: '--validation with --train-data',
      expected: '--val-data, pairs of your own to choose by: the split is that of the embedded emoji, and of icons',
    });
  if (samples !== undefined && !trainData?.split('::').some(isShards))
    throw new UsageError('train', {
      received: `--train-num-samples for ${trainData ?? 'the embedded emoji'}`,
      expected: 'shards (.tar): of other data the number is known',
    });
  const train = {
    ...dataRequest(trainData ?? 'emoji', flags, valData === undefined ? [] : [valData]),
    ...(validation && drawn && { validation }),
    ...(samples !== undefined && { samples }),
    ...(factors && { factors }),
  };
  const val = valData === undefined ? null : dataRequest(valData, flags, [trainData!]);
  return {
    train: limited(train),
    val: val && limited({ ...val, ...(validation && drawnToJudge && { validation }) }),
    zeroShot: zeroShotData === undefined ? null : limited(dataRequest(zeroShotData)),
  };
}

/** Embeddings from elsewhere, both sides of each. @throws UsageError for one side alone, and for pictures beside them */
function embeddingsOf(flags: DataFlags): { train: DataRequest; val: DataRequest | null } {
  const { imageEmbeddings, textEmbeddings, valImageEmbeddings, valTextEmbeddings } = flags;
  const both = (path: string | undefined, texts: string | undefined, prefix: string): DataRequest => {
    if (path !== undefined && texts !== undefined) return { path, texts };
    const [given, other] = path === undefined ? ['text', 'image'] : ['image', 'text'];
    throw new UsageError('train', {
      received: `--${prefix}${given}-embeddings alone`,
      expected: `--${prefix}${other}-embeddings with it: row i of both are a pair`,
    });
  };
  const others = [
    'trainData',
    'valData',
    'zeroShotData',
    'validation',
    'trainNumSamples',
    'trainDataUpsamplingFactors',
  ];
  const beside = [...others, ...columnFlags()].filter((name) => (flags as Record<string, unknown>)[name] !== undefined);
  if (beside.length > 0)
    throw new UsageError('train', {
      received: `${beside.map(flagOf).join(', ')} beside embeddings`,
      expected: 'pictures or embeddings; to evaluate on: --val-image-embeddings and --val-text-embeddings',
    });
  const held = valImageEmbeddings !== undefined || valTextEmbeddings !== undefined;
  return {
    train: both(imageEmbeddings, textEmbeddings, ''),
    val: held ? both(valImageEmbeddings, valTextEmbeddings, 'val-') : null,
  };
}

/** The data of a run that goes on, some of which may be elsewhere now; those to evaluate on may be others. */
export function movedRequest(flags: DataFlags, { train, val, zeroShot = null }: CorpusSpec): CorpusRequest {
  if (train.texts !== undefined) {
    const { imageEmbeddings: path = train.path, textEmbeddings: texts = train.texts } = flags;
    const { valImageEmbeddings = val?.path, valTextEmbeddings = val?.texts } = flags;
    const { val: held } = embeddingsOf({
      ...{ ...flags, imageEmbeddings: path, textEmbeddings: texts },
      ...(valImageEmbeddings !== undefined && { valImageEmbeddings }),
      ...(valTextEmbeddings !== undefined && { valTextEmbeddings }),
    });
    const known = val && flags.valImageEmbeddings === undefined && flags.valTextEmbeddings === undefined;
    return { train: { ...train, path, texts }, val: known ? val : held };
  }
  const { trainData = train.path, valData = val?.path, zeroShotData } = flags;
  const moved = (path: string, others: string[], columns: Columns | undefined) => {
    const { columns: folder } = dataRequest(path, { imgFolder: flags.imgFolder }, others);
    return { path, ...((columns || folder) && { columns: { ...columns, ...folder } }) };
  };
  const known = val && flags.valData === undefined ? val : {}; // with its digest: what is not named anew must be the same
  return {
    train: { ...train, ...moved(trainData, valData === undefined ? [] : [valData], train.columns) },
    val: valData === undefined ? null : { ...known, ...moved(valData, [trainData], (val ?? train).columns) },
    zeroShot: zeroShotData === undefined ? zeroShot : dataRequest(zeroShotData),
  };
}

/** Opens the data of a run, on the ranks of this command. @param config of the encoders; null: heads, which see embeddings */
export function openRun(request: CorpusRequest, config: CloobConfig | null, settings: RunSettings): Promise<Corpus> {
  const group = ranks();
  if (config === null) return openEmbeddingCorpus(request, { log: say, ranks: group });
  const { workers = null, maxBadShare, cache: cacheFolder } = settings;
  const threads = workers ?? ownWorkers();
  // The first draws what is missing in the cache.
  return group.firstThenOthers(() =>
    openCorpus(request, {
      ...{ preprocessing: preprocessing(config), cacheFolder, log: say, maxBadShare, ranks: group },
      ...(threads !== undefined && { workers: threads }),
    }),
  );
}

/** @throws UsageError when a flag about validation can have no effect */
export function refuseUnusedValidation(
  flags: Pick<TrainFlags, 'valFrequency' | 'bestMetric' | 'patience'>,
  { validation }: Corpus,
): void {
  const given = (['valFrequency', 'bestMetric', 'patience'] as const).filter((key) => flags[key]);
  if (given.length > 0 && !validation)
    throw new UsageError('train', {
      received: `${given.map(flagOf).join(', ')} without data to validate on`,
      expected:
        '--val-data (of embeddings --val-image-embeddings and --val-text-embeddings), or --validation for the emoji, whose test sets are not for choosing',
    });
  if (flags.bestMetric === 'zero-shot' && !validation!.hasClasses)
    throw new UsageError('train', {
      received: '--best-metric zero-shot, and no pictures with classes',
      expected: '--zero-shot-data, or another metric',
    });
}
