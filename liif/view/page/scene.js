// The state of the page: this module alone changes it, draws it and writes it to the address.

import { readAddress, writeAddress } from "./address.js";
import { clampedView, fitting, frame } from "./camera.js";
import { showDivider } from "./divider.js";
import { paint } from "./painter.js";
import { Renderer } from "./renderer.js";
import { savePng } from "./save.js";
import { notify, showPlace, showProgress, shownScale } from "./status.js";

const PAUSE_MS = 40; // delay after a change before the view is rendered
const ENTRY_MS = 600; // delay before it becomes an entry of the history
const BICUBIC = "bicubic";

const $ = (id) => document.getElementById(id);
const context = $("canvas").getContext("2d");
const timers = {};
let frames = 0;

export const state = {
  pictures: [], // all that are open
  picture: null,
  view: null,
  isFitting: true, // whether the whole image is shown, also after resizing
  size: { width: 1, height: 1 },
  split: 0.5,
  left: BICUBIC,
  right: BICUBIC,
  isPeeking: false, // whether the left method covers the whole canvas
};

const renderer = new Renderer({
  changed: repaint,
  progressed: (progress) => showProgress(progress, isReduced()),
  failed: (error) => notify(isNetwork(error) ? "the viewer does not respond" : error.message),
});
const isNetwork = (error) => error instanceof TypeError; // the error of fetch
const isReduced = () => state.view.scale < 1;

// Changes

export function setView(view, isFitting = false) {
  const before = state.view;
  state.view = clampedView(view, state.picture, state.size);
  state.isFitting = isFitting;
  if (before?.scale !== state.view.scale) renderer.stop();
  document.body.dataset.state = "waiting";
  $("stage").classList.toggle("plain", isReduced());
  showPlace(state.picture, state.view);
  repaint();
  later("render", PAUSE_MS, render);
  later("address", ENTRY_MS, () => writeAddress(state));
}

export const fit = () => setView(fitting(state.picture, state.size), true);

export function compare(left, right, split = state.split) {
  const isNew = left !== state.left || right !== state.right;
  Object.assign(state, { left, right, split });
  [$("left").value, $("right").value] = [left, right];
  showDivider($("divider"), $("stage"), split);
  repaint();
  if (isNew) later("render", 0, render);
  later("address", ENTRY_MS, () => writeAddress(state));
}

export function peek(isPeeking) {
  state.isPeeking = isPeeking;
  repaint();
}

export function open(picture, view = null) {
  renderer.clear();
  state.pictures = [...state.pictures.filter(({ id }) => id !== picture.id), picture];
  state.picture = picture;
  setView(view ?? fitting(picture, state.size), view === null);
}

export function resize(size) {
  if (size.width === state.size.width && size.height === state.size.height) return;
  state.size = size;
  Object.assign($("canvas"), size); // this clears the canvas
  if (!state.picture) return;
  if (state.isFitting) fit();
  else setView(state.view);
  draw();
}

export function followAddress() {
  const address = readAddress();
  const picture = state.pictures.find(({ id }) => id === address.picture);
  if (address.picture && !picture) notify("the image of this address is not open; drop it here");
  const methods = [...$("left").options].map((option) => option.value);
  const known = (method, other) => (methods.includes(method) ? method : other);
  const [left, right] = [known(address.left, state.left), known(address.right, state.right)];
  compare(left, right, address.split ?? state.split);
  const view = !address.picture || picture ? address.view : null;
  const next = picture ?? state.picture ?? state.pictures[0];
  if (next === state.picture && view) setView(view);
  else open(next, view);
}

// Drawing

function render() {
  if (!state.view) return;
  clearTimeout(timers.render);
  const { picture, view, size, left, right } = state;
  const methods = [...new Set([BICUBIC, ...(isReduced() ? [] : [left, right])])];
  renderer.show({ picture, view, size, methods });
}

function repaint() {
  frames ||= requestAnimationFrame(() => {
    frames = 0;
    draw();
  });
}

function draw() {
  if (!state.view) return;
  const [left, right] = isReduced() ? [BICUBIC, BICUBIC] : [state.left, state.right];
  paint(context, { ...state, left, right, split: state.isPeeking ? 1 : state.split }, renderer);
}

function later(name, pause, action) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(action, pause);
}

// Saves the view after it is rendered completely.
export async function save() {
  render();
  await renderer.finished;
  draw();
  const stem = state.picture.name.replace(/\.[^.]*$/, "");
  const name = `${stem}-${shownScale(state.view.scale).replace("×", "x")}.png`;
  await savePng($("canvas"), frame(state.view, state.picture, state.size), name);
}
