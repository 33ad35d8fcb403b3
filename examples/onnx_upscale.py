"""Enlarge an image with an exported model, by NumPy, onnxruntime and Pillow, without PyTorch.

    liif export edsr-light --format onnx --out exported
    python examples/onnx_upscale.py exported photo.jpg large.png --scale 3.7

The image is computed in tiles, with the same result as in one piece: apart from input and output,
the memory used depends on the size of the tiles only. Gray of 16 bits stays so; alpha is ignored.
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
    """The graphs, and what tiles must keep to."""

    encoder: onnxruntime.InferenceSession
    binder: onnxruntime.InferenceSession | None
    decoder: onnxruntime.InferenceSession
    halo: int | None
    """Low-resolution pixels around a tile that its result depends on; None for all."""
    window: int
    """The sides of the encoder's input are multiples of this number."""
    channels: int
    """Channels of the result."""


def load(folder: Path) -> Model:
    """Load the folder that `liif export --format onnx` wrote."""
    about = json.loads((folder / "model.json").read_text())
    encoder, binder, decoder = (
        onnxruntime.InferenceSession(folder / about[name], providers=["CPUExecutionProvider"])
        if name in about
        else None
        for name in ("encoder", "binder", "decoder")
    )
    channels = about["model"]["channels"]["out"]
    return Model(encoder, binder, decoder, about["halo"], about["window"], channels)


def strips(
    model: Model, image: np.ndarray, size: tuple[int, int], tile: int = TILE
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the H × W result of an image (h, w, C), float32 in [0, 1], not clamped, as strips
    (first row, (rows, W, C)) from top to bottom."""
    h, w, _ = image.shape
    if model.halo is None:
        tile = max(h, w)
    for rows in pairwise(borders(size[0], -(-h // tile))):
        strip = np.empty((rows[1] - rows[0], size[1], model.channels), np.float32)
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
    (y, index_y, cell_y), (x, index_x, cell_x) = (
        surroundings(*each, model) for each in zip((rows, cols), size, image.shape[:2], strict=True)
    )
    part = image[index_y][:, index_x].transpose(2, 0, 1)[None]
    cell = np.array([[cell_y, cell_x]], np.float32)
    field = outputs(model.encoder, {"image": np.ascontiguousarray(part)})
    if model.binder is not None:
        bound = outputs(model.binder, {**field, "cell": cell})
        field = {name.removeprefix("bound_"): value for name, value in bound.items()}
    out = np.empty((len(y), len(x), model.channels), np.float32)
    step = max(1, QUERIES // max(1, len(x)))
    for i in range(0, len(y), step):
        coord = np.stack(np.meshgrid(y[i : i + step], x, indexing="ij"), axis=-1).reshape(-1, 2)
        rgb = outputs(model.decoder, {**field, "coord": coord, "cell": cell})["rgb"][0]
        out[i : i + step] = rgb.reshape(-1, len(x), model.channels)
    return out


def outputs(
    graph: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run a graph on those of the inputs that it uses; return its outputs by their names."""
    used = {each.name for each in graph.get_inputs()}
    values = graph.run(None, {name: value for name, value in inputs.items() if name in used})
    return dict(zip((each.name for each in graph.get_outputs()), values, strict=True))


def surroundings(
    span: tuple[int, int], N: int, n: int, model: Model
) -> tuple[np.ndarray, np.ndarray, float]:
    """Find the input pixels of output pixels `span`, along an axis of N output and n input pixels.

    Return the coordinates of the output pixels among the input pixels, the indices of these, and
    the size of an output pixel in the coordinates. With windows there are whole ones, and beyond
    the image, which has at least one more row and column, its mirror image.
    """
    end = n if model.window == 1 else (n // model.window + 1) * model.window
    halo = end if model.halo is None else model.halo
    first = max(span[0] * n // N - halo, 0) // model.window * model.window
    last = -(-(-(-span[1] * n // N) + halo) // model.window) * model.window
    index = np.arange(first, min(last, end)) % (2 * n)
    at = (np.arange(*span) + 0.5) * n / N - first  # in low-resolution pixels of the window
    coord = (2 * at / len(index) - 1).astype(np.float32)
    return coord, np.minimum(index, 2 * n - 1 - index), 2 * n / N / len(index)


def borders(n: int, parts: int) -> list[int]:
    """Return the borders that split n into parts of equal size, up to 1, none of them empty."""
    parts = min(n, parts)
    return [n * i // parts for i in range(parts + 1)]


def pixels(picture: Image.Image) -> tuple[np.ndarray, int]:
    """Return an image (h, w, 3), float32 in [0, 1], and the integer that stands for white in the
    file: 65535 for gray of 16 bits, which Pillow's own conversion to RGB would clip at 255."""
    if not picture.mode.startswith("I"):  # "I" of older versions of Pillow, too
        return np.asarray(picture.convert("RGB"), np.float32) / 255, 255
    gray = np.asarray(picture).astype(np.float32) / 65535
    return np.repeat(gray[..., None], 3, axis=2), 65535


def main() -> None:
    parser = argparse.ArgumentParser(description="Enlarge an image with an exported model.")
    parser.add_argument("model", type=Path, help="folder that `liif export` wrote")
    parser.add_argument("input", type=Path, help="image file")
    parser.add_argument("output", type=Path, help="file of the result")
    parser.add_argument("--scale", type=float, default=4.0, help="any factor (default: 4)")
    parser.add_argument("--tile", type=int, default=TILE, help="side of tiles (default: 256)")
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"{options.output}: exists already; choose another name")
    with Image.open(options.input) as picture:
        image, white = pixels(ImageOps.exif_transpose(picture))
    H, W = (max(1, round(side * options.scale)) for side in image.shape[:2])
    out = np.empty((H, W, 3), np.uint8 if white == 255 else np.uint16)
    for top, strip in strips(load(options.model), image, (H, W), options.tile):
        out[top : top + len(strip)] = (strip.clip(0, 1) * white).round()
    if white > 255:  # gray, which all three channels are
        out = out.mean(axis=2).round().astype(np.uint16)
    Image.fromarray(out).save(options.output)


if __name__ == "__main__":
    main()
