// The page: what people do with it, and how it starts.

import { writeAddress } from "./address.js";
import { fitting, larger, moved, smaller, zoomed } from "./camera.js";
import { listenToDivider } from "./divider.js";
import { listenToFiles, send } from "./files.js";
import { listenToKeys } from "./keys.js";
import { listenToPointers } from "./pointer.js";
import { compare, fit, followAddress, look, now, open, peek, resize, save } from "./scene.js";
import { notify } from "./status.js";

const $ = (id) => document.getElementById(id);

const move = (right, down) => look(moved(now.view, right, down));
const zoomTo = (asked, ...at) => {
  const smallest = Math.min(1, fitting(now.picture, now.size).scale);
  const scale = Math.min(Math.max(asked, smallest), now.picture.largest);
  look(zoomed(now.view, now.size, scale, ...at));
};
const zoomIn = () => zoomTo(larger(now.view.scale));
const zoomOut = () => zoomTo(smaller(now.view.scale));
const divide = (split) => compare(now.left, now.right, Math.min(Math.max(split, 0), 1));
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
  const zoom = (factor, ...at) => zoomTo(now.view.scale * factor, ...at);
  listenToPointers($("canvas"), { move, zoom });
  listenToDivider($("divider"), $("stage"), divide);
  listenToFiles($("file"), $("open"), add);
  const pan = (right, down) => (event) => {
    const step = event.shiftKey ? 1 : Math.min(now.size.width, now.size.height) / 8;
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
    "[": () => divide(now.split - 0.02),
    "]": () => divide(now.split + 0.02),
    " ": () => peek(true),
    x: () => compare(now.right, now.left),
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

// The ways of enlarging that there are to choose from.
function offer(models) {
  const labels = [["bicubic", "bicubic"]];
  for (const { name, kind } of models) {
    labels.push([models.length === 1 && kind === "Liif" ? "LIIF" : name, name]);
  }
  for (const id of ["left", "right"]) {
    $(id).replaceChildren(...labels.map(([label, way]) => new Option(label, way)));
    $(id).title = `${$(id).getAttribute("aria-label")}: ${models.map((m) => m.name).join(", ")}`;
  }
  const last = models.at(-1).name;
  compare(models.length > 1 ? models[0].name : "bicubic", last);
}

// The canvas has as many pixels as the screen has there.
function follow([entry]) {
  const exact = entry.devicePixelContentBoxSize?.[0];
  const side = (length, exactly) => {
    const pixels = Math.max(1, Math.round(length * devicePixelRatio));
    return Math.abs(exactly - pixels) <= 1 ? exactly : pixels; // far off where it is emulated
  };
  const { width, height } = entry.contentRect;
  resize({ width: side(width, exact?.inlineSize), height: side(height, exact?.blockSize) });
}

async function start() {
  const { pictures, models } = await (await fetch("state")).json();
  now.pictures = pictures;
  offer(models);
  follow([{ contentRect: $("stage").getBoundingClientRect() }]);
  followAddress();
  writeAddress(now, true);
  listen();
  const observer = new ResizeObserver(follow);
  try {
    observer.observe($("canvas"), { box: "device-pixel-content-box" });
  } catch {
    observer.observe($("canvas")); // Safari knows no such box
  }
}

start().catch((error) => notify(`the viewer does not answer: ${error.message}`));
