// Mouse, touch and trackpad on the canvas, in screen pixels.

// Calls move(right, down) and zoom(factor, right, down).
export function listenToPointers(canvas, { move, zoom }) {
  const fingers = new Map();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const ratio = canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  };
  const middle = () => {
    const all = [...fingers.values()];
    const mean = (key) => all.reduce((sum, finger) => sum + finger[key], 0) / all.length;
    const [x, y] = [mean("x"), mean("y")];
    return { x, y, spread: Math.max(...all.map((one) => Math.hypot(one.x - x, one.y - y))) };
  };
  let rest = { x: 0, y: 0 }; // fraction of a pixel that is carried over to the next move

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    rest = { x: 0, y: 0 };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = middle();
    fingers.set(event.pointerId, place(event));
    const after = middle();
    const [x, y] = [rest.x + before.x - after.x, rest.y + before.y - after.y];
    const [right, down] = [Math.round(x), Math.round(y)];
    rest = { x: x - right, y: y - down };
    if (right || down) move(right, down);
    if (fingers.size > 1 && before.spread > 0) zoom(after.spread / before.spread, after.x, after.y);
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("dblclick", (event) => {
    const { x, y } = place(event);
    zoom(event.shiftKey ? 0.5 : 2, x, y);
  });
  const wheel = (event) => {
    event.preventDefault();
    const unit = [1, 16, 400][event.deltaMode];
    const { x, y } = place(event);
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      move((event.deltaX || event.deltaY) * unit, 0);
    } else {
      // Browsers report pinching on a trackpad as a wheel event with ctrl, in finer steps.
      zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.002)), x, y);
    }
  };
  canvas.addEventListener("wheel", wheel, { passive: false });
}
