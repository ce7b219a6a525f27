/** Data sets as they are named on a command line. */
import { stat } from 'node:fs/promises';
import { DataError } from '../tensor/errors.js';
import { folderSource, imagesSource } from './folder.js';
import { type LabelledName, labelledNames, labelledSet } from './labelled.js';
import { Loader, type LoaderOptions } from './loader.js';
import type { Source } from './source.js';
import { type TableOptions, tableSource } from './table.js';
import { type WebDatasetOptions, webDatasetSource } from './webdataset.js';

export interface OpenOptions {
  table?: TableOptions;
  shards?: WebDatasetOptions;
  /** Whether subfolders are classes. Default false: a folder is a heap of pictures. */
  classes?: boolean;
  /** Part of an idx set. */
  split?: 't10k' | 'train';
}

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/**
 * Opens what a path or name stands for: the name of a labelled set (`mnist`, `fashion-mnist`, `openclipart`), a folder of
 * pictures, tar shards (`shard-{000..127}.tar`), or a table (`pairs.tsv`; of `.csv` files the separator is a comma unless
 * another is given).
 * @throws DataError when nothing of the kind is there or it cannot be read
 */
export async function openSource(path: string, options: OpenOptions = {}): Promise<Source> {
  if (await isFolder(path)) return options.classes ? folderSource(path) : imagesSource(path);
  const labelled = labelledNames.find((name): name is LabelledName => name === path);
  if (labelled) return labelledSet(labelled, options.split ? { split: options.split } : {});
  if (/\.(tar|tgz|tar\.gz)\}?$/i.test(path)) return webDatasetSource(path, options.shards);
  if (/\.(csv|tsv|txt)$/i.test(path))
    return tableSource(path, { ...(/\.csv$/i.test(path) && { separator: ',' }), ...options.table });
  throw new DataError('openSource', {
    received: `"${path}"`,
    expected: `a folder of pictures, shards (.tar), a table (.csv, .tsv), or one of ${labelledNames.join(', ')}`,
  });
}

/** The source's pairs as the training loop wants them: batches from a position on, and captions for a vocabulary. */
export function openPairs(source: Source, options: LoaderOptions) {
  const loader = new Loader(source, { ...options, train: true });
  return {
    name: source.name,
    size: source.size,
    batchesPerEpoch: loader.batchesPerEpoch,
    /** Captions of all usable rows, in the order of the source; no picture is decoded. */
    async *captions(): AsyncGenerator<string> {
      for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false }))
        if ('caption' in row && row.caption) yield row.caption;
    },
    /** @throws DataError for rows without captions, and as {@link Loader.epoch} does */
    async *batches(epoch: number, from = 0) {
      for await (const { count, images, captions, names, next } of loader.epoch(epoch, from)) {
        const wordless = captions.indexOf('');
        if (wordless >= 0)
          throw new DataError('openPairs', {
            received: `${names[wordless]} without words`,
            expected: 'pictures with captions to train on',
            hint: 'Labelled folders are for evaluation; list pictures with captions in a table.',
          });
        yield { count, images, captions, next: next.position };
      }
    },
    close: () => loader.close(),
  };
}
