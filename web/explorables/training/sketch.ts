/** A sheet to draw on with mouse, finger or pen, as a picture of the model's size. */
import { button } from '../kit/controls.js';
import { h } from '../kit/dom.js';

const sheet = 256;
const colours = ['#222222', '#d32f2f', '#f9a825', '#2e7d32', '#1565c0', '#8d5a2b', '#ffffff'];
const names = ['black', 'red', 'yellow', 'green', 'blue', 'brown', 'white'];

/** @param drawn called with [size, size, 3] whenever a line ends, or the sheet is cleared or filled */
export function sketchPart(size: number, drawn: (pixels: Uint8Array) => void) {
  const canvas = h('canvas', {
    ...{ width: sheet, height: sheet, class: 'sketch', role: 'img' },
    'aria-label': 'Sheet to draw on',
  });
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  context.lineCap = context.lineJoin = 'round';
  let colour = colours[0]!;
  let before: [number, number] | null = null;
  const clear = () => {
    context.fillStyle = 'white';
    context.fillRect(0, 0, sheet, sheet);
  };
  clear();
  const small = h('canvas', { width: size, height: size });
  const read = () => {
    const reduced = small.getContext('2d', { willReadFrequently: true })!;
    reduced.imageSmoothingQuality = 'high';
    reduced.drawImage(canvas, 0, 0, size, size);
    const { data } = reduced.getImageData(0, 0, size, size);
    drawn(Uint8Array.from({ length: 3 * size * size }, (_, i) => data[4 * Math.floor(i / 3) + (i % 3)]!));
  };
  const at = (event: PointerEvent): [number, number] => {
    const { left, top, width } = canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * sheet, ((event.clientY - top) / width) * sheet];
  };
  const line = (to: [number, number]) => {
    context.strokeStyle = colour;
    context.lineWidth = 18;
    context.beginPath();
    context.moveTo(...(before ?? to));
    context.lineTo(...to);
    context.stroke();
    before = to;
  };
  canvas.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    line(at(event));
  });
  canvas.addEventListener('pointermove', (event) => {
    if (before) line(at(event));
  });
  for (const end of ['pointerup', 'pointercancel'])
    canvas.addEventListener(end, () => {
      if (before) read();
      before = null;
    });
  const swatches = colours.map((value, i) => {
    const swatch = button('', () => choose(i), { class: 'swatch', 'aria-label': names[i]! });
    swatch.style.background = value;
    return swatch;
  });
  const choose = (chosen: number) => {
    colour = colours[chosen]!;
    for (const [i, swatch] of swatches.entries()) swatch.setAttribute('aria-pressed', String(i === chosen));
  };
  choose(0);
  const wipe = button('Clear', () => {
    clear();
    read();
  });
  return {
    element: h(
      'div',
      { class: 'sketch-part' },
      canvas,
      h('div', { class: 'bar', role: 'group', 'aria-label': 'Colours' }, ...swatches, wipe),
    ),
    /** Puts a picture on the sheet. */
    fill(picture: HTMLCanvasElement) {
      clear();
      context.imageSmoothingEnabled = true;
      context.drawImage(picture, 0, 0, sheet, sheet);
      read();
    },
  };
}
