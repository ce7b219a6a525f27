/** What looking at neighbours reaches, on pictures small enough to see. */
import assert from 'node:assert/strict';
import {
  captionScores,
  neighbourCaptionScores,
  neighbourScores,
  pixelFeatures,
  ranksBothWays,
} from '#src/evaluate/neighbours.js';

// Pictures of two columns: two kinds of contrast, each twice, then four of even brightness.
const [dark, light] = [0, 255];
const pictures = [[dark, light], [light, dark], [10, 240], [250, 20], ...[1, 2, 3, 4].map(() => [128, 128])].map(
  ([left, right]) => [left!, right!, left!, right!],
);
const features = (rows: number[]) =>
  pixelFeatures(
    rows.flatMap((row) => pictures[row]!),
    rows.length,
  );

describe('neighbours', () => {
  it('find the nearest known picture of each concept', async () => {
    const search = (concepts: number[]) =>
      neighbourScores({ features: features([0, 1]), about: [0, 1] }, { features: features([2, 3]), about: concepts });
    assert.deepEqual([...ranksBothWays(await search([0, 1])).forward], [0, 0]);
    assert.deepEqual([...ranksBothWays(await search([0, 1])).backward], [0, 0]);
    assert.deepEqual([...ranksBothWays(await search([1, 0])).forward], [1, 1]);
  });

  it('find captions by the words of neighbours', async () => {
    const known = {
      features: features([0, 1, 4, 5, 6, 7]),
      about: ['apple fruit', 'car road', 'moon', 'shoe', 'door', 'tree'],
    };
    const search = (...about: string[]) => neighbourCaptionScores(known, { features: features([2, 3]), about });
    assert.deepEqual([...ranksBothWays(await search('some fruit', 'the road')).forward], [0, 0]);
    assert.deepEqual([...ranksBothWays(await search('the road', 'some fruit')).forward], [1, 1]);
  });

  it('score any number of captions, whose words count the more the fewer know them', async () => {
    const known = {
      features: features([0, 1, 4, 5, 6, 7]),
      about: ['apple fruit', 'car road', 'fruit', 'fruit', 'fruit', 'tree'],
    };
    const scores = await captionScores(known, features([2, 3]), ['apple', 'fruit', 'the car']);
    assert.equal(scores.length, 6);
    assert.ok(scores[0]! > scores[1]! && scores[1]! > scores[2]!, `${scores.slice(0, 3)}`);
    assert.ok(scores[5]! > scores[3]! && scores[5]! > scores[4]!, `${scores.slice(3)}`);
  });

  it('count ties against the method', () => {
    const flat = { n: 3, data: new Float64Array(9) };
    assert.deepEqual([...ranksBothWays(flat).forward], [2, 2, 2]);
    assert.deepEqual([...ranksBothWays(flat).backward], [2, 2, 2]);
  });
});
