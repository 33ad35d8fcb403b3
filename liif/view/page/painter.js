// Draws a view onto the canvas from the layers that are available, the best ones last.

import { corner } from "./camera.js";

export function paint(context, { view, size, split, left, right }, { layers, overview }) {
  context.clearRect(0, 0, size.width, size.height);
  const middle = Math.round(split * size.width);
  side(0, middle, left);
  side(middle, size.width, right);

  function side(from, to, method) {
    if (from >= to) return;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, size.height);
    context.clip();
    const own = layers.get(method);
    for (const layer of [overview, layers.get("bicubic")?.current, own?.previous, own?.current]) {
      for (const part of [layer?.done, layer?.growing]) if (part) draw(layer, part);
    }
    context.restore();
  }

  // Pixels of the same scale are copied; others are resized.
  function draw({ canvas, view: other, size: extent }, part) {
    const scale = view.scale / other.scale;
    const [ours, theirs] = [corner(view, size), corner(other, extent)];
    let x = (theirs.x - ours.x) * view.scale;
    let y = (theirs.y - ours.y) * view.scale;
    if (scale === 1) [x, y] = [Math.round(x), Math.round(y)];
    const [width, height] = [part.right - part.left, part.bottom - part.top];
    context.imageSmoothingQuality = scale < 1 ? "high" : "low";
    context.drawImage(
      canvas, part.left, part.top, width, height,
      x + part.left * scale, y + part.top * scale, width * scale, height * scale,
    );
  }
}
