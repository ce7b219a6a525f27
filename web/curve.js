// The loss while it falls.
import uPlot from 'uplot';

/** @returns a curve that grows with add(step, loss) */
export function lossCurve(container) {
  container.replaceChildren();
  const steps = [];
  const losses = [];
  const colour = getComputedStyle(document.body).color;
  const axis = { stroke: colour, grid: { stroke: 'rgba(128, 128, 128, 0.25)' } };
  const plot = new uPlot(
    {
      width: Math.min(1000, container.clientWidth),
      height: 260,
      scales: { x: { time: false } },
      axes: [axis, axis],
      series: [{ label: 'step' }, { label: 'CLOOB loss', stroke: '#2a6fdb', width: 2 }],
    },
    [steps, losses],
    container,
  );
  return {
    losses,
    add(step, loss) {
      steps.push(step);
      losses.push(loss);
      plot.setData([steps, losses]);
    },
  };
}
