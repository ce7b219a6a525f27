/** A library in a tab of its own: on WebGPU, asked through window.ask. What serve.mjs is in Node. */
import { answerer } from './answer.mjs';

export const backend = 'webgpu';

/** The queues of this tab's devices: nobody's word is taken for it that they are empty. */
const queues = [];
const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = async function (...args) {
  const device = await requestDevice.apply(this, args);
  queues.push(device.queue);
  return device;
};

export async function versionOf(name) {
  return (await (await fetch(new URL(`./node_modules/${name}/package.json`, import.meta.url))).json()).version;
}

export async function serve({ library, ...works }) {
  window.library = library;
  window.ask = answerer(works, () => Promise.all(queues.map((queue) => queue.onSubmittedWorkDone())));
}
