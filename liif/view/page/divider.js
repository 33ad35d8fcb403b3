// The divider between the two sides, which is moved with the pointer or the arrow keys.

// Calls moved(share of the width on the left).
export function listenToDivider(divider, stage, moved) {
  const clamp = (share) => Math.min(Math.max(share, 0), 1);
  divider.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    divider.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = stage.getBoundingClientRect();
    moved(clamp((event.clientX - box.left) / box.width));
  });
  divider.addEventListener("keydown", (event) => {
    const share = Number(divider.getAttribute("aria-valuenow")) / 100;
    const step = event.shiftKey ? 0.1 : 0.01;
    const to = { ArrowLeft: share - step, ArrowRight: share + step, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    moved(clamp(to));
  });
}

export function showDivider(divider, stage, share) {
  stage.style.setProperty("--split", `${100 * share}%`);
  divider.setAttribute("aria-valuenow", String(Math.round(100 * share)));
}
