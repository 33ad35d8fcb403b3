// Has views rendered: one at a time, and of each only what is not there yet.

import { windowOf } from "./camera.js";
import { Layer, area } from "./layer.js";
import { strips } from "./stream.js";

const OVERVIEW = 1024; // pixels along the longer side

export class Renderer {
  // `changed` is called when there is more to see, `progressed` with {share, first, seconds, busy},
  // `failed` with an error.
  constructor({ changed, progressed, failed }) {
    Object.assign(this, { changed, progressed, failed });
    this.clear();
  }

  clear() {
    this.stop();
    this.layers = new Map(); // way -> {current, previous}
    this.overview = null;
    this.finished = Promise.resolve();
  }

  stop() {
    this.aborter?.abort();
    this.aborter = null;
  }

  // A newer view takes the place of the one in work, here and on the server.
  show({ picture, view, size, ways }) {
    this.stop();
    this.aborter = new AbortController();
    const layers = new Map(ways.map((way) => [way, this.#next(way, picture, view, size)]));
    const run = new Run(layers, this.progressed);
    const { signal } = this.aborter;
    const fills = [...layers].map(([way, layer]) => this.#fill(layer, way, picture, signal, run));
    if (!this.overview) fills.push(this.#survey(picture, signal));
    this.finished = Promise.all(fills).then(
      () => signal.aborted || run.end(),
      (error) => {
        if (signal.aborted) return;
        this.stop();
        run.end();
        this.failed(error);
      },
    );
    this.changed();
  }

  #next(way, picture, view, size) {
    const { current = null, previous = null } = this.layers.get(way) ?? {};
    const layer = new Layer(picture, view, size);
    const adopted = current !== null && layer.adopt(current);
    const behind = adopted || !current?.complete ? previous : current;
    this.layers.set(way, { current: layer, previous: behind });
    return layer;
  }

  async #fill(layer, way, picture, signal, run) {
    for (const rect of layer.missing()) {
      const { left, top, right, bottom } = rect;
      const window = windowOf(rect, layer.view, picture, layer.size);
      const asked = { picture, by: way, window, rows: bottom - top, cols: right - left };
      for await (const { row, pixels } of strips(asked, signal)) {
        if (signal.aborted) return;
        layer.put(pixels, left, top + row);
        run.advance(way, pixels.width * pixels.height);
        this.changed();
      }
      layer.finish(rect);
    }
  }

  // All of the picture, small: what is seen where nothing better is there yet.
  async #survey(picture, signal) {
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

// How far the rendering of one view is.
class Run {
  constructor(layers, progressed) {
    this.began = performance.now();
    this.progressed = progressed;
    const models = [...layers].filter(([way]) => way !== "bicubic");
    this.counted = new Set((models.length ? models : [...layers]).map(([way]) => way));
    this.total = 0;
    for (const [way, layer] of layers) {
      if (this.counted.has(way)) for (const rect of layer.missing()) this.total += area(rect);
    }
    this.made = 0;
    this.first = null;
    this.#tell(true);
  }

  advance(way, pixels) {
    if (!this.counted.has(way)) return;
    this.first ??= this.#seconds();
    this.made += pixels;
    this.#tell(true);
  }

  end() {
    this.#tell(false);
  }

  #seconds() {
    return (performance.now() - this.began) / 1000;
  }

  #tell(busy) {
    const share = this.total ? this.made / this.total : 1;
    this.progressed({ share, first: this.first, seconds: this.#seconds(), busy });
  }
}
