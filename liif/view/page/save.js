// Downloads a PNG file of the part of the canvas that shows the image.

export async function savePng(canvas, { left, top, right, bottom }, name) {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [right - left, bottom - top];
  copy.getContext("2d").drawImage(canvas, -left, -top);
  const blob = await new Promise((resolve) => copy.toBlob(resolve, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
