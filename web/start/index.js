// The start page: a program to edit, run in a worker of its own with a limit of time.
import { javascript } from '@codemirror/lang-javascript';
import { syntaxHighlighting } from '@codemirror/language';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap } from '@codemirror/view';
import { classHighlighter } from '@lezer/highlight';
import { minimalSetup } from 'codemirror';
import { programs } from './programs.js';

const element = (id) => document.getElementById(id);
const seconds = 10;

/** Ctrl-Enter or ⌘-Enter. */
function started() {
  run();
  return true;
}

function state(program) {
  return EditorState.create({
    doc: program,
    extensions: [
      Prec.highest(keymap.of([{ key: 'Mod-Enter', run: started }])),
      minimalSetup,
      syntaxHighlighting(classHighlighter),
      javascript(),
      EditorView.contentAttributes.of({ 'aria-label': 'Program' }),
    ],
  });
}

const [choice, output, status] = ['program', 'output', 'run-status'].map(element);
for (const name of Object.keys(programs)) choice.append(new Option(name));
const editor = new EditorView({ parent: element('editor'), state: state(programs[choice.value]) });

let worker;
let limit;

function end(message) {
  clearTimeout(limit);
  worker?.terminate();
  worker = undefined;
  element('run').disabled = false;
  element('stop').disabled = true;
  status.textContent = message;
}

function run() {
  end('');
  output.textContent = '';
  element('run').disabled = true;
  element('stop').disabled = false;
  status.textContent = 'Loading hopgrad …';
  const start = performance.now();
  worker = new Worker(new URL('./start-worker.js', import.meta.url), { type: 'module' });
  worker.onerror = ({ message }) => end(`Failed: ${message}`);
  worker.onmessage = ({ data }) => {
    if (data.started) {
      status.textContent = 'Running …';
      limit = setTimeout(() => end(`Ended after ${seconds} s.`), 1000 * seconds);
    } else if (data.print !== undefined) output.append(`${data.print}\n`);
    else if (data.failed) {
      output.append(`${data.failed}\n`);
      end('Failed.');
    } else end(`Done in ${((performance.now() - start) / 1000).toFixed(2)} s, in this tab.`);
  };
  worker.postMessage(editor.state.doc.toString());
}

const reset = () => {
  end('');
  output.textContent = '';
  editor.setState(state(programs[choice.value]));
};
element('run').addEventListener('click', run);
element('stop').addEventListener('click', () => end('Stopped.'));
element('reset').addEventListener('click', reset);
choice.addEventListener('change', reset);
element('run').disabled = false;
