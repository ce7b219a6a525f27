/** Searching with a run as it is now: words find drawings, drawings find names. */
import { button } from '../kit/controls.js';
import { h, panel, shown } from '../kit/dom.js';
import type { State } from '../kit/state.js';
import type { Client } from './client.js';
import type { Drawings } from './drawings.js';
import { drawingCanvas } from './pictures.js';
import type { Values } from './settings.js';
import { sketchPart } from './sketch.js';

const found = 8;

/** @param client of the run that is asked, where there is one; @param fail told what went wrong */
export function searchPart(
  state: State<Values>,
  drawings: Drawings,
  heldOut: readonly number[],
  client: () => Client | undefined,
  fail: (error: unknown) => void,
) {
  const input = h('input', { type: 'search', name: 'words', maxlength: 80, placeholder: 'red fruit' });
  const pictures = h('ol', { class: 'found', 'aria-live': 'polite' });
  const names = h('ol', { class: 'names', 'aria-live': 'polite' });
  let drawn: Uint8Array | null = null;

  const byWords = async () => {
    const { words } = state.values;
    const asked = client();
    if (words.trim() === '' || !asked) return pictures.replaceChildren();
    const results = await asked.ask('searchWords', words, found);
    pictures.replaceChildren(
      ...results.map(([drawing, cosine]) => {
        const picture = drawingCanvas(drawings, drawing);
        return h('li', {}, picture, h('span', {}, picture.getAttribute('aria-label')!, h('br'), shown(cosine, 2)));
      }),
    );
  };
  const byPicture = async () => {
    const asked = client();
    if (!drawn || !asked) return names.replaceChildren();
    const results = await asked.ask('searchPicture', drawn, found);
    names.replaceChildren(
      ...results.map(([concept, cosine]) => h('li', {}, `${drawings.concepts[concept]!.name} ${shown(cosine, 2)}`)),
    );
  };
  input.addEventListener('input', () => {
    state.set({ words: input.value });
    byWords().catch(fail);
  });
  state.hear(({ words }) => {
    if (input.value !== words) input.value = words;
  });
  const sketch = sketchPart(drawings.size, (pixels) => {
    drawn = pixels;
    byPicture().catch(fail);
  });
  const choose = h(
    'select',
    { name: 'drawing' },
    ...drawings.concepts.map(({ name }, i) => h('option', { value: i }, name)),
  );
  const take = button('Show it this drawing', () =>
    sketch.fill(drawingCanvas(drawings, heldOut[Number(choose.value)]!)),
  );
  const element = panel(
    'Search with it',
    h(
      'div',
      { class: 'search' },
      h(
        'div',
        {},
        h('label', { class: 'selection' }, h('span', {}, 'Words'), input),
        h('p', { class: 'hint' }, 'The held-out drawings that are closest, with their cosines.'),
        pictures,
      ),
      h('div', {}, sketch.element, h('label', { class: 'selection' }, h('span', {}, 'or'), choose), take, names),
    ),
  );
  /** Asks again: the model has moved on. */
  const again = () => Promise.all([byWords(), byPicture()]).then(() => {});
  return { element, again };
}
