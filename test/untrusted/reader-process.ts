/**
 * Reads what another process sends and says how it ended: a test of hostile bytes must survive a hang, an exhausted heap and
 * an exception that nobody catches. Messages: { reader, bytes } or { reader, path }.
 */
import '#src/autograd/ops/index.js';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HopgradError } from 'hopgrad';
import {
  loadCheckpoint,
  loadHeads,
  openTorchFile,
  readClassNames,
  readSafetensors,
  readTemplates,
  type TorchTensor,
} from 'hopgrad/models/cloob';
import { cocoSource } from '#src/data/coco.js';
import { decode } from '#src/data/decode.js';
import { readIdx } from '#src/data/idx.js';
import { jsonLinesSource } from '#src/data/json-lines.js';
import type { Source } from '#src/data/source.js';
import { tableSource } from '#src/data/table.js';
import { webDatasetSource } from '#src/data/webdataset.js';
import { openNpy } from '#src/formats/npy.js';
import { modelConfig } from '#src/train/options.js';
import { readRecord } from '#src/train/record.js';

const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
process.on('disconnect', () => process.exit());

const placed = (bytes: Uint8Array, name: string) => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

/** Reads all rows, with the memory that a loader would give them: none. */
async function rows(source: Source): Promise<string> {
  let [good, bad] = [0, 0];
  for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false })) 'bad' in row ? bad++ : good++;
  return `${good} rows, ${bad} bad`;
}

console.warn = () => {}; // rows that are passed over
const readers: Record<string, (bytes: Uint8Array, path?: string) => unknown> = {
  safetensors: (bytes) => Object.keys(readSafetensors(bytes).tensors).length,
  checkpoint: async (bytes, path) => (await loadCheckpoint(path ?? bytes)).matched.length,
  torch: async (bytes, path) => {
    const { value, close } = await openTorchFile(path ?? placed(bytes, 'x.pt'));
    const tensors = value instanceof Map ? [...value.values()] : [value];
    let elements = 0;
    for (const t of tensors)
      if (t && typeof (t as TorchTensor).read === 'function') elements += (t as TorchTensor).read().length;
    close();
    return elements;
  },
  heads: (bytes) => loadHeads(bytes).model.parameterCount(),
  templates: (bytes) => readTemplates(placed(bytes, 'prompts.txt')).length,
  classes: (bytes) => readClassNames(placed(bytes, 'classes.txt')).length,
  model: (bytes) => modelConfig({ model: placed(bytes, 'model.json'), center: 'off' }).embed_dim,
  record: (bytes) => readRecord(placed(bytes, 'manifest.json')).sessions.length,
  npy: (bytes) => openNpy(bytes).read().length,
  idx: (bytes) => readIdx('x', bytes).shape,
  image: async (bytes, path) => {
    const { width, height } = await decode(path ? { path } : { bytes });
    return `${width} × ${height}`;
  },
  tsv: async (bytes, path) => rows(await tableSource(path ?? placed(bytes, 'x.tsv'))),
  csv: async (bytes) => rows(await tableSource(placed(bytes, 'x.csv'), { separator: ',' })),
  jsonl: async (bytes, path) => rows(await jsonLinesSource(path ?? placed(bytes, 'x.jsonl'))),
  coco: async (bytes, path) => rows(await cocoSource(path ?? placed(bytes, 'captions.json'), { folder: '/' })),
  tar: async (bytes, path) => rows(await webDatasetSource(path ?? placed(bytes, 'x.tar'))),
  tgz: async (bytes) => rows(await webDatasetSource(placed(bytes, 'x.tar.gz'))),
};

process.on('message', async ({ reader, bytes, path }: { reader: string; bytes: Uint8Array; path?: string }) => {
  const rssBefore = process.resourceUsage().maxRSS;
  let outcome: Record<string, unknown>;
  try {
    outcome = { result: String(await readers[reader]!(bytes, path)) };
  } catch (error) {
    const typed = error instanceof HopgradError;
    outcome = { error: String((error as Error).message), typed, stack: typed ? '' : (error as Error).stack };
  }
  // Nothing that was read may have become a member of every object.
  if (Object.keys(Object.prototype).length > 0 || 'polluted' in {})
    outcome = { error: 'prototype pollution', typed: false };
  process.send!({ ...outcome, grownKiB: process.resourceUsage().maxRSS - rssBefore });
});
process.send!('ready');
