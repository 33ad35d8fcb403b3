// The view in the address: #picture=…&x=…&y=…&scale=…&split=…&left=…&right=…

export function readAddress() {
  const query = new URLSearchParams(location.hash.slice(1));
  const number = (key) => (query.get(key) ? Number(query.get(key)) : NaN);
  const view = { x: number("x"), y: number("y"), scale: number("scale") };
  const known = Object.values(view).every(Number.isFinite) && view.scale > 0;
  const split = number("split");
  return {
    picture: query.get("picture"),
    view: known ? view : null,
    split: split >= 0 && split <= 1 ? split : null,
    left: query.get("left"),
    right: query.get("right"),
  };
}

// Adds an entry to the history if the view has changed; changes of the divider replace the entry.
export function writeAddress({ picture, view, split, left, right }, isFirst = false) {
  const query = new URLSearchParams({ picture: picture.id, ...view });
  const viewPart = query.toString();
  for (const [key, value] of Object.entries({ split: Number(split.toFixed(4)), left, right })) {
    query.set(key, value);
  }
  const hash = `#${query}`;
  if (hash === location.hash) return;
  const isNew = !isFirst && !location.hash.startsWith(`#${viewPart}&`);
  history[isNew ? "pushState" : "replaceState"](null, "", hash);
}
