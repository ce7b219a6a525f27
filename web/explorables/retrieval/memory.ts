/** What a memory of patterns on a circle answers to a query in the plane: all of it computed by hopgrad. */
import { scoped, tensor } from 'hopgrad';
import { hopfieldEnergy, hopfieldRetrieve } from 'hopgrad/nn';
import type { Point } from '../kit/plane.js';

/** Angles of the patterns on the unit circle, degrees. */
export const worlds = {
  clusters: [15, 35, 55, 140, 165, 255, 285],
  even: [0, 60, 120, 180, 240, 300],
  pair: [70, 110, 260],
} as const;
export type World = keyof typeof worlds;

export const patternsOf = (world: World): Point[] =>
  worlds[world].map((degrees) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)]);

export interface Answer {
  /** Softmax of β times the dot products: the weight of each pattern at the query. */
  weights: number[];
  /** The query, and where each update took it. */
  path: Point[];
  /** Energy at each place of the path. */
  energies: number[];
  /** Where one more update would take it. */
  next: Point;
  /** exp of the entropy of the weights: how many patterns answer. */
  effective: number;
}

const pairs = (data: ArrayLike<number>): Point[] =>
  Array.from({ length: data.length / 2 }, (_, i): Point => [data[2 * i]!, data[2 * i + 1]!]);

/** The query after some updates, and what the memory thinks there. */
export function answer(query: Point, patterns: Point[], beta: number, updates: number): Answer {
  return scoped(() => {
    const stored = tensor(patterns);
    const path: Point[] = [query];
    let state = tensor([query]);
    for (let i = 0; i < updates; i++) {
      state = hopfieldRetrieve(state, stored, { beta });
      path.push(...pairs(state.dataSync()));
    }
    const weights = state.matmul(stored, { transposeB: true }).mul(beta).softmax({ axis: 1 });
    const entropy = weights.mul(weights.maximum(1e-30).log()).sum().neg();
    return {
      weights: [...weights.dataSync()],
      path,
      energies: [...hopfieldEnergy(tensor(path), stored, { beta }).dataSync()],
      next: pairs(hopfieldRetrieve(state, stored, { beta }).dataSync())[0]!,
      effective: Math.exp(entropy.dataSync()[0]!),
    };
  });
}

/** Energies over a square grid, rows from the top: [cells × cells]. */
export function landscape(patterns: Point[], beta: number, cells: number, reach: number): Float32Array {
  return scoped(() => {
    const at = (i: number) => ((i + 0.5) / cells) * 2 * reach - reach;
    const places = Float32Array.from({ length: cells * cells * 2 }, (_, i) => {
      const cell = Math.floor(i / 2);
      return i % 2 === 0 ? at(cell % cells) : -at(Math.floor(cell / cells));
    });
    const grid = tensor(places, { shape: [cells * cells, 2] });
    return Float32Array.from(hopfieldEnergy(grid, tensor(patterns), { beta }).dataSync());
  });
}
