export default {
  mode: 'production',
  entry: './src/main.js',
  output: { filename: 'main.js', clean: true },
  performance: { hints: false }, // the kernels are chunks of their own, loaded when a device asks for them
};
