// The page of `hopgrad serve`. The query is in the address, so that going back works; a picture from outside is not.
// Names of files are strangers' text: they go into textContent and attributes only.
const find = (selector) => document.querySelector(selector);
const [form, status, like, results, dialog] = ['form', '#status', '#like', 'main', 'dialog'].map(find);
const words = form.elements.words;
const file = find('input[type=file]');
const about = await (await fetch('/about')).json();
document.title = `${about.data} – pictures`;
const pictures = about.pictures === 1 ? '1 picture' : `${about.pictures.toLocaleString()} pictures`;
status.textContent = `${pictures} of ${about.data}${about.complete ? '' : ' (part of them: embedding was interrupted)'}. Type words, or choose, drop or paste a picture, or both.`;

/** A picture from outside to search with, or null. */
let picture = null;
/** Answers to earlier questions come too late. */
let latest = 0;

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** How many characters of all these names are the folders that they share: in a narrow caption they would be all there is. */
function sharedFolders(names) {
  const [first = '', ...others] = names;
  let length = first.lastIndexOf('/') + 1;
  while (length > 0 && !others.every((name) => name.startsWith(first.slice(0, length))))
    length = first.lastIndexOf('/', length - 2) + 1;
  return length;
}

function figure({ at, name, similarity }, folders) {
  const image = make('img', { src: `/picture/${at}`, alt: name, loading: 'lazy' });
  image.onerror = () => image.replaceWith('cannot be shown');
  const show = make('button', { className: 'show', title: name }, image);
  show.onclick = () => {
    dialog.querySelector('img').src = `/picture/${at}?large`;
    dialog.querySelector('p').textContent = name;
    dialog.showModal();
  };
  const more = make('button', { className: 'more', textContent: 'More like this' });
  more.onclick = () => go({ words: '', like: at, name });
  return make(
    'figure',
    {},
    show,
    make('figcaption', { textContent: `${similarity.toFixed(3)} ${name.slice(folders)}`, title: name }),
    more,
  );
}

function showLike(source, name) {
  like.hidden = source === null;
  if (source === null) return;
  like.querySelector('img').src = source;
  like.querySelector('span').textContent = name;
}

/** Shows what the address asks for. */
async function search() {
  const mine = ++latest;
  const query = new URLSearchParams(location.search);
  const at = query.get('like');
  words.value = query.get('words') ?? '';
  if (!picture) showLike(at === null ? null : `/picture/${at}`, history.state?.name ?? '');
  if (!words.value && at === null && !picture) {
    results.replaceChildren();
    return;
  }
  status.textContent = 'Searching…';
  try {
    const answer = await fetch(`/search?${query}`, picture ? { method: 'POST', body: picture } : {});
    const found = await answer.json();
    if (mine !== latest) return;
    if (!answer.ok) throw new Error(found.error);
    const folders = sharedFolders(found.matches.map(({ name }) => name));
    results.replaceChildren(...found.matches.map((match) => figure(match, folders)));
    status.textContent = `${found.matches.length} of ${pictures}, in ${found.milliseconds} ms`;
    scrollTo(0, 0);
  } catch (error) {
    if (mine !== latest) return;
    results.replaceChildren();
    status.textContent = error.message;
  }
}

/** Asks for something else. */
function go({ words = '', like = null, name = '' }, outside = null) {
  picture = outside;
  const query = new URLSearchParams();
  if (words) query.set('words', words);
  if (like !== null) query.set('like', like);
  history.pushState({ name }, '', `/?${query}`);
  search();
}

function withPicture(chosen) {
  if (!chosen) return;
  showLike(URL.createObjectURL(chosen), chosen.name);
  go({ words: words.value.trim() }, chosen);
}

form.onsubmit = (event) => {
  event.preventDefault();
  const at = new URLSearchParams(location.search).get('like');
  go({ words: words.value.trim(), like: at, name: history.state?.name }, picture);
};
file.onchange = () => {
  withPicture(file.files[0]);
  file.value = '';
};
like.querySelector('button').onclick = () => go({ words: words.value.trim() });
dialog.onclick = ({ target }) => target === dialog && dialog.close();
addEventListener('paste', ({ clipboardData }) => withPicture(clipboardData.files[0]));
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  withPicture(event.dataTransfer.files[0]);
});
addEventListener('popstate', () => {
  picture = null;
  search();
});
if (location.search) search();
