// Two files at a time: many tests wait for a browser or for the command, and most of the others use one thread.
// mocha adds the files of its command line to `spec`; whoever names files wants these alone.
const named = process.argv.some((argument) => argument.endsWith('.test.js'));
module.exports = {
  ...(!named && { spec: ['.build/test/**/*.test.js'] }),
  timeout: 180_000,
  recursive: true,
  parallel: true,
  jobs: 2,
};
