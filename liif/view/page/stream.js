// Windows of an image from the server.

// Yields the strips {row, pixels} of a window of rows × cols pixels as they arrive. Throws an Error
// with the server's message. Aborting the signal closes the connection, which stops the server.
export async function* strips({ picture, method, window, rows, cols }, signal) {
  const query = new URLSearchParams({ picture: picture.id, method, ...window, rows, cols });
  const response = await fetch(`render?${query}`, { signal });
  if (!response.ok) throw new Error(await reason(response));
  const bytes = new Bytes(response.body.getReader());
  for (let left = rows; left > 0; ) {
    const head = new DataView((await bytes.take(8)).buffer);
    const [row, count] = [head.getUint32(0, true), head.getUint32(4, true)];
    const rgba = await bytes.take(count * cols * 4);
    yield { row, pixels: new ImageData(new Uint8ClampedArray(rgba.buffer), cols, count) };
    left -= count;
  }
}

export async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text;
  }
}

class Bytes {
  constructor(reader) {
    this.reader = reader;
    this.chunk = new Uint8Array(0);
  }

  async take(count) {
    const taken = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      if (this.chunk.length === 0) {
        const { done, value } = await this.reader.read();
        if (done) throw new Error("this view could not be rendered; see the terminal");
        this.chunk = value;
      }
      const part = this.chunk.subarray(0, count - at);
      taken.set(part, at);
      at += part.length;
      this.chunk = this.chunk.subarray(part.length);
    }
    return taken;
  }
}
