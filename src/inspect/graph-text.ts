/** The graph of a result, for people: as text, and as a picture. */
import { formatTable } from '../tensor/print.js';
import { type Graphed, type GraphOptions, type Step, stepsOf } from './steps.js';

const titleOf = ({ op, name }: Step) => (name ? `${op} ${name}` : op);

/**
 * The graph of a result as a table, a line for each step in the order of computing: number, op, its inputs (numbers of
 * steps, constants), its parameters, dtype and shape, and on demand the ranges of values and of gradients.
 *
 * What is shown is what the derivatives go through: a function composed of ops is the ops that it is made of, and what
 * does not depend on a tensor with requiresGrad is a constant.
 *
 * @param loss a tensor with history, or a function that computes one, of which every value can be shown
 * @example
 * console.log(graphText(() => x.matmul(w).tanh().sum(), { values: true, gradients: true, names: { w } }));
 * @throws GraphError when there is no graph, or backward() has freed it, and for gradients of several elements;
 *   DeviceError for ranges on a device that answers asynchronously
 */
export function graphText(loss: Graphed, options?: GraphOptions): string {
  const steps = stepsOf('graphText', loss, options);
  const rows = steps.map((step) => [
    `#${step.number}`,
    titleOf(step),
    step.inputs.map((input) => (typeof input === 'number' ? `#${input}` : input)).join(', '),
    step.params,
    step.type,
    step.value,
    step.gradient,
  ]);
  const some = (key: 'params' | 'value' | 'gradient') => steps.some((step) => step[key] !== '');
  const head = ['', 'op', 'inputs', some('params') ? 'parameters' : '', 'shape'];
  return formatTable(
    [[...head, some('value') ? 'values' : '', some('gradient') ? 'gradients' : ''], ...rows],
    head.length + 2,
  );
}

/** Text inside the quotes of DOT. */
const quoted = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/**
 * The graph of a result in the language DOT, for Graphviz (`dot -Tsvg`) and the many pages that draw it: a box for each
 * op, a rounded one for each leaf, constants without a box; arrows go the way of computing. Options, what is shown and
 * errors are those of {@link graphText}. Source of the language: https://graphviz.org/doc/info/lang.html
 */
export function toDot(loss: Graphed, options?: GraphOptions): string {
  const lines = ['digraph hopgrad {', '  node [shape=box, fontname="sans-serif", fontsize=11];'];
  for (const step of stepsOf('toDot', loss, options)) {
    const label = [titleOf(step), step.params, step.type].filter(Boolean);
    if (step.value) label.push(`value ${step.value}`);
    if (step.gradient) label.push(`gradient ${step.gradient}`);
    const leaf = step.op === 'leaf' ? ', style="rounded,filled", fillcolor="#e8f0fe"' : '';
    lines.push(`  n${step.number} [label=${quoted(label.join('\n'))}${leaf}, ordering=in];`);
    step.inputs.forEach((input, i) => {
      const from = typeof input === 'number' ? `n${input}` : `c${step.number}_${i}`;
      if (typeof input !== 'number') lines.push(`  ${from} [label=${quoted(input)}, shape=plaintext];`);
      lines.push(`  ${from} -> n${step.number};`);
    });
  }
  return [...lines, '}', ''].join('\n');
}
