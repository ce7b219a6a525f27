/**
 * The script of a report's page: draws its charts by uPlot, fills in its pictures, and lets its charts and maps be walked through by
 * mouse and keyboard. It is compiled with the rest and embedded as text, so it imports nothing; `uPlot` is a script before it.
 */

/** What is used of uPlot, which brings its types as a development dependency only. */
interface Plot {
  data: (number | null | undefined)[][];
  cursor: { idx?: number | null };
  setSize(size: { width: number; height: number }): void;
  setCursor(at: { left: number; top: number }): void;
  valToPos(value: number, scale: string): number;
  destroy(): void;
}
interface PlotClass {
  new (options: object, data: unknown, target: HTMLElement): Plot;
  join(tables: unknown[][]): (number | null | undefined)[][];
  paths: { stepped(options: { align: 1 | -1 }): unknown };
}
declare const uPlot: PlotClass;

/** As chart.ts makes them. */
interface Chart {
  x: string;
  y: string;
  log?: boolean;
  stepped?: boolean;
  series: { label: string; run: number; dashed?: boolean; x: number[]; y: (number | null)[] }[];
}

const { charts, pictures, palettes } = JSON.parse(document.getElementById('report-data')!.textContent!) as {
  charts: Chart[];
  pictures: string[];
  palettes: Record<'light' | 'dark', string[]>;
};
const dark = matchMedia('(prefers-color-scheme: dark)');
const height = 240;
let printing = false;

/** A number for a reader: four digits, none for their own sake. */
const text = (value: number | null | undefined) =>
  value === null || value === undefined ? '–' : String(Number(value.toPrecision(4)));
const tick = (value: number | null) => (value === null ? '' : String(Number(value.toPrecision(6))));

function draw(figure: HTMLElement): Plot {
  const chart = charts[Number(figure.dataset.chart)]!;
  const target = figure.querySelector<HTMLElement>('.plot')!;
  const night = dark.matches && !printing;
  const palette = palettes[night ? 'dark' : 'light'];
  const [ink, grid] = night ? ['#c9c9cf', '#3a3a42'] : ['#44444c', '#e2e2e6'];
  const axis = {
    stroke: ink,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    font: '12px system-ui',
  };
  const label = (words: string) => (words ? { label: words, labelSize: 18, labelFont: '12px system-ui' } : {});
  const decades = (_: Plot, __: number, least: number, most: number) => {
    const [from, to] = [Math.ceil(Math.log10(least)), Math.floor(Math.log10(most))];
    const each = Math.max(1, Math.ceil((to - from) / 6));
    return Array.from({ length: Math.floor((to - from) / each) + 1 }, (_, i) => 10 ** (from + i * each));
  };
  const power = (value: number | null) =>
    value === null ? '' : value < 1e-3 || value > 1e5 ? value.toExponential(0) : tick(value);
  const logarithmic = {
    splits: decades,
    filter: (_: Plot, all: number[]) => all,
    values: (_: Plot, all: number[]) => all.map(power),
  };
  const options = {
    width: printing ? 620 : target.clientWidth,
    height,
    scales: { x: { time: false }, y: chart.log ? { distr: 3 } : {} },
    axes: [
      { ...axis, ...label(chart.x), size: 30, values: (_: Plot, all: number[]) => all.map(tick) },
      {
        ...axis,
        ...label(chart.y),
        size: 58,
        ...(chart.log ? logarithmic : { values: (_: Plot, all: number[]) => all.map(tick) }),
      },
    ],
    legend: { markers: { dash: (_: Plot, i: number) => (chart.series[i - 1]?.dashed ? 'dashed' : 'solid') } },
    cursor: { drag: { x: true, y: false }, ...(chart.x === 'step' && { sync: { key: 'step' } }) },
    series: [
      { label: chart.x, value: (_: Plot, value: number | null) => text(value) },
      ...chart.series.map(({ label: name, run, dashed }) => ({
        label: name,
        stroke: palette[run % palette.length],
        width: 1.5,
        ...(dashed && { dash: [6, 4] }),
        ...(chart.stepped && { paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }),
        value: (_: Plot, value: number | null) => text(value),
      })),
    ],
  };
  const plot = new uPlot(options, uPlot.join(chart.series.map(({ x, y }) => [x, y])), target);
  for (const entry of target.querySelectorAll<HTMLElement>('.u-legend .u-series:not(:first-child) th')) {
    entry.tabIndex = 0; // shows and hides the series, as a click does
    entry.setAttribute('role', 'button');
    entry.onkeydown = (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      event.stopPropagation();
      entry.click();
    };
  }
  return plot;
}

const figures = [...document.querySelectorAll<HTMLElement>('figure[data-chart]')];
const plots = new Map<HTMLElement, Plot>();

/** Draws what is visible: a closed section has no width. */
function redraw(): void {
  for (const figure of figures) {
    plots.get(figure)?.destroy();
    plots.delete(figure);
    if (figure.querySelector<HTMLElement>('.plot')!.clientWidth > 0 || printing) plots.set(figure, draw(figure));
  }
}

const resized = new ResizeObserver((entries) => {
  if (printing) return;
  for (const { target } of entries) {
    const figure = target.closest<HTMLElement>('figure')!;
    const width = target.clientWidth;
    const plot = plots.get(figure);
    if (width === 0) continue;
    if (plot) plot.setSize({ width, height });
    else plots.set(figure, draw(figure));
  }
});

for (const figure of figures) {
  const target = figure.querySelector<HTMLElement>('.plot')!;
  const live = figure.querySelector<HTMLElement>('.live')!;
  const chart = charts[Number(figure.dataset.chart)]!;
  let at = -1;
  target.addEventListener('keydown', ({ key, target: on }) => {
    const plot = plots.get(figure);
    if (!plot || on !== target) return;
    const count = plot.data[0]!.length;
    const page = Math.max(1, Math.round(count / 20));
    const moves: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: count - 1,
    };
    if (!(key in moves)) return;
    at = Math.min(count - 1, Math.max(0, moves[key]!));
    plot.setCursor({ left: plot.valToPos(plot.data[0]![at]!, 'x'), top: height / 3 });
    const values = chart.series.map(({ label }, i) => `${label} ${text(plot.data[i + 1]![at])}`);
    live.textContent = `${chart.x} ${text(plot.data[0]![at])}: ${values.join(', ')}`;
  });
  target.addEventListener('keydown', (event) => {
    if (/^(Arrow(Left|Right)|Page(Up|Down)|Home|End)$/.test(event.key)) event.preventDefault();
  });
  resized.observe(target);
}

for (const image of document.querySelectorAll<HTMLImageElement>('img[data-picture]'))
  image.src = pictures[Number(image.dataset.picture)]!;

for (const map of document.querySelectorAll<HTMLElement>('figure.map')) {
  const svg = map.querySelector('svg')!;
  const found = map.querySelector<HTMLElement>('.found')!;
  const marks = [...svg.querySelectorAll<SVGGElement>('g')];
  const discs = marks.map((mark) =>
    [...mark.querySelectorAll('circle')].map((circle) => [circle.cx.baseVal.value, circle.cy.baseVal.value] as const),
  );
  let at = -1;
  const show = (next: number) => {
    if (next === at || !marks[next]) return;
    marks[at]?.classList.remove('on');
    at = next;
    const mark = marks[at]!;
    mark.classList.add('on');
    svg.append(mark); // above the others
    const caption = document.createElement('p');
    caption.textContent = mark.dataset.caption!;
    const image = document.createElement(mark.dataset.image ? 'img' : 'span');
    if (image instanceof HTMLImageElement) {
      image.src = pictures[Number(mark.dataset.image)]!;
      image.alt = '';
    } else {
      image.className = 'no-picture';
      image.textContent = 'no picture';
    }
    found.replaceChildren(image, caption);
  };
  const point = ({ clientX, clientY }: PointerEvent) => {
    const { left, top, width } = svg.getBoundingClientRect();
    const unit = svg.viewBox.baseVal.width / width;
    const [x, y] = [(clientX - left) * unit, (clientY - top) * unit];
    let [best, nearest] = [-1, 20]; // units: farther away nothing is meant
    discs.forEach((own, i) => {
      for (const [cx, cy] of own) {
        const distance = Math.hypot(cx - x, cy - y);
        if (distance < nearest) [best, nearest] = [i, distance];
      }
    });
    if (best >= 0) show(best);
  };
  svg.addEventListener('pointermove', point);
  svg.addEventListener('pointerdown', point);
  svg.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show((at + step + marks.length) % marks.length);
  });
}

dark.addEventListener('change', redraw);
const closed: HTMLDetailsElement[] = [];
addEventListener('beforeprint', () => {
  printing = true;
  for (const details of document.querySelectorAll<HTMLDetailsElement>('details.set:not([open])')) {
    details.open = true;
    closed.push(details);
  }
  redraw();
});
addEventListener('afterprint', () => {
  printing = false;
  for (const details of closed.splice(0)) details.open = false;
  redraw();
});
