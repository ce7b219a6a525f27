/** A program as a module that a person can paste into a file of the repository and run. */
import { type Program, weighted, weights } from './program.js';
import { literal } from './steps.js';

const opHelper = `const op = (name, inputs, params) => apply(registeredOps().get(name), inputs, params);`;
const fitHelper = `const fit = (x, shape) => {
  const size = shape.reduce((a, b) => a * b, 1);
  const indices = Int32Array.from({ length: size }, (_, i) => i % x.size);
  return x.reshape([x.size]).gather(tensor(indices, { device: x.device })).reshape(shape);
};`;
const weightedHelper = `const weights = ${weights};\n${weighted}`;

function dataText(data: readonly number[]): string {
  if (data.length <= 400) return `[${data.map(literal).join(', ')}]`;
  return `Array.from({ length: ${data.length} }, (_, i) => [${data.slice(0, 100).map(literal).join(', ')}][i % 100])`; // rarely the cause
}

/**
 * @param order   0 prints all values; 1 and 2 the derivatives of that order with respect to the float inputs
 * @param devices on which to run; reference runs in float64
 */
export function codeOf(program: Program, order: number, devices: readonly string[]): string {
  const { inputs, lines, results, refused } = program;
  const body = lines.map(({ name, text }) => `const ${name} = ${text};`);
  const needs = (word: string) =>
    [...lines.map(({ text }) => text), refused?.text ?? ''].some((text) => text.includes(`${word}(`));
  const free = inputs.flatMap(({ dtype }, i) => (dtype === 'int32' ? [] : [`x${i}`]));
  const declared = inputs.map(
    ({ data, shape, dtype }, i) =>
      `const x${i} = tensor(${dataText(data)}, { shape: [${shape}], dtype: ${dtype === 'int32' ? "'int32'" : 'float'}, device });`,
  );
  const loss = [
    `const loss = (${free}) => {`,
    ...body.map((line) => `  ${line}`),
    `  return weighted([${results}].filter((y) => y.requiresGrad), 0);`,
    '};',
  ];
  const list = (f: string) => `[${f}(${free})].flat()`;
  const given = [
    ...(order === 0
      ? [...body, `return { ${lines.map(({ name }) => name)} };`]
      : [
          ...loss,
          order === 1
            ? `return ${list('grad(loss)')};`
            : `return ${list(`grad((${free}) => weighted(${list('grad(loss)')}, 1))`)};`,
        ]),
  ];
  return [
    `import { grad, init, registeredOps, tensor, withDevice } from 'hopgrad';`,
    ...(needs('op') ? [`import { apply } from '#src/autograd/op.js';`, opHelper] : []),
    ...(needs('fit') ? [fitHelper] : []),
    ...(order > 0 ? [weightedHelper] : []),
    `const compute = (device, float) => {`,
    ...declared.map((line) => `  ${line}`),
    ...given.map((line) => `  ${line}`),
    '};',
    `for (const device of ${JSON.stringify(devices)}) {`,
    '  await init({ device });',
    `  const results = withDevice(device, () => compute(device, device === 'reference' ? 'float64' : 'float32'));`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the printed program's
    '  for (const [name, t] of Object.entries(results)) console.log(device, name, `[${t.shape}]`, ...(await t.data()));',
    ...(refused ? [`  // also: ${refused.text} must throw a ${refused.error}`] : []),
    '}',
  ].join('\n');
}
