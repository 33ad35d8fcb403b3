"""One picture that shows what a model makes of a photograph: parts of it as they are, enlarged by
bicubic, by the model, and as they should be.

Letters: h w the photograph, H W the result.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from liif.core.errors import UserError
from liif.core.sizes import Size, Window
from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import get_protocol
from liif.figures.crops import Box
from liif.figures.sheets import Tile, framed_sheet
from liif.images.convert import to_image, to_tensor
from liif.images.photo import Photo
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict_strips
from liif.models.model import SRModel

TILE_PX = 296
"""Width of a part on the sheet."""
PARTS = 2
"""Chosen where none are given."""


def comparison(
    model: SRModel,
    photo: Photo,
    size: Size,
    name: str,
    boxes: Sequence[Box] | None = None,
    reference: Photo | None = None,
    options: InferenceOptions = DEFAULT_OPTIONS,
) -> tuple[np.ndarray, str]:
    """The photograph with boxes (in its own pixels) drawn in, and below each of them
    nearest | bicubic | the model | the reference, cut from the whole of `size` (H, W).

    Returns:
        The sheet, uint8 (H, W, 3), and what it shows in words: with a reference, PSNR of the whole.

    Raises:
        UserError: a box beyond the photograph, a reference of another size.
    """
    lr = _rgb(photo)
    hr = None if reference is None else _rgb(reference)
    if hr is not None and hr.shape[:2] != size:
        H, W = hr.shape[:2]
        raise UserError(f"--reference has {W}×{H} px, the result {size[1]}×{size[0]}; give --size")
    h, w = lr.shape[:2]
    scale = size[0] / h, size[1] / w
    for box in boxes or ():
        if box.x + box.w > w or box.y + box.h > h:
            raise UserError(f"--box {','.join(map(str, box))}: {name} has {w}×{h} px")
    boxes = boxes or detailed(lr, min(w, max(8, round(TILE_PX / scale[1]))), PARTS)
    whole = None if hr is None else _made(model, lr, size, Window(0, 0, h, w), options)
    rows: list[list[Tile]] = []
    for box in boxes:
        part = _Part.of(box, size, scale)
        sr = _made(model, lr, part.size, part.window, options) if whole is None else part.cut(whole)
        rows.append(_row(part, lr, sr, None if hr is None else part.cut(to_tensor(hr)), scale))
    title = f"{name}, ×{scale[0]:.4g}" + (
        "" if round(scale[0] / scale[1], 2) == 1 else f", ×{scale[1]:.4g}"
    )
    if whole is not None and hr is not None:
        title += f": {_scores(lr, whole, to_tensor(hr), size)}"
    return framed_sheet(lr, boxes, rows, width=TILE_PX), title


class _Part(NamedTuple):
    """Whole pixels of the result that show a box."""

    top: int
    left: int
    size: Size
    window: Window

    @staticmethod
    def of(box: Box, size: Size, scale: tuple[float, float]) -> "_Part":
        top, left = round(box.y * scale[0]), round(box.x * scale[1])
        bottom = min(size[0], max(top + 1, round((box.y + box.h) * scale[0])))
        right = min(size[1], max(left + 1, round((box.x + box.w) * scale[1])))
        H, W = bottom - top, right - left
        window = Window(top / scale[0], left / scale[1], H / scale[0], W / scale[1])
        return _Part(top, left, (H, W), window)

    def cut(self, image: Tensor) -> Tensor:
        return image[:, self.top : self.top + self.size[0], self.left : self.left + self.size[1]]


def _row(
    part: _Part, lr: np.ndarray, sr: Tensor, hr: Tensor | None, scale: tuple[float, float]
) -> list[Tile]:
    """The part by every method, uint8 of its size in the result."""
    nearest, bicubic = (_resized(lr, part.size, part.window, how) for how in _HOW)
    tiles = [("input", nearest), ("bicubic", bicubic), ("LIIF", to_image(sr))]
    if hr is None:
        return [Tile(image, label) for label, image in tiles]
    how = get_protocol("none", scale)
    scored = [
        Tile(tiles[0][1], "input"),
        Tile(bicubic, f"bicubic  {psnr(to_tensor(bicubic), hr, how):.2f} dB"),
        Tile(tiles[2][1], f"LIIF  {psnr(sr.clamp(0, 1), hr, how):.2f} dB"),
    ]
    return [*scored, Tile(to_image(hr), "reference")]


_HOW = (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)


def _resized(lr: np.ndarray, size: Size, window: Window, how: Image.Resampling) -> np.ndarray:
    y, x, h, w = window
    image = Image.fromarray(lr).resize((size[1], size[0]), how, (x, y, x + w, y + h))
    return np.asarray(image)


def _scores(lr: np.ndarray, sr: Tensor, hr: Tensor, size: Size) -> str:
    h, w = lr.shape[:2]
    how = get_protocol("none", (size[0] / h, size[1] / w))
    bicubic = to_tensor(_resized(lr, size, Window(0, 0, h, w), Image.Resampling.BICUBIC))
    found = psnr(bicubic, hr, how), psnr(sr.clamp(0, 1), hr, how)
    return f"PSNR of the whole {found[0]:.2f} dB by bicubic, {found[1]:.2f} dB by the model"


def _made(
    model: SRModel, lr: np.ndarray, size: Size, window: Window, options: InferenceOptions
) -> Tensor:
    lr_tensor = to_tensor(lr).to(model.mean)
    is_whole = window == (0, 0, *lr.shape[:2])
    made = predict_strips(model, lr_tensor, size, options, window=None if is_whole else window)
    return torch.cat([strip.cpu() for strip in made], dim=1)


def detailed(image: np.ndarray, side: int, count: int) -> list[Box]:
    """The squares of an image (h, w, 3) with the most edges, none over another."""
    luma = image.astype(np.float64).mean(axis=2)
    side_y, side_x = min(side, luma.shape[0]), min(side, luma.shape[1])
    edges = np.zeros_like(luma)
    edges[:-1, :-1] = np.hypot(np.diff(luma, axis=0)[:, :-1], np.diff(luma, axis=1)[:-1])
    sums = np.pad(edges.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = (
        sums[side_y:, side_x:] - sums[:-side_y, side_x:]
        - sums[side_y:, :-side_x] + sums[:-side_y, :-side_x]
    )  # fmt: skip
    boxes: list[Box] = []
    while len(boxes) < count and inside.max() >= 0:
        y, x = (int(i) for i in np.unravel_index(inside.argmax(), inside.shape))
        boxes.append(Box(x, y, side_x, side_y))
        inside[max(0, y - side_y + 1) : y + side_y, max(0, x - side_x + 1) : x + side_x] = -1
    return boxes


def _rgb(photo: Photo) -> np.ndarray:
    """uint8 (h, w, 3), on white."""
    colour = photo.colour.astype(np.float64) / np.iinfo(photo.colour.dtype).max
    if photo.alpha is not None:
        alpha = photo.alpha[..., None] / np.iinfo(photo.alpha.dtype).max
        colour = colour * alpha + 1 - alpha
    return np.repeat((colour * 255).round().astype(np.uint8), 3 // colour.shape[2], axis=2)
