/** Runs a visitor's op away from the page: what never ends can be ended there. */
import * as hopgrad from 'hopgrad';
// Of hopgrad/testing only the checker: its generators would bring fast-check along.
import { checkGradients } from '#src/testing/check-gradients.js';
import { withoutImports } from '../../start/modules.js';

export interface Question {
  code: string;
  points: number[];
  order: 1 | 2;
  seed: number;
}

export interface Row {
  index: number;
  x: number;
  /** What backward() leaves, and the central difference. */
  analytic: number;
  numeric: number;
  /** What checkGradients says is wrong there, by order of derivative; empty where nothing is. */
  faults: string[];
}

export interface Found {
  ok: boolean;
  /** The report as it prints itself. */
  text: string;
  rows: Row[];
  /** Derivative and difference over a range: [x, analytic, numeric]. */
  curve: [number, number, number][];
}

type Op = (x: hopgrad.Tensor) => hopgrad.Tensor;

/** Derivatives by backward(), and central differences, in float64. */
async function derivatives(
  op: Op,
  points: readonly number[],
): Promise<[x: number, analytic: number, numeric: number][]> {
  const placed = (shift: number) =>
    hopgrad.tensor(
      points.map((x) => x + shift),
      { dtype: 'float64', device: 'reference' },
    );
  const analytic = await hopgrad
    .grad((x: hopgrad.Tensor) => op(x).sum())(placed(0))
    .data();
  const eps = 1e-6;
  const [above, below] = [await op(placed(eps)).data(), await op(placed(-eps)).data()];
  return points.map((x, i) => [x, analytic[i]!, (above[i]! - below[i]!) / (2 * eps)]);
}

async function check({ code, points, order, seed }: Question): Promise<Found> {
  const AsyncFunction = (async () => {}).constructor as new (
    ...text: string[]
  ) => (modules: object) => Promise<unknown>;
  const body = `${withoutImports(code, ['hopgrad'])}\nreturn typeof op === 'undefined' ? undefined : op;`;
  const op = (await new AsyncFunction('modules', body)({ hopgrad })) as Op | undefined;
  if (typeof op !== 'function') throw new Error('The program must define a function called op.');
  const report = await checkGradients((x) => op(x), [points], { order, seed });
  const rows = (await derivatives(op, points)).map(([x, analytic, numeric], index) => {
    const own = report.failures.filter((failure) => failure.index?.at(-1) === index && failure.argument !== null);
    const faults = own.map(({ kind, order }) => (order === 2 ? `${kind}, second` : kind));
    return { index, x, analytic, numeric, faults };
  });
  const [least, most] = [Math.min(-2, ...points), Math.max(2, ...points)];
  const grid = Array.from({ length: 121 }, (_, i) => least + ((most - least) * (i + 0.5)) / 121);
  return { ok: report.ok, text: String(report), rows, curve: await derivatives(op, grid) };
}

self.onmessage = async ({ data }: MessageEvent<Question>) => {
  try {
    await hopgrad.init({ device: 'reference' });
    postMessage({ started: true });
    postMessage({ found: await check(data) });
  } catch (error) {
    postMessage({ failed: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
};
