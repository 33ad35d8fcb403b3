// Geometry of views. A view is {x, y, scale}: the point of the image at the centre of the canvas, in
// image pixels, and the number of screen pixels per image pixel. Sizes are {width, height} in screen
// pixels.

const ZOOM_STEPS = [
  0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 18, 24, 30, 45, 60, 90, 120, 180, 250, 350,
  500, 700, 1000,
];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// The largest view that shows the whole image.
export function fitting(picture, size) {
  const scale = Math.min(size.width / picture.width, size.height / picture.height);
  return { x: picture.width / 2, y: picture.height / 2, scale: Math.min(scale, picture.largest) };
}

// The nearest view that keeps the image on the screen. Its numbers are rounded to a thousandth of a
// screen pixel, as in the address, so that the address leads to exactly the same view.
export function clampedView(view, picture, size) {
  const smallest = Math.min(1, fitting(picture, size).scale);
  const scale = Number(clamp(view.scale, smallest, picture.largest).toPrecision(7));
  const digits = clamp(Math.ceil(Math.log10(scale)) + 3, 3, 7);
  const axis = (centre, length, n) => {
    const half = Math.min(length / 2 / scale, n / 2);
    return Number(clamp(centre, half, n - half).toFixed(digits));
  };
  const x = axis(view.x, size.width, picture.width);
  return { x, y: axis(view.y, size.height, picture.height), scale };
}

// The point of the image at the upper left corner of the canvas.
export function corner(view, size) {
  const { x, y, scale } = view;
  return { x: x - size.width / 2 / scale, y: y - size.height / 2 / scale };
}

// The view moved by whole screen pixels, so that rendered pixels can be reused.
export function moved(view, right, down) {
  const { x, y, scale } = view;
  return { x: x + Math.round(right) / scale, y: y + Math.round(down) / scale, scale };
}

// The view zoomed to a scale, with the point of the image at (right, down) on the canvas fixed.
export function zoomed(view, size, scale, right = size.width / 2, down = size.height / 2) {
  const change = 1 / view.scale - 1 / scale;
  const x = view.x + (right - size.width / 2) * change;
  return { x, y: view.y + (down - size.height / 2) * change, scale };
}

export const larger = (scale) => ZOOM_STEPS.find((other) => other > scale * 1.01) ?? scale;
export const smaller = (scale) => ZOOM_STEPS.findLast((other) => other < scale * 0.99) ?? 0;

// The pixels of the canvas inside the image, {left, top, right, bottom}.
export function frame(view, picture, size) {
  const { x, y } = corner(view, size);
  const axis = (origin, length, n) => {
    const first = Math.max(0, Math.ceil(-origin * view.scale - 0.01));
    const last = Math.min(length, Math.floor((n - origin) * view.scale + 0.01));
    const only = Math.min(first, length - 1); // for an image thinner than a screen pixel
    return first < last ? [first, last] : [only, only + 1];
  };
  const [left, right] = axis(x, size.width, picture.width);
  const [top, bottom] = axis(y, size.height, picture.height);
  return { left, top, right, bottom };
}

// The window of the image that a rectangle of the canvas shows.
export function windowOf(rect, view, picture, size) {
  const origin = corner(view, size);
  const axis = (start, first, last, n) => {
    const from = clamp(start + first / view.scale, 0, n);
    const to = clamp(start + last / view.scale, 0, n);
    return [from, to - from];
  };
  const [left, width] = axis(origin.x, rect.left, rect.right, picture.width);
  const [top, height] = axis(origin.y, rect.top, rect.bottom, picture.height);
  return { top, left, height, width };
}
