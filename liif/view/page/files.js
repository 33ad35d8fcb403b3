// Image files that are dropped on the page, pasted or selected.

import { reason } from "./stream.js";

// Calls chosen(file).
export function listenToFiles(input, button, chosen) {
  let depth = 0; // elements that a drag has entered and not left
  const hover = (change) => {
    depth = change === 0 ? 0 : depth + change;
    document.body.classList.toggle("dropping", depth > 0);
  };
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => hasFile(event) && hover(+1));
  addEventListener("dragleave", (event) => hasFile(event) && hover(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    hover(0);
    const [file] = event.dataTransfer.files;
    if (file) chosen(file);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) chosen(file);
  });
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) chosen(input.files[0]);
    input.value = "";
  });
}

// Uploads a file; the server returns its description {id, name, width, height, largest}.
export async function send(file) {
  const query = new URLSearchParams({ name: file.name });
  const response = await fetch(`pictures?${query}`, { method: "POST", body: file });
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}
