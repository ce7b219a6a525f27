/** From pictures to an index: only those are embedded whose vectors are not known yet. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { noGrad } from '../autograd/graph.js';
import { checkBadShare } from '../data/loader.js';
import { type DataRequest, openData } from '../data/open.js';
import type { Order, Source } from '../data/source.js';
import { stampOf } from '../data/stamp.js';
import { Group } from '../distributed/group.js';
import { DataError } from '../tensor/errors.js';
import { type EmbedOptions, pictureEncoder, shownAs } from '../train/embed-source.js';
import { withProgress } from '../train/progress.js';
import type { ReadyModel } from './model.js';
import type { IndexedPicture, PictureIndex } from './picture-index.js';

export interface Embedding {
  /** An earlier index: pictures that have not changed keep their vectors, when the same weights made them. */
  known?: PictureIndex | undefined;
  /** Keeps what there is so far; called now and then, and at the end. */
  save?(index: PictureIndex): Promise<void>;
  /** Ends the work; what is done is saved. */
  signal?: AbortSignal;
}

export interface Embedded {
  index: PictureIndex;
  /** Pictures that were embedded now; the others kept their vectors. */
  fresh: number;
}

/** Saving takes a twentieth of the time at most, and is not done more often than every ten seconds. */
const leastPause = 10_000;
const pausePerSave = 20;

const placeOf = ({ file, name }: IndexedPicture) => file ?? name;
const keyOf = ({ file = '', stamp }: Pick<IndexedPicture, 'file' | 'stamp'>) => `${stamp} ${file}`;

/** SHA-256 of a file of weights. */
export async function digestOfWeights({ path }: ReadyModel): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Whether vectors of the one may stand beside those of the other. */
export const comparable = (a: PictureIndex, b: Pick<PictureIndex, 'weights' | 'shown'>): boolean =>
  a.weights === b.weights && JSON.stringify(a.shown) === JSON.stringify(b.shown);

/**
 * Embeds the pictures that `request` names.
 * @throws DataError when none can be read, or, after all are embedded and saved, when too many cannot
 */
export async function embedPictures(
  request: DataRequest,
  options: EmbedOptions,
  ready: ReadyModel,
  { known, save = async () => {}, signal }: Embedding = {},
): Promise<Embedded> {
  const shown = shownAs(ready.model.config, options);
  const { ranks: group = new Group() } = options;
  const { source, spec } = await openData(request, shown);
  const weights = await digestOfWeights(ready);
  const dim = ready.model.config.embed_dim;
  const usable = known && comparable(known, { weights, shown }) ? known : undefined;
  const places = new Map(usable?.pictures.map((picture, at) => [keyOf(picture), at]));
  const vectorAt = (at: number) => usable!.vectors.subarray(at * dim, (at + 1) * dim);
  const found: { picture: IndexedPicture; vector: Float32Array }[] = [];
  const pending = new Map<number, Omit<IndexedPicture, 'name' | 'row'>>();
  let rows = 0;

  /** The rows whose vectors are not known; those of the others are taken over. */
  const unknown: Source = {
    ...source,
    async *rows(order: Order) {
      for await (const row of source.rows(order)) {
        if (signal?.aborted && group.size === 1) return; // ranks stop together, between two batches
        rows++;
        const stamp = 'bad' in row ? null : await stampOf(row.image);
        if ('bad' in row || stamp === null) {
          yield row;
          continue;
        }
        const { name, index, image } = row;
        const seen = { stamp, ...('path' in image && { file: resolve(image.path) }) };
        const at = places.get(keyOf(seen));
        if (at === undefined) {
          pending.set(index, seen);
          yield row;
        } else {
          found.push({ picture: { name, row: index, ...seen }, vector: vectorAt(at) });
        }
      }
    },
  };

  const share = options.maxBadShare ?? 0.1;
  const { loader, encode } = pictureEncoder(ready.model, unknown, {
    ...{ ...options, mayBeEmpty: true, maxBadShare: usable ? 1 : share }, // of all rows, not only of these: judged below
  });
  const snapshot = (complete: boolean): PictureIndex => {
    const all = [...found].sort((a, b) => a.picture.row - b.picture.row);
    const seen = new Set(found.map(({ picture }) => placeOf(picture)));
    if (!complete && usable?.data.path === spec.path)
      usable.pictures.forEach((picture, at) => {
        if (!seen.has(placeOf(picture))) all.push({ picture, vector: vectorAt(at) }); // not come to yet
      });
    const vectors = new Float32Array(all.length * dim);
    all.forEach(({ vector }, i) => {
      vectors.set(vector, i * dim);
    });
    return {
      ...{ vectors, dim, pictures: all.map(({ picture }) => picture) },
      broken: [...loader.badRows].map(([name, why]) => ({ name, why })),
      ...{ checkpoint: resolve(ready.path), weights, shown, data: spec, complete },
    };
  };

  let fresh = 0;
  let stopped = false;
  let due = performance.now() + leastPause;
  try {
    await withProgress('Embedding pictures', source.size, async ({ update }) => {
      for await (const batch of loader.batches({ epoch: 0 })) {
        const { features, rows: embedded } = encode(batch);
        const vectors = await noGrad(() => features.l2Normalize()).data();
        features.dispose();
        embedded.forEach(({ index: row, name }, i) => {
          const vector = Float32Array.from(vectors.subarray(i * dim, (i + 1) * dim));
          found.push({ picture: { name, row, ...pending.get(row)! }, vector });
          pending.delete(row);
        });
        fresh += embedded.length;
        update(found.length + loader.badRows.size);
        stopped = group.any(signal?.aborted ?? false);
        if (stopped) return;
        const start = performance.now();
        if (start < due || group.rank > 0) continue;
        await save(snapshot(false));
        due = performance.now() + Math.max(leastPause, pausePerSave * (performance.now() - start));
      }
      update(rows);
    });
  } finally {
    await loader.close();
  }
  const index = snapshot(!(stopped || group.any(signal?.aborted ?? false)));
  if (index.pictures.length > 0 && group.rank === 0) await save(index);
  if (index.complete) checkBadShare(source.name, { row: rows, bad: loader.badRows.size }, share, loader.badRows);
  if (index.pictures.length === 0 && index.complete)
    throw new DataError('embed', { received: `${source.name}: no picture that can be read`, expected: 'at least one' });
  return { index, fresh };
}
