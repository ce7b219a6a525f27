// `npm run figures -- RUN` draws the two figures of the README from a run of the embedded data that was validated
// (`npx hopgrad train --validation`): its retrieval over time, and what it finds most alike to drawings it has never seen.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { colours, curves, draw } from '../.build/study/figure.js';
import { emojiSource, prepareEmoji } from '../dist/data/emoji-source.js';
import { init } from '../dist/index.js';
import { loadCheckpoint } from '../dist/models/cloob/index.js';
import { embedSource } from '../dist/train/embed-source.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'docs/figures');
const escaped = (text) =>
  text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign]);

/** Lines of a file of the run. @throws Error when it is not there */
function lines(run, name, hint) {
  const file = join(run, name);
  if (!existsSync(file)) throw new Error(`${file} is not there: ${hint}`);
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** Recall at 10, both ways, of every validation, and where the memories begin to answer. */
function retrieval(run) {
  const evaluations = lines(run, 'evaluations.jsonl', 'train with --validation');
  const names = { A: 'new style', B: 'new concepts', C: 'both new' };
  const mean = ({ imageToText, textToImage }) => 50 * (imageToText.recall[10] + textToImage.recall[10]);
  const list = Object.entries(names).flatMap(([set, label]) => {
    const of = evaluations.map(({ epoch, sets }) => [epoch, sets.find((one) => one.set === set)]);
    const points = of.map(([epoch, one]) => [epoch, mean(one)]);
    const chance = of.map(([epoch, one]) => [epoch, 100 * one.chance.imageToText[10]]);
    return [
      { label, points },
      ...(set === 'B' ? [] : [{ label: `chance, ${set === 'A' ? 'new style' : 'new'}`, points: chance }]),
    ];
  });
  const from = evaluations.find((one) => one.retrieval)?.epoch;
  const alt = `Recall at 10 in %, mean of both ways, after each epoch: known concepts in a style never seen, concepts never trained on in a known style, and both new; chance beside them.${from === undefined ? '' : ` Memories answer from epoch ${from} on.`}`;
  const options = {
    height: 320,
    x: { label: 'epochs', ticks: Math.min(10, evaluations.length), tickFormat: 'd' },
    y: { label: 'recall at 10, %', zero: true },
  };
  return draw(curves(list, options, { dots: evaluations.length <= 12 }), alt);
}

const picture = async (svg) => {
  const pixels = sharp(Buffer.from(svg))
    .resize(96, 96, { fit: 'contain', background: '#ffffff' })
    .flatten({ background: '#ffffff' });
  return `data:image/webp;base64,${(await pixels.webp({ quality: 75 }).toBuffer()).toString('base64')}`;
};

/** For each i of a: the `count` most similar of b. */
function nearest(a, b, dim, count) {
  return Array.from({ length: a.length / dim }, (_, i) =>
    Array.from({ length: b.length / dim }, (_, j) => {
      let sum = 0;
      for (let k = 0; k < dim; k++) sum += a[i * dim + k] * b[j * dim + k];
      return { j, sum };
    })
      .sort((x, y) => y.sum - x.sum)
      .slice(0, count),
  );
}

/** Drawings of a style that was held out, and the training drawings that the image encoder finds most alike. */
async function neighbours(run, { rows = 6, columns = 5 } = {}) {
  await init({ device: 'wasm' });
  const { model } = await loadCheckpoint(join(run, 'model.safetensors'));
  const { validation } = JSON.parse(readFileSync(join(run, 'manifest.json'), 'utf8')).data.train; // the same split
  const data = await prepareEmoji({
    cacheFolder: join(root, '.cache'),
    size: model.config.image_resolution,
    validation,
  });
  const { concepts, drawings, split } = data;
  const every = Math.floor(split.testA.length / rows); // evenly over all, not the best
  const queries = Array.from({ length: rows }, (_, i) => split.testA[Math.floor((i + 0.5) * every)]);
  const embed = async (chosen) => {
    const { features } = await embedSource(model, emojiSource(data, 'figures', chosen, 'names'), { batchSize: 128 });
    const unit = features.l2Normalize();
    return { values: await unit.data(), dim: unit.shape[1] };
  };
  const [asked, known] = [await embed(queries), await embed(split.train)];
  const found = nearest(asked.values, known.values, asked.dim, columns);
  const [cell, image, gap] = [104, 72, 16];
  const parts = [];
  const place = async (drawing, column, row, frame) => {
    const name = concepts[drawing.concept].name;
    const [x, y] = [8 + column * cell + (column > 0 ? gap : 0), 22 + row * (image + 30)];
    parts.push(
      `<rect x="${x + 14}" y="${y - 2}" width="${image + 4}" height="${image + 4}" rx="6" fill="#fff" stroke="${frame}" stroke-width="2"/>`,
      `<image x="${x + 16}" y="${y}" width="${image}" height="${image}" href="${await picture(drawing.svg)}"/>`,
      `<text x="${x + 16 + image / 2}" y="${y + image + 15}" text-anchor="middle" font-size="10.5">${escaped(name.length > 17 ? `${name.slice(0, 16)}…` : name)}</text>`,
    );
  };
  let right = 0;
  for (const [row, query] of queries.entries()) {
    await place(drawings[query], 0, row, 'none');
    for (const [column, { j }] of found[row].entries()) {
      const drawing = drawings[split.train[j]];
      const same = drawing.concept === drawings[query].concept;
      right += Number(same);
      await place(drawing, column + 1, row, same ? colours[2] : '#9aa3ad');
    }
  }
  const [width, height] = [(columns + 1) * cell + gap + 16, 22 + rows * (image + 30)];
  const alt = `${rows} drawings in a style never trained on, taken evenly from all, each with the ${columns} training drawings most alike by the image encoder; ${right} of ${rows * columns} show the same concept, framed in green.`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${alt}"><style>svg{color:#22262c;font:13px system-ui,sans-serif}text{fill:currentColor}@media (prefers-color-scheme:dark){svg{color:#e4e7eb}}</style>
<text x="${24 + image / 2}" y="12" text-anchor="middle">never seen</text><text x="${cell + gap + 24}" y="12">most alike in training</text>
${parts.join('\n')}
</svg>
`;
}

const run = process.argv[2];
if (run === undefined || !existsSync(join(run, 'model.safetensors')))
  throw new Error(`${run ?? 'no folder'} is no run with weights: npm run figures -- runs/NAME`);
mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'retrieval.svg'), retrieval(run));
writeFileSync(join(out, 'neighbours.svg'), await neighbours(run));
console.log('docs/figures/retrieval.svg, docs/figures/neighbours.svg');
