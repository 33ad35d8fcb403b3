// Keyboard shortcuts. `actions` maps names of keys (event.key) to functions.

export function listenToKeys(actions, released) {
  const isHandledElsewhere = (event) =>
    event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented ||
    event.target.closest("dialog, select, input") !== null ||
    (event.key === " " && event.target.closest("button") !== null);

  addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || isHandledElsewhere(event)) return;
    event.preventDefault();
    action(event);
  });
  addEventListener("keyup", (event) => released[event.key]?.());
}
