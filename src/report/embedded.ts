/** What a report is drawn with, as texts for its page. The build puts them here in dist/; empty before that. */

/** uPlot 1.6: the script, which sets `uPlot`, and its style. */
export const uplotScript: string = '';
export const uplotStyle: string = '';
/** charts.ts, compiled, and report.css. */
export const chartsScript: string = '';
export const reportStyle: string = '';
