/** Results as a table that a person can judge: beside chance, raw pixels and histograms of gradients. */
import Table from 'cli-table3';
import type { RankMetrics, RetrievalMetrics } from '../evaluate/metrics.js';
import { type EmojiResults, memoryBeta } from './evaluate.js';

const ks = [1, 5, 10] as const;
/** "12.3" of 0.1234. */
export const percent = (share: number) => (100 * share).toFixed(1);
const cells = (values: readonly string[]) => values.map((content) => ({ content, hAlign: 'right' as const }));
const recalls = (metrics: RankMetrics) => cells(ks.map((k) => percent(metrics.recall[k]!)));
/** Recall of a random order. */
const chance = (count: number) => ks.map((k) => percent(Math.min(1, k / count))).join(' / ');

/**
 * Recall at 1, 5 and 10, both ways, of every set: by both encoders, and by what the training pairs answer to their embeddings; by neighbours among the
 * training pictures, found with the image encoder, with raw pixels or with histograms of oriented gradients. By chance, beside the set's name.
 */
export function retrievalTable({ retrieval }: EmojiResults, label: string): string {
  const table = new Table({ style: { head: [], border: [] } });
  const spanning = (content: string, colSpan: number) => ({ content, colSpan, hAlign: 'center' as const });
  const three = (content: string) => spanning(content, 3);
  table.push(['', spanning(`${label}, picture and text`, 6), spanning('neighbours in training, by …', 9)]);
  table.push(['', three('embeddings'), three('memory'), three('embedding'), three('raw pixels'), three('HOG')]);
  table.push(['search, recall in %', ...cells([1, 2, 3, 4, 5].flatMap(() => ks.map((k) => `@${k}`)))]);
  let set = '';
  for (const { captions, count, trained, retrieved, neighbours, pixels, hog, ...result } of retrieval) {
    if (result.set !== set) {
      set = result.set;
      table.push([{ content: `${set}: ${count} ${result.title} (chance ${chance(count)})`, colSpan: 16 }]);
    }
    const word = captions === 'names' ? 'name' : 'keywords';
    for (const way of ['imageToText', 'textToImage'] as const)
      table.push([
        way === 'imageToText' ? `  picture → ${word}` : `  ${word} → picture`,
        ...[trained, retrieved, neighbours, pixels, hog].flatMap((metrics) => recalls(metrics[way])),
      ]);
  }
  return table.toString();
}

/** Retrieval on pairs, as {@link pairTable} shows it. */
export interface PairResults extends RetrievalMetrics {
  /** Rows, so that a picture or a caption may be in several. */
  pairs: number;
  chance: Record<'imageToText' | 'textToImage', Record<number, number>>;
}

/** Recall and median rank of one set of pairs, both ways. */
export function pairTable({ pairs, imageToText, textToImage, chance }: PairResults, label: string): string {
  const table = new Table({ style: { head: [], border: [] } });
  const three = (content: string) => ({ content, colSpan: 3, hAlign: 'center' as const });
  table.push([`${pairs} pairs`, three(`${label}, recall in %`), three('chance'), 'median rank']);
  table.push(['', ...cells([1, 2].flatMap(() => ks.map((k) => `@${k}`))), '']);
  const row = (title: string, metrics: RankMetrics, random: Record<number, number>) =>
    table.push([
      title,
      ...recalls(metrics),
      ...cells(ks.map((k) => percent(random[k]!))),
      { content: String(metrics.medianRank), hAlign: 'right' },
    ]);
  row('picture → caption', imageToText, chance.imageToText);
  row('caption → picture', textToImage, chance.textToImage);
  const [pictures, captions] = [imageToText.count, textToImage.count];
  if (pictures < pairs || captions < pairs) {
    const content = `${pictures} pictures, ${captions} captions: any caption of a picture is right, any picture of a caption`;
    table.push([{ content, colSpan: 8 }]);
  }
  return table.toString();
}

/** Both tables of the embedded data. */
export function emojiTables(results: EmojiResults, label: string): string {
  const memory = `memory: what all training pairs answer to pictures and texts is compared (Hopfield retrieval, β ${memoryBeta})`;
  return `${retrievalTable(results, label)}\n${memory}\n\n${zeroShotTable(results)}`;
}

/** Zero-shot accuracy of every set. */
export function zeroShotTable({ zeroShot }: EmojiResults): string {
  const table = new Table({
    head: ['zero-shot classification into names', 'classes', 'top-1 %', 'top-5 %', 'chance %'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'right', 'right'],
  });
  for (const { set, title, classes, accuracy } of zeroShot)
    table.push([
      `${set}: ${title}`,
      String(classes),
      percent(accuracy[1]!),
      percent(accuracy[5]!),
      percent(1 / classes),
    ]);
  return table.toString();
}

/** Top-1 and top-5 accuracy beside chance, in a line. */
export function accuracyLine(accuracy: Record<number, number>, chance: Record<number, number>): string {
  return [1, 5].map((k) => `top-${k} ${percent(accuracy[k]!)} % (chance ${percent(chance[k]!)} %)`).join(', ');
}
