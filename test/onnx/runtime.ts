/**
 * ONNX Runtime, the engine under transformers.js: an implementation of ONNX that knows nothing of hopgrad. It is 140 MB of
 * builds, so it is no dependency: the first test that asks has npm put it into .build.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What is used of it. */
export interface Runtime {
  Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => Result;
  InferenceSession: {
    create(bytes: Uint8Array): Promise<{ run(feeds: Record<string, Result>): Promise<Record<string, Result>> }>;
  };
}
export interface Result {
  data: ArrayLike<number>;
  dims: readonly number[];
  type: string;
}

/** What Hugging Face's own tokenizers for JavaScript give. */
export interface Tokenizers {
  Tokenizer: new (json: object, config: object) => { encode(text: string): { ids: number[] } };
}

const folder = fileURLToPath(new URL('../../onnx-runtime', import.meta.url)); // in .build
const packages = { 'onnxruntime-web': '1.30.0', '@huggingface/tokenizers': '0.2.0' };

/** Skips the test without the registry, but not where everything is checked. */
export function needRuntime(this: Mocha.Context): void {
  const manifest = JSON.stringify({ private: true, type: 'module', dependencies: packages });
  if (existsSync(join(folder, 'node_modules/@huggingface/tokenizers'))) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), manifest);
  try {
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--prefer-offline'];
    execFileSync('npm', ['install', ...flags], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
      shell: process.platform === 'win32',
    });
  } catch (error) {
    const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH/.test(String((error as { stderr: string }).stderr));
    if (process.env.CI || !offline) throw error;
    this.skip();
  }
}

const load = async <T>(path: string): Promise<T> => import(pathToFileURL(join(folder, 'node_modules', path)).href);

/** @returns the runtime on one thread, quiet */
export async function runtime(): Promise<Runtime> {
  const module = await load<Runtime & { env: { logLevel: string; wasm: { numThreads: number } } }>(
    'onnxruntime-web/dist/ort.node.min.mjs',
  );
  module.env.logLevel = 'error';
  module.env.wasm.numThreads = 1;
  return module;
}

export const tokenizers = () => load<Tokenizers>('@huggingface/tokenizers/dist/tokenizers.mjs');
