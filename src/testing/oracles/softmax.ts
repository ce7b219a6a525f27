/** Softmax and its relatives by their definitions, without a shift. */
import { type Oracle, perRow } from './oracle.js';

const draw: NonNullable<Oracle<void>['draw']> = (random) => ({
  shapes: [[...(random.int(2) ? [1 + random.int(3)] : []), 1 + random.int(4)]],
  params: undefined,
});
const total = (row: number[]) => row.reduce((sum, v) => sum + Math.exp(v), 0);

export const softmax: Oracle<void> = {
  draw,
  oracle: ([x]) => perRow(x!, (row) => row.map((v) => Math.exp(v) / total(row))),
};

export const logSoftmax: Oracle<void> = {
  draw,
  oracle: ([x]) => perRow(x!, (row) => row.map((v) => v - Math.log(total(row)))),
};

export const logSumExp: Oracle<void> = { draw, oracle: ([x]) => perRow(x!, (row) => [Math.log(total(row))]) };
