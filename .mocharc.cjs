// Two files at a time: many tests wait for a browser or for the command, and most of the others use one thread.
module.exports = { spec: ['.build/test/**/*.test.js'], timeout: 180_000, recursive: true, parallel: true, jobs: 2 };
