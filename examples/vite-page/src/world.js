// What there is to see: eight colours, six shapes, and a caption for each pair.
export const colours = [
  { name: 'red', rgb: [220, 30, 30] },
  { name: 'green', rgb: [30, 160, 50] },
  { name: 'blue', rgb: [40, 70, 220] },
  { name: 'yellow', rgb: [240, 210, 30] },
  { name: 'orange', rgb: [245, 140, 20] },
  { name: 'purple', rgb: [140, 50, 180] },
  { name: 'brown', rgb: [120, 75, 40] },
  { name: 'black', rgb: [20, 20, 20] },
];

/** Whether a point, in radii from the centre, lies inside. */
export const shapes = [
  { name: 'circle', inside: (x, y) => x * x + y * y < 1 },
  { name: 'square', inside: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.9 },
  { name: 'triangle', inside: (x, y) => y < 0.8 && y > 2 * Math.abs(x) - 1 },
  { name: 'ring', inside: (x, y) => Math.abs(Math.hypot(x, y) - 0.75) < 0.22 },
  {
    name: 'cross',
    inside: (x, y) => Math.min(Math.abs(x), Math.abs(y)) < 0.28 && Math.max(Math.abs(x), Math.abs(y)) < 1,
  },
  { name: 'bar', inside: (x, y) => Math.abs(x) < 1.1 && Math.abs(y) < 0.3 },
];

export const captions = colours.flatMap((colour) => shapes.map((shape) => `a ${colour.name} ${shape.name}`));
