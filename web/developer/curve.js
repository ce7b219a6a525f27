// The loss while it falls.
import uPlot from 'uplot';

/** Ends the fitting of the curve before. */
let stop = () => {};

/**
 * @param memoriesFrom the step from which on memories answer, marked by a line
 * @returns a curve that grows with add(step, loss)
 */
export function lossCurve(container, { memoriesFrom }) {
  stop();
  container.replaceChildren();
  const steps = [];
  const losses = [];
  // Asked at every drawing: the scheme of colours may change, as the width may.
  const colour = () => getComputedStyle(document.body).color;
  const size = () => ({ width: Math.min(1000, container.clientWidth), height: 260 });
  const axis = { stroke: colour, grid: { stroke: 'rgba(128, 128, 128, 0.25)' } };
  const mark = (u) => {
    const at = u.valToPos(memoriesFrom, 'x', true);
    const { left, top, width, height } = u.bbox;
    if (!(at >= left && at <= left + width)) return;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour();
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(at, top);
    ctx.lineTo(at, top + height);
    ctx.stroke();
    ctx.textAlign = 'right';
    ctx.fillText('memories from here', at - 5, top + 14 * devicePixelRatio);
    ctx.restore();
  };
  const plot = new uPlot(
    {
      ...size(),
      scales: { x: { time: false } },
      hooks: { draw: [mark] },
      axes: [
        { ...axis, label: 'step' },
        { ...axis, label: 'loss' },
      ],
      series: [{ label: 'step' }, { label: 'CLOOB loss', stroke: '#2a6fdb', width: 2 }],
    },
    [steps, losses],
    container,
  );
  const redraw = () => plot.redraw(false);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const observer = new ResizeObserver(() => plot.width === size().width || plot.setSize(size()));
  dark.addEventListener('change', redraw);
  observer.observe(container);
  stop = () => {
    dark.removeEventListener('change', redraw);
    observer.disconnect();
  };
  return {
    losses,
    add(step, loss) {
      steps.push(step);
      losses.push(loss);
      plot.setData([steps, losses]);
    },
  };
}
