"""Enlarge an image with an exported model, by NumPy, onnxruntime and Pillow, without PyTorch.

    liif export edsr-light --format onnx --out exported
    python examples/onnx_upscale.py exported photo.jpg large.png --scale 3.7

The image is computed in tiles, with the same result as in one piece: apart from input and output,
the memory used depends on the size of the tiles only. Alpha is ignored.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

TILE = 256
"""Side of the tiles, in low-resolution pixels."""
QUERIES = 2**15
"""Points that are decoded at once."""


class Model(NamedTuple):
    """The two graphs, and the number of low-resolution pixels around a tile that it depends on."""

    encoder: onnxruntime.InferenceSession
    decoder: onnxruntime.InferenceSession
    halo: int


def load(folder: Path) -> Model:
    """Load the folder that `liif export --format onnx` wrote."""
    about = json.loads((folder / "model.json").read_text())
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / about[name], providers=["CPUExecutionProvider"])
        for name in ("encoder", "decoder")
    )
    return Model(encoder, decoder, about["halo"])


def strips(
    model: Model, image: np.ndarray, size: tuple[int, int], tile: int = TILE
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the H × W result of an image (h, w, 3), float32 in [0, 1], not clamped, as strips
    (first row, (rows, W, 3)) from top to bottom."""
    h, w, _ = image.shape
    for rows in pairwise(borders(size[0], -(-h // tile))):
        strip = np.empty((rows[1] - rows[0], size[1], 3), np.float32)
        for cols in pairwise(borders(size[1], -(-w // tile))):
            strip[:, cols[0] : cols[1]] = decoded(model, image, size, rows, cols)
        yield rows[0], strip


def decoded(
    model: Model,
    image: np.ndarray,
    size: tuple[int, int],
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> np.ndarray:
    """Return the part rows × cols, each as (first, last + 1), of the H × W result."""
    (y, top, bottom, cell_y), (x, left, right, cell_x) = (
        window(*each, model.halo) for each in zip((rows, cols), size, image.shape[:2], strict=True)
    )
    part = image[top:bottom, left:right].transpose(2, 0, 1)[None]
    (codes,) = model.encoder.run(None, {"image": np.ascontiguousarray(part)})
    cell = np.array([[cell_y, cell_x]], np.float32)
    out = np.empty((len(y), len(x), 3), np.float32)
    step = max(1, QUERIES // max(1, len(x)))
    for i in range(0, len(y), step):
        coord = np.stack(np.meshgrid(y[i : i + step], x, indexing="ij"), axis=-1).reshape(-1, 2)
        (rgb,) = model.decoder.run(None, {"codes": codes, "coord": coord, "cell": cell})
        out[i : i + step] = rgb.reshape(-1, len(x), 3)
    return out


def window(span: tuple[int, int], N: int, n: int, halo: int) -> tuple[np.ndarray, int, int, float]:
    """Find the input window of output pixels `span`, along an axis of N output and n input pixels.

    Return the coordinates of the output pixels in the window, its first and last input pixel, and
    the size of an output pixel in its coordinates.
    """
    first, last = max(span[0] * n // N - halo, 0), min(-(-span[1] * n // N) + halo, n)
    at = (np.arange(*span) + 0.5) * n / N - first  # in low-resolution pixels of the window
    coord = (2 * at / (last - first) - 1).astype(np.float32)
    return coord, first, last, 2 * n / N / (last - first)


def borders(n: int, parts: int) -> list[int]:
    """Return the borders that split n into parts of equal size, up to 1, none of them empty."""
    parts = min(n, parts)
    return [n * i // parts for i in range(parts + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Enlarge an image with an exported model.")
    parser.add_argument("model", type=Path, help="folder that `liif export` wrote")
    parser.add_argument("input", type=Path, help="image file")
    parser.add_argument("output", type=Path, help="file of the result")
    parser.add_argument("--scale", type=float, default=4.0, help="any factor (default: 4)")
    parser.add_argument("--tile", type=int, default=TILE, help="side of tiles (default: 256)")
    options = parser.parse_args()
    with Image.open(options.input) as picture:
        image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.float32) / 255
    H, W = (max(1, round(side * options.scale)) for side in image.shape[:2])
    out = np.empty((H, W, 3), np.uint8)
    for top, strip in strips(load(options.model), image, (H, W), options.tile):
        out[top : top + len(strip)] = (strip.clip(0, 1) * 255).round()
    Image.fromarray(out).save(options.output)


if __name__ == "__main__":
    main()
