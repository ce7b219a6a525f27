/**
 * Bugs that CLOOB's codebases have had or invite, each with the property that shows it: a sentence that holds for the right program for all inputs
 * and fails for the wrong one. Losses fall with all of these bugs, so no curve tells.
 */
import { eye, randn, type Tensor, tensor } from 'hopgrad';
import { ClipTokenizer } from 'hopgrad/models/cloob';
import { AdamW, hopfieldRetrieve, infoLoobLoss, Parameter } from 'hopgrad/nn';
import { exact, largestDifference, unitVectors, values } from './chapter.js';
import type { Chapter, Findings } from './record.js';

/** A wrong program beside the right one: how far each is from what the property demands. */
interface Specimen {
  id: string;
  bug: string;
  property: string;
  right: number;
  wrong: number;
  /** Of rounding, for the right one. */
  bound: number;
}

const [n, dim, invTau, beta] = [24, 16, 30, 8];
const number = (t: Tensor) => values(t)[0]!;
const logits = (x: Tensor, y: Tensor, scale = invTau) => x.matmul(y, { transposeB: true }).mul(scale);
const diagonalOf = (s: Tensor) => s.mul(eye(s.shape[0]!, s.shape[0]!, exact)).sum({ axis: 1 });

/** InfoLOOB with the partner masked by a number, along an axis. */
function maskedLoss(s: Tensor, mask: number, axis: 0 | 1): Tensor {
  const rest = eye(s.shape[0]!, s.shape[0]!, exact).where(mask, s);
  return rest.logSumExp({ axis }).sub(diagonalOf(s)).mean();
}

/** Two pairs that point in opposite directions: the only negative has the logit −τ⁻¹. */
function maskNumber(): Specimen {
  const x = tensor([[1, 0], [-1, 0]], exact); // biome-ignore format: a matrix
  const scale = 2000;
  const lossOf = (mask: number) => number(maskedLoss(logits(x, x, scale), mask, 1));
  return {
    ...{ id: 'mask-number', bug: 'the partner is masked by −1000 instead of −∞', bound: 1e-9 },
    property: 'opposite pairs: L = −2 τ⁻¹ for every τ⁻¹ (here 2000)',
    right: Math.abs(number(infoLoobLoss(x, x, { invTau: scale })) + 2 * scale),
    wrong: Math.abs(lossOf(-1000) + 2 * scale),
  };
}

function maskAxis(): Specimen {
  const [x, y] = [unitVectors(n, dim, 1), unitVectors(n, dim, 2)];
  const moved = randn([n, 1], { ...exact, seed: 3 });
  const s = logits(x, y);
  const change = (axis: 0 | 1) =>
    Math.abs(number(maskedLoss(s.add(moved), -Infinity, axis)) - number(maskedLoss(s, -Infinity, axis)));
  return {
    ...{ id: 'loss-axis', bug: 'the sum over negatives runs over anchors', bound: 1e-12 },
    property: 'adding a number to all scores of an anchor changes nothing',
    right: change(1),
    wrong: change(0),
  };
}

function memoryAxis(): Specimen {
  const [x, stored] = [unitVectors(10, dim, 4), unitVectors(40, dim, 5)];
  const average = stored.mean({ axis: 0, keepDims: true });
  const wrong = logits(x, stored, 1e-9).softmax({ axis: 0 }).matmul(stored);
  const right = hopfieldRetrieve(x, stored, { beta: 1e-9 });
  return {
    ...{ id: 'memory-axis', bug: 'the memory’s softmax runs over queries', bound: 1e-8 },
    property: 'β → 0 gives the mean of the stored patterns',
    right: largestDifference(right, average.expand(right.shape)),
    wrong: largestDifference(wrong, average.expand(wrong.shape)),
  };
}

function forgottenNorm(): Specimen {
  const x = unitVectors(n, dim, 6);
  const own = (normalize: boolean) => {
    const u = hopfieldRetrieve(x, x, { beta, normalize });
    return Math.max(
      ...values(
        diagonalOf(u.matmul(u, { transposeB: true }))
          .sub(1)
          .abs(),
      ),
    );
  };
  return {
    ...{ id: 'norm', bug: 'retrieved patterns are not divided by their norm', bound: 1e-12 },
    property: 'a pattern’s logit with itself is τ⁻¹: its cosine is 1',
    right: own(true),
    wrong: own(false),
  };
}

function wrongNormAxis(): Specimen {
  const raw = randn([n, dim], { ...exact, seed: 7 });
  const off = (axis: number) => Math.max(...values(raw.l2Normalize({ axis }).square().sum({ axis: 1 }).sub(1).abs()));
  return {
    ...{ id: 'norm-axis', bug: 'embeddings are divided by the norm of columns', bound: 1e-12 },
    property: 'every row has length 1',
    right: off(-1),
    wrong: off(0),
  };
}

/** How many of 50 captions longer than the context are read at another place than their end. */
function cutEnd(): Specimen {
  const words = ['red', 'green', 'blue', 'big', 'small', 'cat', 'dog', 'tree', 'house', 'boat'];
  const captions = Array.from({ length: 50 }, (_, i) =>
    Array.from({ length: 20 }, (_, k) => words[(7 * i + 3 * k + (i * k) % 5) % 10]!).join(' '),
  ); // biome-ignore format: a product
  const tokenizer = ClipTokenizer.train(captions, { vocabSize: 540 });
  const context = 12;
  const missed = (truncate: 'keepEnd' | 'official') => {
    const tokens = tokenizer.tokenize(captions, { contextLength: context, truncate });
    return captions.filter((_, row) => {
      const own = Array.from(tokens.subarray(row * context, (row + 1) * context));
      return own.indexOf(Math.max(...own)) !== context - 1; // the encoder reads at the largest token, which is the end's
    }).length;
  };
  return {
    ...{ id: 'cut-end', bug: 'long captions lose their end token, as in the official code', bound: 0 },
    property: 'a caption that fills the context is read at its last place (captions, of 50)',
    right: missed('keepEnd'),
    wrong: missed('official'),
  };
}

async function decayedScale(): Promise<Specimen> {
  const after = async (decay: boolean) => {
    const logInvTau = new Parameter(tensor([Math.log(invTau)], exact), { decay });
    const optimizer = new AdamW([logInvTau], { lr: 1e-2, weightDecay: 0.1 });
    for (let step = 0; step < 100; step++) {
      optimizer.zeroGrad();
      logInvTau.mul(0).sum().backward();
      await optimizer.step();
    }
    return Math.abs(Math.exp(values(logInvTau)[0]!) - invTau);
  };
  return {
    ...{ id: 'decay', bug: 'weight decay pulls ln τ⁻¹ to 0', bound: 1e-12 },
    property: 'where the loss does not ask for it, τ⁻¹ stays (100 steps)',
    right: await after(false),
    wrong: await after(true),
  };
}

function logOfSoftmax(): Specimen {
  const s = tensor([[0, -1000]], exact);
  const off = (log: Tensor) => Math.abs(values(log)[1]! + 1000);
  return {
    ...{ id: 'log-softmax', bug: 'log(softmax(s)) instead of logSoftmax(s)', bound: 1e-12 },
    property: 'ln p of a score 1000 below the best is −1000',
    right: off(s.logSoftmax({ axis: 1 })),
    wrong: off(s.softmax({ axis: 1 }).log()),
  };
}

/** All of them. */
export async function specimens(): Promise<Specimen[]> {
  const still = [maskNumber(), maskAxis(), memoryAxis(), forgottenNorm(), wrongNormAxis(), cutEnd(), logOfSoftmax()];
  return [...still, await decayedScale()];
}

async function run(found: Findings): Promise<void> {
  const all = await specimens();
  for (const { id, bug, property, right, wrong, bound } of all) {
    found.claim(id, property, right, bound);
    if (!(wrong > 1e-3)) throw new Error(`bug-zoo: the property does not see that ${bug}: ${wrong}`);
  }
  found.table(
    'zoo',
    'How far the right program and the wrong one are from what the property demands.',
    ['bug', 'property', 'right', 'wrong'],
    all.map(({ bug, property, right, wrong }) => [bug, property, right, Number.isFinite(wrong) ? wrong : '∞']),
  );
  found.number('bugs', all.length);
  const wrongOf = (id: string) => all.find((one) => one.id === id)!.wrong;
  found.number('cut', wrongOf('cut-end'));
  found.number('decay', wrongOf('decay'));
}

export const bugZoo: Chapter = { name: 'bug-zoo', title: 'A zoo of bugs, each with the property that shows it', run };
