// Two files at a time: many tests wait for a browser or for the command, and most of the others use one thread. Those that
// take longest come first, so that no worker is left alone with one of them. cli/terminal draws the emoji for data/emoji.
const { readdirSync } = require('node:fs');

const longest = [
  'package/package',
  'browser/conformance',
  'browser/explorables',
  'browser/explorables-training',
  'models/cloob/golden',
  'browser/webgl2',
  'fuzz/devices',
  'cli/terminal',
  'cli/cli',
  'cli/resume',
  'site/developer',
  'site/site',
  'conformance/node',
].map((name) => `.build/test/${name}.test.js`);
const all = () =>
  readdirSync('.build/test', { recursive: true })
    .map((name) => `.build/test/${name}`)
    .filter((name) => name.endsWith('.test.js'))
    .sort();

// mocha adds the files of its command line to `spec`; whoever names files wants these alone.
const named = process.argv.some((argument) => argument.endsWith('.test.js'));
module.exports = {
  ...(!named && { spec: [...longest, ...all().filter((name) => !longest.includes(name))] }),
  require: ['.build/test/hooks.js'],
  timeout: 180_000,
  recursive: true,
  parallel: true,
  jobs: 2,
};
