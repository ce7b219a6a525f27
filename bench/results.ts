/** Keeps bench/RESULTS.md and RESULTS-gpu.md: a section per benchmark, replaced as a whole by each run with --write. */
import { readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const titles = {
  peers: 'Beside other libraries: `npm run bench:peers`',
  kernels: 'Kernels, layers and models: `npm run bench`',
  before: 'Kernels of two builds: `npm run bench:before`',
  fullSize: 'Official models at full size: `npm run bench:full-size`',
  largeBatches: 'Training steps of large batches: `npm run bench:large-batches`',
  ranks: 'Training on ranks: `npm run bench:ranks`',
  search: 'The nearest of many vectors: `npm run bench:search`',
  double: 'float64 beside float32: `npm run bench:double`',
  site: 'How soon pages of the site answer: `npm run bench:site`',
  profile: 'Where a training step spends its time: `npm run bench:profile`',
  gpu: 'Ops, products and steps on a gpu.js device: `npm run bench:gpu`',
  gpuPeers: 'Beside other libraries, on WebGPU in Chromium: `npm run bench:gpu-peers`',
};

/** Date, processor, runtime and load, for the reader of a table. */
function machine(): string {
  const processors = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const load = loadavg()[0]!.toFixed(1);
  return `${new Date().toISOString().slice(0, 10)}, ${processors.length} × ${processors[0]!.model.trim()}, ${memory} GiB, ${platform()} ${arch()}, Node ${process.version}, load ${load} at the end.`;
}

/** Rows of text as a Markdown table in even columns, numbers to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((_, column) => Math.max(3, ...[header, ...rows].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(header), line(rule), ...rows.map(line)].join('\n');
}

/** Milliseconds with three significant digits or so. */
export function milliseconds(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(ms >= 1 ? 2 : 3);
}

/** Replaces one section, or appends it; it ends where the next one begins. What else the files hold stays. */
export function writeSection(name: keyof typeof titles, text: string, fileName = 'RESULTS.md'): void {
  const file = fileURLToPath(new URL(`../../bench/${fileName}`, import.meta.url));
  const old = readFileSync(file, 'utf8');
  const section = `<!-- ${name} -->\n\n## ${titles[name]}\n\n${machine()}\n\n${text}\n`;
  const place = new RegExp(`<!-- ${name} -->\\n\\n## [^]*?(?=\\n<!-- \\w+ -->|\\n## |$)`);
  writeFileSync(file, place.test(old) ? old.replace(place, () => section) : `${old.trimEnd()}\n\n${section}`);
}
