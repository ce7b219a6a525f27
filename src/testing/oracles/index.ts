/** The oracles of built-in ops, each under its op's name. */
import type { Op, OpTest } from '../../autograd/op.js';
import * as attention from './attention.js';
import * as conv from './conv.js';
import * as elementwise from './elementwise.js';
import * as functions from './functions.js';
import * as linearAlgebra from './linear-algebra.js';
import * as matmul from './matmul.js';
import * as moves from './moves.js';
import * as norm from './norm.js';
import * as reduce from './reduce.js';
import * as softmax from './softmax.js';

// biome-ignore lint/suspicious/noExplicitAny: ops of every parameter type
type Any = any;

const oracles: Record<string, Partial<OpTest<Any>> | undefined> = {
  ...attention,
  ...conv,
  ...elementwise,
  ...functions,
  ...linearAlgebra,
  ...matmul,
  ...moves,
  ...norm,
  ...reduce,
  ...softmax,
};

/** How an op is tested: what it says itself, and for built-in ops their oracle. */
export function testOf(op: Op<Any>): OpTest<Any> {
  return { ...op.test, ...(op.builtIn && oracles[op.name]) };
}
