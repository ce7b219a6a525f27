// Draw on the canvas: the model that train.js has trained says what it sees.
import { init, noGrad, tensor } from 'hopgrad';
import { evalTransform, normaliser } from 'hopgrad/data';
import { embedTexts, loadCheckpoint, preprocessing } from 'hopgrad/models/cloob';
import { captions, colours } from './world.js';

const device = new URLSearchParams(location.search).get('device') ?? 'auto';
const chosen = await init({ device });
document.querySelector('#device').textContent = `${chosen.device}: ${chosen.description}`;

const { model, tokenizer } = await loadCheckpoint(await fetch('shapes.safetensors'));
model.eval();
const settings = preprocessing(model.config);
const normalise = normaliser(settings);
const texts = noGrad(() => embedTexts(model, tokenizer, captions).l2Normalize());

const canvas = document.querySelector('canvas');
const context = canvas.getContext('2d', { willReadFrequently: true });

/** The captions that fit what is on the canvas, best first. */
async function look() {
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  const { size } = settings;
  const pixels = new Float32Array(3 * size * size);
  normalise(evalTransform({ data, width, height, channels: 4, mode: 'RGBA' }, settings), pixels);
  const scores = noGrad(() =>
    model
      .encodeImage(tensor(pixels, { shape: [1, 3, size, size] }))
      .l2Normalize()
      .matmul(texts.transpose())
      .mul(15)
      .softmax(),
  );
  return [...(await scores.data())].map((p, i) => ({ caption: captions[i], p })).sort((a, b) => b.p - a.p);
}

async function show() {
  const best = (await look()).slice(0, 5);
  document.querySelector('ol').replaceChildren(
    ...best.map(({ caption, p }) => {
      const item = document.createElement('li');
      item.textContent = `${caption} ${(100 * p).toFixed(0)} %`;
      item.style.setProperty('--share', `${100 * p}%`);
      return item;
    }),
  );
  document.body.dataset.seen = best[0].caption;
}

function clear() {
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
}

let colour = colours[0];
document.querySelector('#colours').append(
  ...colours.map((one) => {
    const button = document.createElement('button');
    button.textContent = one.name;
    button.style.background = `rgb(${one.rgb})`;
    button.onclick = () => {
      colour = one;
    };
    return button;
  }),
);
document.querySelector('#clear').onclick = clear;
canvas.onpointermove = ({ buttons, offsetX, offsetY }) => {
  if (!buttons) return;
  context.fillStyle = `rgb(${colour.rgb})`;
  context.beginPath();
  context.arc(offsetX, offsetY, 14, 0, 2 * Math.PI);
  context.fill();
};
canvas.onpointerup = show;
clear();
document.body.dataset.ready = 'yes';
