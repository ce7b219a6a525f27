/** The registry of ops, whole: with their equations, which the modules of the ops are without once hopgrad is built. */
import { type Op, registry } from '../autograd/op.js';
import { descriptions } from './descriptions.js';

/** Every op defined so far, by name; the last definition of each. */
// biome-ignore lint/suspicious/noExplicitAny: ops of every parameter type
export function registeredOps(): ReadonlyMap<string, Op<any>> {
  for (const [name, op] of registry) if (op.builtIn && op.equation === undefined) Object.assign(op, descriptions[name]);
  return registry;
}
