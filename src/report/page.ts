/** The page of a report: it stands for itself, without network, whatever the runs are like. */
import type { Chart } from './chart.js';
import { configurationSection, runsSection } from './configuration.js';
import { chartsScript, reportStyle, uplotScript, uplotStyle } from './embedded.js';
import { heldOutSection, Pictures } from './held-out.js';
import { Html, html, json } from './html.js';
import type { RunData } from './run-data.js';
import { retrievalSection, trainingSection, zeroShotSection } from './training.js';

/** Colours of runs, by day and by night: told apart by those who see no red or no green, after Okabe & Ito. */
const palettes = {
  light: ['#0060a8', '#b84a00', '#007a5a', '#9a3b82', '#7a5c00', '#2b8cbe', '#8c1d18', '#444444'],
  dark: ['#6db6ff', '#ff9d5c', '#3fd0a4', '#f08fd0', '#e6c84a', '#9fdcff', '#ff8f88', '#c8c8c8'],
};

const colours = (palette: readonly string[]) => palette.map((colour, i) => `--run-${i}: ${colour};`).join(' ');

/** Runs of one name, in different folders, get the folder's name before their own. */
function named(runs: readonly RunData[]): RunData[] {
  const several = (run: RunData) => runs.filter(({ name }) => name === run.name).length > 1;
  return runs.map((run) => (several(run) ? { ...run, name: run.path } : run));
}

/**
 * A report of one run, or of several side by side.
 * @param date when it is made
 * @param version of hopgrad
 */
export function reportHtml(given: readonly RunData[], { date, version }: { date: Date; version: string }): string {
  const runs = named(given);
  const charts: Chart[] = [];
  const pictures = new Pictures();
  const title = runs.length === 1 ? runs[0]!.name : `${runs.length} runs`;
  const sections = [
    runsSection(runs),
    trainingSection(runs, charts),
    retrievalSection(runs, charts),
    zeroShotSection(runs),
    heldOutSection(runs, charts, pictures),
    configurationSection(runs),
  ];
  const links: [string, string][] = [
    ['training', 'Training'],
    ['saturation', 'Saturation'],
    ['retrieval', 'Retrieval'],
    ['zero-shot', 'Zero-shot'],
    ['held-out', 'Held-out pairs'],
    ['configuration', 'Configuration'],
  ];
  const style = new Html(
    `${uplotStyle}\n:root { ${colours(palettes.light)} }\n@media screen and (prefers-color-scheme: dark) { :root { ${colours(palettes.dark)} } }\n${reportStyle}`,
  );
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>${title} · hopgrad</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header><h1>${title}</h1>
<p>hopgrad ${version}, ${date.toISOString().slice(0, 16).replace('T', ' ')} UTC</p>
<nav aria-label="Sections"><ul>${links.map(([id, text]) => html`<li><a href="#${id}">${text}</a></li>`)}</ul></nav></header>
<noscript><p class="warnings">Charts and pictures need JavaScript; the tables do not.</p></noscript>
<main>
${sections}
</main>
<script type="application/json" id="report-data">${json({ charts, pictures: pictures.list, palettes })}</script>
<script>${new Html(uplotScript)}</script>
<script type="module">${new Html(chartsScript)}</script>
</body>
</html>
`.markup;
}
