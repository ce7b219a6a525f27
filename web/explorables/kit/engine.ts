/** hopgrad for explorables that compute a few numbers at every move: WebAssembly in this thread, read at once. */
import { init } from 'hopgrad';
import { h, nextFrame } from './dom.js';
import './style.css';

/** Starts the engine, then shows what `build` makes; what goes wrong is said in its place. */
export async function begin(element: HTMLElement, build: () => readonly HTMLElement[]): Promise<void> {
  element.classList.add('explorable');
  element.setAttribute('aria-busy', 'true');
  try {
    await init({ device: 'wasm', threads: 1 });
    element.replaceChildren(...build());
    await nextFrame(); // what follows the state is drawn in it: until then sliders have no value
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    element.replaceChildren(h('p', { class: 'fault', role: 'alert' }, `This page could not start: ${said}`));
    throw error;
  } finally {
    element.removeAttribute('aria-busy');
  }
}
