/** What a model makes of held-out pairs: cosines, spectra, a map, and the searches that went best and worst. */
import type { HeldOut, HeldOutSet, Search } from '../train/held-out.js';
import { shellWord } from '../train/shell-word.js';
import { type Chart, figure, histogramCurve } from './chart.js';
import { type Html, html, percent, shown, table } from './html.js';
import type { RunData } from './run-data.js';
import { withInterval } from './training.js';

/** Pictures of the page, each once: their number is what the page names them by. */
export class Pictures {
  readonly list: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** An image that the page's script fills, or a mark where there is no picture. */
  image(picture: string | null, caption: string): Html {
    const number = this.numberOf(picture);
    if (number === null) return html`<span class="no-picture">no picture</span>`;
    return html`<img data-picture="${number}" alt="${caption}" width="64" height="64">`;
  }

  numberOf(picture: string | null): number | null {
    if (picture === null) return null;
    let number = this.#numbers.get(picture);
    if (number === undefined) {
      number = this.list.push(picture) - 1;
      this.#numbers.set(picture, number);
    }
    return number;
  }
}

interface Measured {
  run: RunData;
  /** Its number among all runs. */
  at: number;
  figures: HeldOut;
  own: HeldOutSet;
}

/** What the models make of held-out pairs: figures, histograms, spectrum, map, best and worst searches. */
export function heldOutSection(runs: readonly RunData[], charts: Chart[], pictures: Pictures): Html {
  const measured = runs.flatMap((run, at) =>
    (run.heldOut?.sets ?? []).map((own): Measured => ({ run, at, figures: run.heldOut!, own })),
  );
  const without = runs.filter(({ heldOut }) => !heldOut || heldOut.sets.length === 0);
  const names = [...new Set(measured.map(({ own }) => own.set))];
  return html`<section id="held-out"><h2>Held-out pairs</h2>
${without.map(
  (run) =>
    html`<p class="note">${run.name} has no figures of held-out pairs. <code>${evalCommand(run)}</code> measures its newest weights, also while it is trained.</p>`,
)}
${names.map((name, i) =>
  setSection(
    measured.filter(({ own }) => own.set === name),
    { runs, charts, pictures, open: i === 0 },
  ),
)}</section>`;
}

function evalCommand({ path, record: { data } }: RunData): string {
  const val = data.val ? ` --val-data ${shellWord(data.val.path)}` : '';
  return `npx hopgrad eval --figures --checkpoint ${shellWord(path)}${val}${data.train.validation ? ' --validation' : ''}`;
}

function setSection(
  measured: readonly Measured[],
  parts: { runs: readonly RunData[]; charts: Chart[]; pictures: Pictures; open: boolean },
): Html {
  const { runs, charts, pictures, open } = parts;
  const { set, title } = measured[0]!.own;
  const label = (own: Measured, what: string) => (runs.length > 1 ? `${own.run.name}, ${what}` : what);
  const colour = (own: Measured, k: number) => (runs.length > 1 ? own.at : k);
  const cosines = measured.flatMap((m) => [
    { label: label(m, 'partners'), run: colour(m, 0), ...histogramCurve(m.own.partnerCosine) },
    { label: label(m, 'others'), run: colour(m, 1), dashed: true, ...histogramCurve(m.own.otherCosine) },
  ]);
  const p1 = measured.map((m) => ({ label: m.run.name, run: m.at, ...histogramCurve(m.own.partnerProbability) }));
  const spectrum = measured.flatMap((m) =>
    (['pictures', 'captions'] as const).map((which, k) => ({
      label: label(m, which),
      run: colour(m, k),
      dashed: k > 0,
      x: m.own[which].eigenvalues.map((_, i) => i + 1),
      y: m.own[which].eigenvalues,
    })),
  );
  const heading = title ? `${set}: ${title}` : set;
  return html`<details class="set"${open ? html` open` : ''}><summary><h3>${heading}</h3></summary>
${numbersTable(measured)}
<div class="charts">
${figure({ title: `Cosines of partners and of others, ${set}`, x: 'cosine', y: 'share', stepped: true, series: cosines }, charts)}
${figure(
  { title: `Saturation p₁ among all of ${set}`, x: 'p₁', y: 'share', stepped: true, series: p1 },
  charts,
  'How sure a softmax with τ⁻¹ over all captions is of the partner.',
)}
${figure(
  { title: `Spectrum, ${set}`, x: 'eigenvalue, by size', y: '', log: true, series: spectrum },
  charts,
  'Eigenvalues of the covariance of the embeddings, largest first; logarithmic.',
)}
</div>
${measured.map((own) => mapFigure(own, pictures))}
${measured.map((own) => searchesOf(own, pictures))}</details>`;
}

function numbersTable(measured: readonly Measured[]): Html {
  const rows: [string, (own: HeldOutSet, figures: HeldOut) => string][] = [
    ['after step', (_, { step }) => String(step ?? '–')],
    ['pairs', ({ count }) => String(count)],
    ['picture → text, recall@1 %', ({ imageToText: way }) => withInterval(way.recall[1], way.count)],
    ['text → picture, recall@1 %', ({ textToImage: way }) => withInterval(way.recall[1], way.count)],
    ['cosine of partners', ({ partnerCosine: own }) => spread(own)],
    ['cosine of others', ({ otherCosine: own }) => spread(own)],
    ['p₁', ({ partnerProbability: own }, { invTau }) => `${spread(own)}, τ⁻¹ ${shown(invTau, 3)}`],
    ['alignment E‖x − y‖²', (own) => shown(own.alignment)],
    ['effective eigenvalues, pictures', ({ pictures: own }) => ofAll(own)],
    ['effective eigenvalues, captions', ({ captions: own }) => ofAll(own)],
    ['effective patterns, pictures', ({ pictures: own }, { beta }) => `${shown(own.effectivePatterns)}, β ${beta}`],
    ['effective patterns, captions', ({ captions: own }, { beta }) => `${shown(own.effectivePatterns)}, β ${beta}`],
    ['uniformity, pictures', ({ pictures: own }) => shown(own.uniformity)],
    ['uniformity, captions', ({ captions: own }) => shown(own.uniformity)],
  ];
  return table(
    `Figures of ${measured[0]!.own.set}`,
    ['', ...measured.map(({ run }) => run.name)],
    rows.map(([title, of]) => [title, ...measured.map(({ own, figures }) => of(own, figures))]),
  );
}

const spread = ({ mean, deviation }: { mean: number; deviation: number }) =>
  `${shown(mean, 3)} ± ${shown(deviation, 2)}`;
const ofAll = (own: HeldOutSet['pictures']) => `${own.eigenvaluesFor99Percent} of ${own.eigenvalues.length}`;

/** Units a side of a map. */
const side = 400;

/** Pictures as discs and captions as rings, in the plane in which they vary most; one scale for both axes. */
function mapFigure({ run, own }: Measured, pictures: Pictures): Html {
  const { points, shares } = own.map;
  const all = points.flatMap(({ picture, caption }) => [picture, caption]);
  const middle = [0, 1].map((k) => (Math.min(...all.map((p) => p[k]!)) + Math.max(...all.map((p) => p[k]!))) / 2);
  const reach = Math.max(1e-12, ...all.flatMap((p) => [0, 1].map((k) => Math.abs(p[k]! - middle[k]!))));
  const at = ([x, y]: readonly [number, number]) =>
    [x - middle[0]!, middle[1]! - y].map((value) => Number((side / 2 + (0.47 * side * value) / reach).toFixed(1)));
  const title = `Map of ${points.length} pairs of ${own.set}, ${run.name}`;
  const marks = points.map(({ pair, picture, caption }) => {
    const { caption: text, picture: shownPicture } = own.pairs[pair]!;
    const number = pictures.numberOf(shownPicture);
    const [x1, y1, x2, y2] = [...at(picture), ...at(caption)] as [number, number, number, number];
    return html`<g data-caption="${text}" data-image="${number ?? ''}"><line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/><circle cx="${x1}" cy="${y1}" r="4"/><circle class="ring" cx="${x2}" cy="${y2}" r="3.5"/></g>`;
  });
  return html`<figure class="map"><figcaption>${title}</figcaption>
<div class="beside"><svg viewBox="0 0 ${side} ${side}" tabindex="0" role="img" aria-label="${title}. Arrow keys go from pair to pair; the table below lists them.">${marks}</svg>
<div class="found" aria-live="polite"><p class="none">Point at a disc (picture) or a ring (its caption), or use the arrow keys.</p></div></div>
<p class="note">Principal components of pictures and captions together; the axes carry ${shares.map((own) => `${percent(own)} %`).join(' and ')} of the variance. Lines of partners show when pointed at.</p>
<details><summary>Table: ${title}</summary>${table(
    title,
    ['caption', 'picture', 'picture at', 'caption at'],
    points.map(({ pair, picture, caption }) => {
      const { caption: text, picture: itsPicture } = own.pairs[pair]!;
      const place = (p: readonly [number, number]) => `${shown(p[0], 3)}, ${shown(p[1], 3)}`;
      return [text, pictures.image(itsPicture, ''), place(picture), place(caption)];
    }),
    { numbers: 2 },
  )}</details></figure>`;
}

function searchesOf({ run, own }: Measured, pictures: Pictures): Html {
  const one = (search: Search, way: 'imageToText' | 'textToImage') => {
    const { query, rank, cosine, other, otherCosine } = search;
    const [asked, found] = [own.pairs[query]!, own.pairs[other]!];
    const best = rank === 1 ? 'next best' : 'found first';
    const facts = html`<p>${rank === 1 ? 'first' : `place ${rank} of ${own.count}`}, cosine ${cosine.toFixed(3)}</p>`;
    const caption = (text: string) => html`<p class="caption"><bdi>${text}</bdi></p>`;
    const result = way === 'imageToText' ? caption(found.caption) : pictures.image(found.picture, found.caption);
    return html`<li class="search"><div>${pictures.image(asked.picture, asked.caption)}${caption(asked.caption)}</div><div>${facts}<p>${best} (${otherCosine.toFixed(3)}):</p>${result}</div></li>`;
  };
  const list = (title: string, of: readonly Search[], way: 'imageToText' | 'textToImage') =>
    of.length > 0 ? html`<h5>${title}</h5><ul class="searches">${of.map((search) => one(search, way))}</ul>` : '';
  const ways = [
    ['imageToText', 'Picture → caption'],
    ['textToImage', 'Caption → picture'],
  ] as const;
  return html`<div class="extremes"><h4>Best and worst searches in ${own.set}, ${run.name}</h4>
<p class="note">Among ${own.count} pairs. The best find their partner first, farthest before all others; the worst find it last.</p>
${ways.map(([way, title]) => [list(`${title}, best`, own.searches[way].best, way), list(`${title}, worst`, own.searches[way].worst, way)])}</div>`;
}
