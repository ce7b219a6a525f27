/** The similarities of some held-out pairs as a square of cells: point at one, or walk by arrow keys, to see what it compares. */
import { h, shown } from '../kit/dom.js';
import type { Drawings } from './drawings.js';
import type { View } from './model.js';
import { drawingCanvas } from './pictures.js';

export interface Matrix {
  cosines: number[][];
  p: number[][];
}

const side = 24;

/** Concepts of the square, spread over all of them. */
export const concepts = (drawings: Drawings) =>
  Array.from({ length: side }, (_, i) => Math.floor((i * drawings.concepts.length) / side));

export function matrixPart(drawings: Drawings, heldOut: readonly number[]) {
  const canvas = h('canvas', {
    ...{ width: side, height: side, class: 'matrix', tabindex: 0, role: 'img' },
    'aria-label': `Cosines of ${side} pictures and ${side} names; arrow keys walk through the cells`,
  });
  const info = h('div', { class: 'cell-info', role: 'status' });
  const scaleText = h('p', { class: 'hint' });
  const ids = concepts(drawings);
  let shownMatrix: { matrix: Matrix; view: View } | undefined;
  let at: [row: number, column: number] = [0, 0];

  const tell = () => {
    if (!shownMatrix) return;
    const { matrix, view } = shownMatrix;
    const [row, column] = at;
    const name = (i: number) => drawings.concepts[ids[i]!]!.name;
    // Rows are anchors: pictures, but names where the text memory answers.
    const [picture, text] = view === 'text' ? [column, row] : [row, column];
    info.replaceChildren(
      drawingCanvas(drawings, heldOut[ids[picture]!]!),
      h(
        'p',
        {},
        h('b', {}, name(picture)),
        ` (picture) and “${name(text)}” (name)`,
        h('br'),
        `cosine ${shown(matrix.cosines[row]![column]!)}, p ${shown(matrix.p[row]![column]!)}${row === column ? ', a pair' : ''}`,
      ),
    );
    paint();
  };
  const paint = () => {
    if (!shownMatrix) return;
    const scale = 12;
    canvas.width = canvas.height = side * scale;
    const context = canvas.getContext('2d')!;
    const styles = getComputedStyle(canvas);
    const [high, low] = [styles.getPropertyValue('--one'), styles.getPropertyValue('--two')];
    context.clearRect(0, 0, canvas.width, canvas.height);
    const most = Math.max(...shownMatrix.matrix.cosines.flat().map(Math.abs));
    scaleText.textContent = `Fullest colour: ±${shown(most, 2)}`;
    shownMatrix.matrix.cosines.forEach((row, i) => {
      row.forEach((cosine, j) => {
        context.globalAlpha = Math.abs(cosine) / most;
        context.fillStyle = resolved(canvas, cosine < 0 ? low : high);
        context.fillRect(j * scale, i * scale, scale, scale);
      });
    });
    context.globalAlpha = 1;
    context.strokeStyle = styles.color;
    context.lineWidth = 1.5;
    context.strokeRect(at[1] * scale + 1, at[0] * scale + 1, scale - 2, scale - 2);
  };
  const go = (row: number, column: number) => {
    const inside = (i: number) => Math.max(0, Math.min(side - 1, i));
    at = [inside(row), inside(column)];
    tell();
  };
  const point = (event: PointerEvent) => {
    const { left, top, width } = canvas.getBoundingClientRect();
    go(Math.floor(((event.clientY - top) / width) * side), Math.floor(((event.clientX - left) / width) * side));
  };
  canvas.addEventListener('pointermove', point);
  canvas.addEventListener('pointerdown', point);
  canvas.addEventListener('keydown', (event) => {
    const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!way) return;
    event.preventDefault();
    go(at[0] + way[0]!, at[1] + way[1]!);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', paint);
  return {
    element: h('div', { class: 'matrix-part' }, canvas, h('div', {}, info, scaleText)),
    show(matrix: Matrix, view: View) {
      shownMatrix = { matrix, view };
      tell();
    },
  };
}

/** A colour that a canvas takes, of one that only CSS resolves (light-dark). */
function resolved(near: HTMLElement, colour: string): string {
  if (known.element !== near) {
    known.element = near;
    known.colours.clear();
  }
  const key = `${colour} ${matchMedia('(prefers-color-scheme: dark)').matches}`;
  let found = known.colours.get(key);
  if (!found) {
    const probe = h('span');
    probe.style.color = colour;
    near.parentElement!.append(probe);
    found = getComputedStyle(probe).color;
    probe.remove();
    known.colours.set(key, found);
  }
  return found;
}
const known = { element: null as HTMLElement | null, colours: new Map<string, string>() };
