/**
 * A decoder-only transformer, built as GPT is, learns to sort: it reads `5 2 7 2 >` and writes `2 2 5 7`, each digit from all
 * that stands before it.
 *
 *     node examples/transformer.js
 */
import { pathToFileURL } from 'node:url';
import { arange, manualSeed, noGrad, scoped, tensor, uniform } from 'hopgrad';
import {
  AdamW,
  crossEntropy,
  Embedding,
  ExponentialMovingAverage,
  LayerNorm,
  Linear,
  Module,
  oneCycle,
  Transformer,
} from 'hopgrad/nn';

const digits = 10;
const length = 4;
const end = digits; // the token after the digits to be sorted
const context = 2 * length; // digits, `end`, and the sorted digits but the last

export class SortingTransformer extends Module {
  constructor({ width = 48, layers = 2, heads = 4 } = {}) {
    super();
    this.tokens = new Embedding(digits + 1, width, { std: 0.5 });
    this.places = new Embedding(context, width, { std: 0.5 });
    this.transformer = new Transformer({ width, layers, heads, causal: true });
    this.norm = new LayerNorm(width);
    this.head = new Linear(width, digits);
  }

  /** Logits of the next token at every place: int32 [batch, tokens] → [batch, tokens, digits]. */
  forward(tokens) {
    const places = arange(0, tokens.shape[1], 1, { dtype: 'int32' });
    const x = this.tokens.forward(tokens).add(this.places.forward(places));
    return this.head.forward(this.norm.forward(this.transformer.forward(x)));
  }

  /** Sorts rows of digits by writing one token after the other. */
  async sort(rows) {
    let text = rows.map((row) => [...row, end]);
    while (text[0].length < context + 1) {
      const logits = noGrad(() => this.forward(tensor(text, { dtype: 'int32' })));
      const next = await logits.argmax({ axis: 2 }).array();
      text = text.map((row, i) => [...row, next[i].at(-1)]);
    }
    return text.map((row) => row.slice(length + 1));
  }
}

/** Rows of random digits. */
function drawRows(count) {
  const numbers = uniform([count, length], { high: digits, device: 'reference' }).dataSync();
  return Array.from({ length: count }, (_, i) => Array.from(numbers.slice(i * length, (i + 1) * length), Math.floor));
}
const sorted = (row) => [...row].sort((a, b) => a - b);

export async function trainTransformer({ steps = 150, batch = 64, log = console.log } = {}) {
  manualSeed(3);
  const model = new SortingTransformer();
  log(model);
  const optimizer = new AdamW(model.parameters(), { weightDecay: 0.01, maxGradNorm: 1 });
  const average = new ExponentialMovingAverage(model, { decay: 0.98 });
  const rate = oneCycle({ lr: 5e-3, total: steps });
  for (let step = 0; step < steps; step++) {
    const loss = scoped(() => {
      const rows = drawRows(batch);
      const tokens = tensor(
        rows.map((row) => [...row, end, ...sorted(row).slice(0, -1)]),
        { dtype: 'int32' },
      );
      const targets = tensor(rows.map(sorted), { dtype: 'int32' });
      optimizer.zeroGrad();
      const answers = model.forward(tokens).slice([
        [0, null],
        [length, null],
      ]); // what comes after `end`
      const value = crossEntropy(answers, targets);
      value.backward();
      return value.detach();
    });
    optimizer.lr = rate(step);
    await optimizer.step();
    average.update();
    if (step % 50 === 0) log(`step ${step}: loss ${(await loss.item()).toFixed(3)}`);
  }
  const rows = drawRows(100);
  const answers = await average.use(() => model.sort(rows));
  const right = answers.filter((answer, i) => `${answer}` === `${sorted(rows[i])}`).length / rows.length;
  log(`${rows[0].join(' ')} > ${answers[0].join(' ')}`);
  log(`${(100 * right).toFixed(0)} % of new rows sorted`);
  return { model, right };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await trainTransformer();
