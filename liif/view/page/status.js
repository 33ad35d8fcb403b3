// The status bar: image, position and rendering time.

const $ = (id) => document.getElementById(id);

export const shownScale = (scale) => `×${Number(scale.toFixed(scale < 10 ? 2 : 1))}`;

export function showPlace(picture, view) {
  $("name").textContent = picture.name;
  $("extent").textContent = `${picture.width} × ${picture.height}`;
  $("scale").textContent = shownScale(view.scale);
  const digits = view.scale < 4 ? 0 : view.scale < 40 ? 1 : 2;
  $("position").textContent = `x ${view.x.toFixed(digits)}  y ${view.y.toFixed(digits)}`;
  $("canvas").setAttribute("aria-label", `${picture.name}, ${shownScale(view.scale)}`);
  document.title = `${picture.name} ${shownScale(view.scale)}`;
}

export function showProgress({ share, first, seconds, busy }, isReduced) {
  const bar = $("progress");
  bar.classList.toggle("busy", busy && share < 1);
  bar.style.setProperty("--share", share);
  bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  document.body.dataset.state = busy ? "rendering" : "done";
  const time = $("time");
  const taken = `${isReduced ? "reduced, " : ""}${seconds.toFixed(2)} s`;
  time.textContent = busy ? `rendering ${Math.floor(100 * share)} %` : taken;
  time.title = first === null ? "" : `first strip after ${first.toFixed(2)} s`;
}

let fading;
export function notify(text) {
  $("notice").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => ($("notice").textContent = ""), 8000);
}
