// Runs the program of the editor, away from the page: what never ends can be ended.
import * as hopgrad from 'hopgrad';
import * as nn from 'hopgrad/nn';
import { withoutImports } from './modules.js';

const modules = { hopgrad, 'hopgrad/nn': nn };

const text = (value) => {
  if (typeof value === 'string') return value;
  if (value instanceof hopgrad.Tensor || value instanceof Error) return String(value);
  return JSON.stringify(value, (_, part) => (ArrayBuffer.isView(part) ? [...part] : part)) ?? String(value);
};
const print = (...values) => postMessage({ print: values.map(text).join(' ') });

self.onmessage = async ({ data: program }) => {
  const console = { log: print, info: print, warn: print, error: print };
  try {
    await hopgrad.init({ device: 'wasm', threads: 1 });
    postMessage({ started: true });
    const AsyncFunction = (async () => {}).constructor;
    await new AsyncFunction('modules', 'console', withoutImports(program, Object.keys(modules)))(modules, console);
    postMessage({ done: true });
  } catch (error) {
    postMessage({ failed: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
};
