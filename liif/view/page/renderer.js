// Requests views from the server: one at a time, and only the pixels that are missing.

import { windowOf } from "./camera.js";
import { Layer, area } from "./layer.js";
import { strips } from "./stream.js";

const OVERVIEW = 1024; // largest side of the overview in pixels

export class Renderer {
  // Calls `changed` after new pixels, `progressed` with {share, first, seconds, busy} and `failed`
  // with an error.
  constructor({ changed, progressed, failed }) {
    Object.assign(this, { changed, progressed, failed });
    this.clear();
  }

  clear() {
    this.stop();
    this.layers = new Map(); // method -> {current, previous}
    this.overview = null;
    this.finished = Promise.resolve();
  }

  stop() {
    this.aborter?.abort();
    this.aborter = null;
  }

  // Cancels the view in progress, here and on the server, and renders a new one.
  show({ picture, view, size, methods }) {
    this.stop();
    this.aborter = new AbortController();
    const next = (method) => [method, this.#next(method, picture, view, size)];
    const layers = new Map(methods.map(next));
    const progress = new Progress(layers, this.progressed);
    const { signal } = this.aborter;
    const fills = [...layers].map(([method, layer]) =>
      this.#fill(layer, method, picture, signal, progress),
    );
    if (!this.overview) fills.push(this.#renderOverview(picture, signal));
    this.finished = Promise.all(fills).then(
      () => signal.aborted || progress.end(),
      (error) => {
        if (signal.aborted) return;
        this.stop();
        progress.end();
        this.failed(error);
      },
    );
    this.changed();
  }

  #next(method, picture, view, size) {
    const { current = null, previous = null } = this.layers.get(method) ?? {};
    const layer = new Layer(picture, view, size);
    const adopted = current !== null && layer.adopt(current);
    const behind = adopted || !current?.complete ? previous : current;
    this.layers.set(method, { current: layer, previous: behind });
    return layer;
  }

  async #fill(layer, method, picture, signal, progress) {
    for (const rect of layer.missing()) {
      const { left, top, right, bottom } = rect;
      const window = windowOf(rect, layer.view, picture, layer.size);
      const request = { picture, method, window, rows: bottom - top, cols: right - left };
      for await (const { row, pixels } of strips(request, signal)) {
        if (signal.aborted) return;
        layer.put(pixels, left, top + row);
        progress.advance(method, pixels.width * pixels.height);
        this.changed();
      }
      layer.finish(rect);
    }
  }

  // A small version of the whole image, shown until something better is rendered.
  async #renderOverview(picture, signal) {
    const longest = Math.max(picture.width, picture.height);
    const scale = Math.min(1, OVERVIEW / longest);
    const view = { x: picture.width / 2, y: picture.height / 2, scale };
    const side = (n) => Math.max(1, Math.floor(n * scale + 0.01));
    const size = { width: side(picture.width), height: side(picture.height) };
    const layer = new Layer(picture, view, size);
    await this.#fill(layer, "bicubic", picture, signal, { advance() {} });
    this.overview = layer;
    this.changed();
  }
}

// The progress of rendering one view.
class Progress {
  constructor(layers, progressed) {
    this.startTime = performance.now();
    this.progressed = progressed;
    const models = [...layers].filter(([method]) => method !== "bicubic");
    this.counted = new Set((models.length ? models : [...layers]).map(([method]) => method));
    this.total = 0;
    for (const [method, layer] of layers) {
      if (this.counted.has(method)) for (const rect of layer.missing()) this.total += area(rect);
    }
    this.rendered = 0;
    this.first = null;
    this.#report(true);
  }

  advance(method, pixels) {
    if (!this.counted.has(method)) return;
    this.first ??= this.#seconds();
    this.rendered += pixels;
    this.#report(true);
  }

  end() {
    this.#report(false);
  }

  #seconds() {
    return (performance.now() - this.startTime) / 1000;
  }

  #report(busy) {
    const share = this.total ? this.rendered / this.total : 1;
    this.progressed({ share, first: this.first, seconds: this.#seconds(), busy });
  }
}
