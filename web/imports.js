// Names as in Node, for the browser: one place for the page and the tests.
const map = {
  imports: {
    hopgrad: '/dist/index.js',
    'hopgrad/nn': '/dist/nn/index.js',
    'hopgrad/models/cloob': '/dist/models/cloob/index.js',
    '@petamoriken/float16': '/node_modules/@petamoriken/float16/src/index.mjs',
    entities: '/node_modules/entities/dist/index.js',
    uplot: '/node_modules/uplot/dist/uPlot.esm.js',
    '#cpu': '/dist/kernels/cpu-later.js',
    '#src/': '/dist/',
  },
};
const script = document.createElement('script');
script.type = 'importmap';
script.textContent = JSON.stringify(map);
document.currentScript.after(script);
