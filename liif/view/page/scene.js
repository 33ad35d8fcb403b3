// What is looked at: the one place that changes it, shows it and writes it into the address.

import { readAddress, writeAddress } from "./address.js";
import { fitting, frame, settled } from "./camera.js";
import { showDivider } from "./divider.js";
import { paint } from "./painter.js";
import { Renderer } from "./renderer.js";
import { savePng } from "./save.js";
import { notify, showPlace, showProgress, shownScale } from "./status.js";

const PAUSE_MS = 80; // without a change, before a view is rendered
const ENTRY_MS = 600; // and before it becomes an entry of the history
const BICUBIC = "bicubic";

const $ = (id) => document.getElementById(id);
const context = $("canvas").getContext("2d");
const timers = {};
let frames = 0;

export const now = {
  pictures: [], // that are open
  picture: null,
  view: null,
  isFitting: true, // stays so when the window changes
  size: { width: 1, height: 1 },
  split: 0.5,
  left: BICUBIC,
  right: BICUBIC,
  isPeeking: false, // at the left side everywhere
};

const renderer = new Renderer({
  changed: repaint,
  progressed: (progress) => showProgress(progress, isReduced()),
  failed: (error) => notify(isNetwork(error) ? "the viewer does not answer" : error.message),
});
const isNetwork = (error) => error instanceof TypeError; // as fetch has it
const isReduced = () => now.view.scale < 1;

// Changing it

export function look(view, isFitting = false) {
  const before = now.view;
  now.view = settled(view, now.picture, now.size);
  now.isFitting = isFitting;
  if (before?.scale !== now.view.scale) renderer.stop();
  document.body.dataset.state = "waiting";
  $("stage").classList.toggle("plain", isReduced());
  showPlace(now.picture, now.view);
  repaint();
  later("render", PAUSE_MS, render);
  later("address", ENTRY_MS, () => writeAddress(now));
}

export const fit = () => look(fitting(now.picture, now.size), true);

export function compare(left, right, split = now.split) {
  const isNew = left !== now.left || right !== now.right;
  Object.assign(now, { left, right, split });
  [$("left").value, $("right").value] = [left, right];
  showDivider($("divider"), $("stage"), split);
  repaint();
  if (isNew) later("render", 0, render);
  later("address", ENTRY_MS, () => writeAddress(now));
}

export function peek(isPeeking) {
  now.isPeeking = isPeeking;
  repaint();
}

export function open(picture, view = null) {
  renderer.clear();
  now.pictures = [...now.pictures.filter(({ id }) => id !== picture.id), picture];
  now.picture = picture;
  look(view ?? fitting(picture, now.size), view === null);
}

export function resize(size) {
  if (size.width === now.size.width && size.height === now.size.height) return;
  now.size = size;
  Object.assign($("canvas"), size); // which empties it
  if (!now.picture) return;
  if (now.isFitting) fit();
  else look(now.view);
  draw();
}

export function followAddress() {
  const asked = readAddress();
  const picture = now.pictures.find(({ id }) => id === asked.picture);
  if (asked.picture && !picture) notify("the picture of this address is not open; drop it here");
  const known = (way, other) => ([...$("left").options].some((o) => o.value === way) ? way : other);
  compare(known(asked.left, now.left), known(asked.right, now.right), asked.split ?? now.split);
  const view = !asked.picture || picture ? asked.view : null;
  const next = picture ?? now.picture ?? now.pictures[0];
  if (next === now.picture && view) look(view);
  else open(next, view);
}

// Showing it

function render() {
  if (!now.view) return;
  clearTimeout(timers.render);
  const ways = new Set([BICUBIC, ...(isReduced() ? [] : [now.left, now.right])]);
  renderer.show({ picture: now.picture, view: now.view, size: now.size, ways: [...ways] });
}

function repaint() {
  frames ||= requestAnimationFrame(() => {
    frames = 0;
    draw();
  });
}

function draw() {
  if (!now.view) return;
  const [left, right] = isReduced() ? [BICUBIC, BICUBIC] : [now.left, now.right];
  paint(context, { ...now, left, right, split: now.isPeeking ? 1 : now.split }, renderer);
}

function later(name, pause, action) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(action, pause);
}

// Once it is all there.
export async function save() {
  render();
  await renderer.finished;
  draw();
  const stem = now.picture.name.replace(/\.[^.]*$/, "");
  const name = `${stem}-${shownScale(now.view.scale).replace("×", "x")}.png`;
  await savePng($("canvas"), frame(now.view, now.picture, now.size), name);
}
