/** Results as a table that a person can judge: beside chance and beside raw pixels. */
import Table from 'cli-table3';
import type { RankMetrics, RetrievalMetrics } from '../evaluate/metrics.js';
import type { EmojiResults } from './evaluate.js';

const ks = [1, 5, 10] as const;
const percent = (share: number) => (100 * share).toFixed(1);
const cells = (values: readonly string[]) => values.map((content) => ({ content, hAlign: 'right' as const }));
const recalls = (metrics: RankMetrics) => cells(ks.map((k) => percent(metrics.recall[k]!)));
/** Recall of a random order. */
const chance = (count: number) => cells(ks.map((k) => percent(Math.min(1, k / count))));

/**
 * Recall at 1, 5 and 10, both ways, of every set: by both encoders; by neighbours among the training pictures, found with
 * the image encoder or with raw pixels; by chance.
 */
export function retrievalTable({ retrieval }: EmojiResults, label: string): string {
  const table = new Table({ style: { head: [], border: [] } });
  const three = (content: string) => ({ content, colSpan: 3, hAlign: 'center' as const });
  table.push(['', three(label), { content: 'neighbours in training, by …', colSpan: 6, hAlign: 'center' }, three('')]);
  table.push(['', three('picture and text'), three('embedding'), three('raw pixels'), three('chance')]);
  table.push(['search, recall in %', ...cells([1, 2, 3, 4].flatMap(() => ks.map((k) => `@${k}`)))]);
  let set = '';
  for (const { captions, count, trained, neighbours, pixels, ...result } of retrieval) {
    if (result.set !== set) {
      set = result.set;
      table.push([{ content: `${set}: ${count} ${result.title}`, colSpan: 13 }]);
    }
    const word = captions === 'names' ? 'name' : 'keywords';
    for (const way of ['imageToText', 'textToImage'] as const)
      table.push([
        way === 'imageToText' ? `  picture → ${word}` : `  ${word} → picture`,
        ...recalls(trained[way]),
        ...recalls(neighbours[way]),
        ...recalls(pixels[way]),
        ...chance(count),
      ]);
  }
  return table.toString();
}

/** Recall and median rank of one set of pairs, both ways. */
export function pairTable({ imageToText, textToImage }: RetrievalMetrics, label: string): string {
  const table = new Table({ style: { head: [], border: [] } });
  const { count } = imageToText;
  const three = (content: string) => ({ content, colSpan: 3, hAlign: 'center' as const });
  table.push([`${count} pairs`, three(`${label}, recall in %`), three('chance'), 'median rank']);
  table.push(['', ...cells([1, 2].flatMap(() => ks.map((k) => `@${k}`))), '']);
  const rank = (metrics: RankMetrics) => ({ content: String(metrics.medianRank), hAlign: 'right' as const });
  table.push(['picture → caption', ...recalls(imageToText), ...chance(count), rank(imageToText)]);
  table.push(['caption → picture', ...recalls(textToImage), ...chance(count), rank(textToImage)]);
  return table.toString();
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
