// The equations of CLOOB and of what it stands on, and the line of code that is each of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { declaration } from './chapter.mjs';
import { highlight } from './markdown.mjs';

const losses = 'src/nn/losses.ts';
const hopfield = 'src/nn/hopfield.ts';
const statistics = 'src/evaluate/embedding-statistics.ts';
const saturation = 'study/saturation.ts';

/**
 * part, title; latex; words: what it says, in a sentence of our own; file, within (a declaration) and code (a line of it, or
 * its beginning); api: the export; chapter: where it is measured. test/site/equations.test.ts computes each by plain loops.
 */
export const equations = [
  {
    id: 'retrieval',
    part: 'Hopfield memory',
    title: 'Retrieval',
    latex: String.raw`\begin{aligned}U_{x_i}&=U\,\mathrm{softmax}(\beta U^\top x_i),&U_{y_i}&=U\,\mathrm{softmax}(\beta U^\top y_i),\\V_{x_i}&=V\,\mathrm{softmax}(\beta V^\top x_i),&V_{y_i}&=V\,\mathrm{softmax}(\beta V^\top y_i)\end{aligned}`,
    words:
      'A memory of pictures U and one of captions V each answer to pictures and to captions; in training they hold the batch.',
    file: hopfield,
    within: 'hopfieldRetrieve',
    code: 'query = logits.softmax({ axis: 1 }).matmul(stored);',
    api: 'hopfieldRetrieve',
    chapter: 'hopfield',
  },
  {
    id: 'normalized',
    part: 'Hopfield memory',
    title: 'Answers of length 1',
    latex: String.raw`U_{x_i}\leftarrow U_{x_i}/\|U_{x_i}\|`,
    words: 'Every answer is divided by its norm before answers are compared.',
    file: hopfield,
    within: 'hopfieldRetrieve',
    code: 'return normalize ? query.l2Normalize() : query;',
    api: 'hopfieldRetrieve',
    chapter: 'hopfield',
  },
  {
    id: 'energy',
    part: 'Hopfield memory',
    title: 'Energy',
    latex: String.raw`E(\xi)=-\beta^{-1}\ln\sum_i e^{\beta x_i^\top\xi}+\tfrac12\xi^\top\xi+\beta^{-1}\ln N+\tfrac12M^2`,
    words: 'What an update lowers; M is the largest norm of a pattern, so that E is not negative.',
    file: hopfield,
    within: 'hopfieldEnergy',
    code: 'return state.square().sum({ axis: 1 }).mul(0.5).sub(lse).add(logCount).add(largest.mul(0.5));',
    api: 'hopfieldEnergy',
    chapter: 'hopfield',
  },
  {
    id: 'energy-gradient',
    part: 'Hopfield memory',
    title: 'The update is a step down the energy',
    latex: String.raw`\nabla E(\xi)=\xi-\xi',\qquad \xi'=X\,\mathrm{softmax}(\beta X^\top\xi)`,
    words: 'One update is gradient descent with step length 1.',
    file: 'study/hopfield.ts',
    within: 'energyClaims',
    code: 'largestDifference(slope, state.sub(hopfieldRetrieve(state, stored, { beta }))),',
    api: 'hopfieldEnergy',
    chapter: 'hopfield',
  },
  {
    id: 'jacobian',
    part: 'Hopfield memory',
    title: 'Jacobian of softmax',
    latex: String.raw`\frac{\partial\,\mathrm{softmax}(a)}{\partial a}=\mathrm{diag}(p)-pp^\top,\qquad \frac{\partial\xi'}{\partial\xi}=\beta X\big(\mathrm{diag}(p)-pp^\top\big)X^\top`,
    words: 'Symmetric and without negative eigenvalues: a covariance, weighted by the answer.',
    file: 'src/autograd/ops/softmax.ts',
    code: '({ gradOutput, output }) => output.mul(gradOutput.sub(gradOutput.mul(output).sum({ axis: -1, keepDims: true }))),',
    api: 'softmax',
    chapter: 'covariance',
  },
  {
    id: 'covariance',
    part: 'Hopfield memory',
    title: 'Retrieval is mean plus covariance',
    latex: String.raw`U\,\mathrm{softmax}(\beta U^\top x)=\bar u+\beta\,U J^m(\beta U^\top x)U^\top x,\qquad J^m(a)=\int_0^1\big[\mathrm{diag}(p_\lambda)-p_\lambda p_\lambda^\top\big]d\lambda`,
    words: 'So comparing answers compares through the covariance of the batch.',
    file: 'study/covariance.ts',
    within: 'byCovariance',
    code: 'return change!.matmul(stored).add(stored.mean({ axis: 0 }));',
    api: 'hopfieldRetrieve',
    chapter: 'covariance',
  },
  {
    id: 'infonce',
    part: 'Losses',
    title: 'InfoNCE',
    latex: String.raw`L_{\text{NCE}}=-\frac1N\sum_i\ln\frac{\exp(\tau^{-1}x_i^\top y_i)}{\sum_{j}\exp(\tau^{-1}x_i^\top y_j)}`,
    words: 'Cross-entropy of finding the partner among all candidates.',
    file: losses,
    within: 'infoNceOf',
    code: 'return logits.logSumExp({ axis: 1 }).sub(positives(logits, first)).mean();',
    api: 'infoNceLoss',
    chapter: 'saturation',
  },
  {
    id: 'clip',
    part: 'Losses',
    title: 'CLIP',
    latex: String.raw`L_{\text{CLIP}}=\tfrac12\big(L_{\text{NCE}}(X,Y)+L_{\text{NCE}}(Y,X)\big)`,
    words: 'InfoNCE both ways, from pictures to captions and back.',
    file: losses,
    within: 'clipLoss',
    code: 'return infoNceOf(image, invTau).add(infoNceOf(text, invTau)).mul(0.5);',
    api: 'clipLoss',
    chapter: 'saturation',
  },
  {
    id: 'infoloob',
    part: 'Losses',
    title: 'InfoLOOB',
    latex: String.raw`L_{\text{LOOB}}=-\frac1N\sum_i\ln\frac{\exp(\tau^{-1}x_i^\top y_i)}{\sum_{j\ne i}\exp(\tau^{-1}x_i^\top y_j)}`,
    words: 'InfoNCE with the partner left out of the denominator.',
    file: losses,
    within: 'infoLoobOf',
    code: 'return withoutDiagonal(logits, first).logSumExp({ axis: 1 }).sub(positives(logits, first)).mean();',
    api: 'infoLoobLoss',
    chapter: 'saturation',
  },
  {
    id: 'cloob',
    part: 'Losses',
    title: 'The objective of CLOOB',
    latex: String.raw`L=-\frac1N\sum_i\ln\frac{\exp(\tau^{-1}U_{x_i}^\top U_{y_i})}{\sum_{j\ne i}\exp(\tau^{-1}U_{x_i}^\top U_{y_j})}-\frac1N\sum_i\ln\frac{\exp(\tau^{-1}V_{x_i}^\top V_{y_i})}{\sum_{j\ne i}\exp(\tau^{-1}V_{x_j}^\top V_{y_i})}`,
    words:
      'InfoLOOB between answers instead of embeddings: pictures as anchors in the memory of pictures, captions in that of captions. The official code multiplies by τ.',
    file: losses,
    within: 'cloobLoss',
    code: 'const loss = infoLoobOf(image, invTau).add(infoLoobOf(text, invTau));',
    api: 'cloobLoss',
    chapter: 'gram',
  },
  {
    id: 'dcl',
    part: 'Losses',
    title: 'DCL',
    latex: String.raw`\ell_{\text{DCL}}=-\tau^{-1}x_i^\top y_i+\ln\Big(\sum_{j\ne i}e^{\tau^{-1}x_i^\top y_j}+\sum_{j\ne i}e^{\tau^{-1}x_i^\top x_j}\Big)`,
    words: 'InfoLOOB with the negatives of both views.',
    file: losses,
    within: 'dclOf',
    code: 'return negatives.logSumExp({ axis: 1 }).sub(positives(logits, first)).mean();',
    api: 'dclLoss',
    chapter: 'saturation',
  },
  {
    id: 'loob-gradient',
    part: 'Gradients',
    title: 'Gradient of InfoLOOB',
    latex: String.raw`\frac{\partial\ell_{\text{LOOB}}}{\partial x}=-\tau^{-1}\Big(y_1-\sum_{j\ge2}q_jy_j\Big)`,
    words: 'The partner, less a retrieval of x among the negatives with β = τ⁻¹.',
    file: saturation,
    within: 'errors',
    code: 'loob: largestDifference(loob, y.sub(q.matmul(y)).mul(-invTau)),',
    api: 'infoLoobLoss',
    chapter: 'saturation',
  },
  {
    id: 'saturation',
    part: 'Gradients',
    title: 'Saturation of InfoNCE',
    latex: String.raw`\frac{\partial\ell_{\text{NCE}}}{\partial x}=(1-p_1)\,\frac{\partial\ell_{\text{LOOB}}}{\partial x}`,
    words: 'InfoNCE learns less, the surer it is of the partner.',
    file: saturation,
    within: 'errors',
    code: 'nce: largestDifference(nce, loob.mul(rest)),',
    api: 'infoNceLoss',
    chapter: 'saturation',
  },
  {
    id: 'difference',
    part: 'Gradients',
    title: 'Between the losses',
    latex: String.raw`\ell_{\text{LOOB}}=\ell_{\text{NCE}}+\ln(1-p_1)`,
    words: 'The values differ by the logarithm of the same factor.',
    file: saturation,
    within: 'errors',
    code: 'value: largestDifference(difference, rest.log().mean()),',
    api: 'infoLoobLoss',
    chapter: 'saturation',
  },
  {
    id: 'matrix-gradient',
    part: 'Gradients',
    title: 'Gradient by similarities',
    latex: String.raw`\frac{\partial L}{\partial s_{ij}}=\frac{\tau^{-1}}N(p_{ij}-\delta_{ij})\ \text{or}\ \frac{\tau^{-1}}N(q_{ij}-\delta_{ij}),\qquad s_{ij}=x_i^\top y_j,\quad q_{ii}=0`,
    words: 'The derivative of a log-sum-exp is a softmax; of InfoLOOB over the negatives.',
    file: 'src/autograd/ops/softmax.ts',
    code: 'return x!.sub(finite.unsqueeze(-1)).exp().mul(gradOutput.unsqueeze(-1));',
    api: 'logSumExp',
    chapter: 'saturation',
  },
  {
    id: 'temperature-gradient',
    part: 'Gradients',
    title: 'Gradient by the inverse temperature',
    latex: String.raw`\frac{\partial L_{\text{LOOB}}}{\partial\tau^{-1}}=\frac1N\sum_i\Big(\sum_{j\ne i}q_{ij}s_{ij}-s_{ii}\Big)`,
    words: 'Negative as soon as partners score highest: a learnt τ⁻¹ grows without end under InfoLOOB.',
    file: losses,
    within: 'infoLoobOf',
    code: 'const logits = s.mul(invTau);',
    api: 'infoLoobLoss',
    chapter: 'saturation',
  },
  {
    id: 'bounds',
    part: 'Mutual information',
    title: 'Two estimates',
    latex: String.raw`\ln N-L_{\text{NCE}}\le I(X;Y)\le\ln(N-1)-L_{\text{LOOB}}`,
    words: 'In the mean; the second only with the true conditional density as critic.',
    file: 'study/mutual-information.ts',
    within: 'estimates',
    code: 'loob.push(Math.log(n - 1) - number(infoLoobLoss(phi, psi, { invTau: scale })));',
    api: 'infoLoobLoss',
    chapter: 'mutual-information',
  },
  {
    id: 'eigenvalues',
    part: 'Statistics of embeddings',
    title: 'Effective eigenvalues',
    latex: String.raw`\min\Big\{k:\ \sum_{i\le k}\lambda_i\ge0.99\sum_i\lambda_i\Big\}`,
    words: 'How many directions carry nearly all of the variance of the embeddings.',
    file: statistics,
    within: 'effectiveEigenvalues',
    code: 'while (count < eigenvalues.length && sum < wanted) sum += eigenvalues[count++]!;',
    api: 'effectiveEigenvalues',
    chapter: 'hopfield',
  },
  {
    id: 'ajne',
    part: 'Statistics of embeddings',
    title: 'Modified Ajne statistic',
    latex: String.raw`A=\frac n4-\frac1{n\pi}\sum_{i<j}\arccos(u_i^\top u_j)`,
    words: 'How unevenly embeddings lie on the sphere; it grows with n.',
    file: statistics,
    within: 'ajneStatistic',
    code: 'return { statistic: n / 4 - angles / (n * Math.PI), n };',
    api: 'ajneStatistic',
  },
  {
    id: 'alignment',
    part: 'Statistics of embeddings',
    title: 'Alignment',
    latex: String.raw`\mathbb E\,\|x-y\|^2`,
    words: 'How far apart partners are.',
    file: statistics,
    within: 'alignment',
    code: 'for await (const { values } of blocks(x, options, squares)) for (const value of values) sum += value ** (power / 2);',
    api: 'alignment',
  },
  {
    id: 'uniformity',
    part: 'Statistics of embeddings',
    title: 'Uniformity',
    latex: String.raw`\ln\,\mathbb E\,e^{-2\|u-v\|^2}`,
    words: 'The energy of a Gaussian potential between embeddings of one kind.',
    file: statistics,
    within: 'uniformity',
    code: 'const sum = await sumOverPairs(x, options, (cosine) => Math.exp(-t * (2 - 2 * cosine)));',
    api: 'uniformity',
  },
];

/**
 * Where an equation stands in the code.
 * @throws Error unless its line is there once, within its declaration
 */
export function lineOf(root, { id, file, within, code }) {
  const text = readFileSync(join(root, file), 'utf8');
  const found = within === undefined ? { start: 1, text } : declaration(text, within);
  if (!found) throw new Error(`equation ${id}: ${file} declares no ${within}`);
  const lines = found.text.split('\n').flatMap((line, i) => (line.trim().startsWith(code) ? [found.start + i] : []));
  if (lines.length !== 1) throw new Error(`equation ${id}: ${lines.length} lines of ${file} are ${code}`);
  return lines[0];
}

/** The page, as pages.mjs has them. */
export function equationsPage(root, apiUrl, chapters) {
  const parts = [...new Set(equations.map(({ part }) => part))];
  const entry = (equation) => {
    const line = lineOf(root, equation);
    const chapter = chapters.find(({ url }) => url === `chapters/${equation.chapter}.html`);
    const links = [
      `<a href="repository:${equation.file}#L${line}">${equation.file}, line ${line}</a>`,
      `<a href="${apiUrl(equation.api)}"><code>${equation.api}</code></a>`,
      ...(chapter ? [`<a href="${chapter.url}">chapter ${chapter.title}</a>`] : []),
    ];
    const code = highlight(equation.code, 'typescript');
    return [
      `<h3 id="${equation.id}">${equation.title}</h3>`,
      `$$ ${equation.latex} $$`,
      equation.words,
      `<pre><code>${code}</code></pre>`,
      `<p>${links.join(' · ')}</p>`,
    ].join('\n\n');
  };
  const text = parts.map(
    (part) =>
      `## ${part}\n\n${equations
        .filter((one) => one.part === part)
        .map(entry)
        .join('\n\n')}`,
  );
  const intro =
    '# Equations\n\nEvery equation of the paper and of what it stands on, and the line of code that is it. A test computes each by plain loops and compares.';
  return {
    url: 'equations.html',
    title: 'Equations',
    section: 'chapters',
    source: 'site/equations.html',
    markdown: `${intro}\n\n${text.join('\n\n')}\n`,
  };
}
