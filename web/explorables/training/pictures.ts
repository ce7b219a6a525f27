/** Drawings as elements of a page. */
import { h } from '../kit/dom.js';
import { type Drawings, pixelsOf } from './drawings.js';

/** Pixels, [size, size, 3], as a canvas. */
export function canvasOf(pixels: Uint8Array, size: number, label: string): HTMLCanvasElement {
  const canvas = h('canvas', { width: size, height: size, class: 'drawing', role: 'img', 'aria-label': label });
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext('2d')!.putImageData(image, 0, 0);
  return canvas;
}

/** A drawing with its name as its label. */
export function drawingCanvas(drawings: Drawings, drawing: number): HTMLCanvasElement {
  const { name } = drawings.concepts[drawings.drawings[drawing]!.concept]!;
  return canvasOf(pixelsOf(drawings, drawing), drawings.size, name);
}
