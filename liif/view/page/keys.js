// The keyboard. `actions` maps a key, as the browser names it, to what it does.

export function listenToKeys(actions, released) {
  const isTaken = (event) =>
    event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented ||
    event.target.closest("dialog, select, input") !== null ||
    (event.key === " " && event.target.closest("button") !== null);

  addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || isTaken(event)) return;
    event.preventDefault();
    action(event);
  });
  addEventListener("keyup", (event) => released[event.key]?.());
}
