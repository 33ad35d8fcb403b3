// The pixels of one view by one method: the finished rectangle, and the one beside it that grows
// strip by strip.

import { corner, frame } from "./camera.js";

export class Layer {
  constructor(picture, view, size) {
    this.view = view;
    this.size = size;
    this.frame = frame(view, picture, size);
    this.done = null;
    this.growing = null;
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, size);
    this.context = this.canvas.getContext("2d");
  }

  // The offset {right, down} of another layer's pixels from ours; null if they cannot be reused.
  offset(other) {
    const { scale } = this.view;
    if (other.view.scale !== scale) return null;
    const [ours, theirs] = [this, other].map((layer) => corner(layer.view, layer.size));
    const exact = { right: (theirs.x - ours.x) * scale, down: (theirs.y - ours.y) * scale };
    const [right, down] = [Math.round(exact.right), Math.round(exact.down)];
    const apart = Math.hypot(right - exact.right, down - exact.down);
    return apart < 0.02 ? { right, down } : null;
  }

  // Copies the pixels that another layer has in common with this one; false if there are none.
  adopt(other) {
    const done = other.done ?? other.growing;
    const offset = done && this.offset(other);
    if (!offset) return false;
    const left = Math.max(this.frame.left, done.left + offset.right);
    const top = Math.max(this.frame.top, done.top + offset.down);
    const right = Math.min(this.frame.right, done.right + offset.right);
    const bottom = Math.min(this.frame.bottom, done.bottom + offset.down);
    if (left >= right || top >= bottom) return false;
    this.context.drawImage(other.canvas, offset.right, offset.down);
    this.done = { left, top, right, bottom };
    return true;
  }

  // The rectangles that are not rendered yet, in an order that keeps `done` a rectangle.
  missing() {
    const { frame: all, done } = this;
    if (!done) return [all];
    const { top, bottom } = done;
    return [
      { left: all.left, top, right: done.left, bottom },
      { left: done.right, top, right: all.right, bottom },
      { ...all, bottom: top },
      { ...all, top: bottom },
    ].filter((rect) => area(rect) > 0);
  }

  put(pixels, left, top) {
    this.context.putImageData(pixels, left, top);
    const { width, height } = pixels;
    this.growing = union(this.growing, { left, top, right: left + width, bottom: top + height });
  }

  finish(rect) {
    this.done = union(this.done, rect);
    this.growing = null;
  }

  get complete() {
    return this.done !== null && this.missing().length === 0;
  }
}

export const area = ({ left, top, right, bottom }) =>
  Math.max(0, right - left) * Math.max(0, bottom - top);

const union = (one, other) =>
  one === null
    ? other
    : {
        left: Math.min(one.left, other.left),
        top: Math.min(one.top, other.top),
        right: Math.max(one.right, other.right),
        bottom: Math.max(one.bottom, other.bottom),
      };
