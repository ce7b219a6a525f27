// What pages train on: drawings of everyday things with their names, straight from the embedded data set.
import { loadConcepts, loadDrawings, trainingStyles } from '../dist/data/emoji.js';

/** `count` things that every training style draws, spread evenly over the concepts: { styles, things: [{ name, svgs }] }. */
export async function drawings(count) {
  const concepts = loadConcepts();
  const bySymbol = trainingStyles.map((style) => loadDrawings(style, concepts));
  const chosen = concepts
    .map((_, i) => i)
    .filter((i) => bySymbol.every((list) => list.some(({ concept }) => concept === i)));
  const step = Math.max(1, Math.floor(chosen.length / count));
  const things = chosen
    .filter((_, i) => i % step === 0)
    .slice(0, count)
    .map((i) => ({
      name: concepts[i].name,
      svgs: bySymbol.map((list) => list.find(({ concept }) => concept === i).svg),
    }));
  return { styles: trainingStyles, things };
}
