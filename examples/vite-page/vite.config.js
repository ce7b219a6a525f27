// These two headers isolate the page, so that WebAssembly threads may share memory. Without them hopgrad uses one thread.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export default {
  base: './',
  server: { headers },
  preview: { headers },
  build: { target: 'esnext' },
};
