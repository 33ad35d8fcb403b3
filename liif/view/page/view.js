// The page: user actions and start-up.

import { writeAddress } from "./address.js";
import { fitting, larger, moved, smaller, zoomed } from "./camera.js";
import { listenToDivider } from "./divider.js";
import { listenToFiles, send } from "./files.js";
import { listenToKeys } from "./keys.js";
import { listenToPointers } from "./pointer.js";
import { compare, fit, followAddress, open, peek, resize, save, setView, state } from "./scene.js";
import { notify } from "./status.js";
import { reason } from "./stream.js";

const $ = (id) => document.getElementById(id);

const move = (right, down) => setView(moved(state.view, right, down));
const zoomTo = (requested, ...point) => {
  const smallest = Math.min(1, fitting(state.picture, state.size).scale);
  const scale = Math.min(Math.max(requested, smallest), state.picture.largest);
  setView(zoomed(state.view, state.size, scale, ...point));
};
const zoomIn = () => zoomTo(larger(state.view.scale));
const zoomOut = () => zoomTo(smaller(state.view.scale));
const divide = (split) => compare(state.left, state.right, Math.min(Math.max(split, 0), 1));
const full = () =>
  document.fullscreenElement ? document.exitFullscreen() : document.body.requestFullscreen();
const help = () => $("keys").showModal();

async function add(file) {
  notify(`reading ${file.name} …`);
  try {
    open(await send(file));
    notify("");
  } catch (error) {
    notify(error.message);
  }
}

function listen() {
  const zoom = (factor, ...point) => zoomTo(state.view.scale * factor, ...point);
  listenToPointers($("canvas"), { move, zoom });
  listenToDivider($("divider"), $("stage"), divide);
  listenToFiles($("file"), $("open"), add);
  const pan = (right, down) => (event) => {
    const step = event.shiftKey ? 1 : Math.min(state.size.width, state.size.height) / 8;
    move(right * step, down * step);
  };
  const actions = {
    ArrowLeft: pan(-1, 0),
    ArrowRight: pan(1, 0),
    ArrowUp: pan(0, -1),
    ArrowDown: pan(0, 1),
    "+": zoomIn,
    "=": zoomIn,
    "-": zoomOut,
    0: fit,
    "[": () => divide(state.split - 0.02),
    "]": () => divide(state.split + 0.02),
    " ": () => peek(true),
    x: () => compare(state.right, state.left),
    o: () => $("open").click(),
    s: save,
    f: full,
    "?": help,
  };
  for (let scale = 1; scale <= 9; scale++) actions[scale] = () => zoomTo(scale);
  listenToKeys(actions, { " ": () => peek(false) });
  for (const [id, action] of Object.entries({ in: zoomIn, out: zoomOut, fit, save, full, help })) {
    $(id).addEventListener("click", action);
  }
  for (const id of ["left", "right"]) {
    $(id).addEventListener("change", () => compare($("left").value, $("right").value));
  }
  addEventListener("popstate", followAddress);
  addEventListener("blur", () => peek(false));
}

// Fills the two menus of methods.
function listMethods(models) {
  const labels = [["bicubic", "bicubic"]];
  for (const { name, kind } of models) {
    labels.push([models.length === 1 && kind === "Liif" ? "LIIF" : name, name]);
  }
  for (const id of ["left", "right"]) {
    $(id).replaceChildren(...labels.map(([label, method]) => new Option(label, method)));
    $(id).title = `${$(id).getAttribute("aria-label")}: ${models.map((m) => m.name).join(", ")}`;
  }
  const last = models.at(-1).name;
  compare(models.length > 1 ? models[0].name : "bicubic", last);
}

// Gives the canvas as many pixels as the screen has at its place.
function resizeCanvas([entry]) {
  const exact = entry.devicePixelContentBoxSize?.[0];
  const side = (length, exactly) => {
    const pixels = Math.max(1, Math.round(length * devicePixelRatio));
    return Math.abs(exactly - pixels) <= 1 ? exactly : pixels; // they differ if the browser emulates a device
  };
  const { width, height } = entry.contentRect;
  resize({ width: side(width, exact?.inlineSize), height: side(height, exact?.blockSize) });
}

async function start() {
  if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the token
  const response = await fetch("state");
  if (!response.ok) throw new Error(await reason(response));
  const { pictures, models } = await response.json();
  state.pictures = pictures;
  listMethods(models);
  resizeCanvas([{ contentRect: $("stage").getBoundingClientRect() }]);
  followAddress();
  writeAddress(state, true);
  listen();
  const observer = new ResizeObserver(resizeCanvas);
  try {
    observer.observe($("canvas"), { box: "device-pixel-content-box" });
  } catch {
    observer.observe($("canvas")); // Safari does not support this box
  }
}

start().catch((error) => notify(`the viewer cannot start: ${error.message}`));
