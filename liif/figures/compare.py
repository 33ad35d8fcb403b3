"""Compare a model with bicubic on parts of a photograph, in one image.

Letters: h w the photograph, H W the output.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from liif.core.errors import UserError
from liif.core.sizes import Box, Scale, Size, Window
from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import ScoreProtocol
from liif.figures.sheets import Tile, sheet
from liif.images.convert import to_image, to_tensor
from liif.images.photo import Photo
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict_strips
from liif.models.model import SRModel

TILE_PX = 296
"""Width of the tiles on the sheet."""
DEFAULT_BOXES = 2
"""Number of boxes that are chosen by detail."""

ALL_PIXELS = ScoreProtocol(luma=False, border=(0, 0))


def comparison(
    model: SRModel,
    photo: Photo,
    size: Size,
    name: str,
    boxes: Sequence[Box] | None = None,
    reference: Photo | None = None,
    options: InferenceOptions = DEFAULT_OPTIONS,
) -> tuple[np.ndarray, str]:
    """Compare nearest neighbour, bicubic, the model and, if given, the reference.

    The sheet, uint8 (H, W, 3), shows the photograph with its boxes. Below it there is a row of
    tiles for each box, cut from the output of `size` (H, W). Boxes are in pixels of the photograph;
    without boxes, the parts with most detail are chosen. Raises UserError if a box reaches beyond
    the photograph or the reference has another size.

    Returns:
        The sheet and its title, which has the PSNR of the whole images if there is a reference.
    """
    lr = _rgb(photo)
    hr = None if reference is None else _rgb(reference)
    if hr is not None and hr.shape[:2] != size:
        H, W = hr.shape[:2]
        sizes = f"--reference has {W}×{H} px, but the output has {size[1]}×{size[0]} px"
        raise UserError(f"{sizes}; omit --scale and --size, or make them match")
    h, w = lr.shape[:2]
    scale = size[0] / h, size[1] / w
    for box in boxes or ():
        if box.x + box.w > w or box.y + box.h > h:
            text = f"--box {','.join(map(str, box))}: reaches beyond {name}"
            raise UserError(f"{text}, which has {w}×{h} px")
    boxes = boxes or most_detailed(lr, min(w, max(8, round(TILE_PX / scale[1]))), DEFAULT_BOXES)
    title = f"{name}, ×{scale[0]:.4g}"
    if round(scale[0] / scale[1], 2) != 1:
        title += f", ×{scale[1]:.4g}"
    crops = [_Crop.of_box(box, size, scale) for box in boxes]

    def enlarged(size: Size, window: Window | None = None) -> Tensor:
        strips = predict_strips(model, to_tensor(lr).to(model.mean), size, options, window=window)
        return torch.cat([strip.cpu() for strip in strips], dim=1)

    if hr is None:
        rows = [_tiles(crop, lr, enlarged(crop.size, crop.window)) for crop in crops]
    else:
        window, whole, target = Window(0, 0, h, w), enlarged(size), to_tensor(hr)
        rows = [_tiles(crop, lr, crop.cut(whole), crop.cut(target)) for crop in crops]
        bicubic = _psnr(_resized(lr, size, window, Image.Resampling.BICUBIC), target)
        title += f": PSNR of the whole image is {bicubic:.2f} dB with bicubic, "
        title += f"{_psnr(whole, target):.2f} dB with LIIF"
    return sheet(rows, lr, boxes), title


class _Crop(NamedTuple):
    """The whole pixels of the output that show a box."""

    top: int
    left: int
    size: Size
    window: Window

    @staticmethod
    def of_box(box: Box, size: Size, scale: Scale) -> "_Crop":
        top, left = round(box.y * scale[0]), round(box.x * scale[1])
        bottom = min(size[0], max(top + 1, round((box.y + box.h) * scale[0])))
        right = min(size[1], max(left + 1, round((box.x + box.w) * scale[1])))
        H, W = bottom - top, right - left
        window = Window(top / scale[0], left / scale[1], H / scale[0], W / scale[1])
        return _Crop(top, left, (H, W), window)

    def cut(self, image: Tensor) -> Tensor:
        return image[:, self.top : self.top + self.size[0], self.left : self.left + self.size[1]]


def _tiles(crop: _Crop, lr: np.ndarray, sr: Tensor, hr: Tensor | None = None) -> list[Tile]:
    """Return the tiles of a crop; `sr` and `hr` are (3, H, W) of its size."""
    nearest = _resized(lr, crop.size, crop.window, Image.Resampling.NEAREST)
    bicubic = _resized(lr, crop.size, crop.window, Image.Resampling.BICUBIC)
    tiles = {"input": nearest, "bicubic": bicubic, "LIIF": sr}
    if hr is not None:
        tiles = {"input": nearest, f"bicubic  {_psnr(bicubic, hr):.2f} dB": bicubic}
        tiles |= {f"LIIF  {_psnr(sr, hr):.2f} dB": sr, "reference": hr}
    return [Tile(_fitted(to_image(image)), label) for label, image in tiles.items()]


def _psnr(sr: Tensor, hr: Tensor) -> float:
    return psnr(sr.clamp(0, 1), hr, ALL_PIXELS)


def _resized(lr: np.ndarray, size: Size, window: Window, method: Image.Resampling) -> Tensor:
    """Return the window of lr (h, w, 3), resized by Pillow, as (3, H, W)."""
    y, x, h, w = window
    image = Image.fromarray(lr).resize((size[1], size[0]), method, (x, y, x + w, y + h))
    return to_tensor(np.asarray(image))


def _fitted(image: np.ndarray) -> np.ndarray:
    """Resize to TILE_PX: small images by repeating pixels, large ones with antialiasing."""
    picture = Image.fromarray(image)
    methods = Image.Resampling
    method = methods.NEAREST if picture.width < TILE_PX else methods.LANCZOS
    height = max(1, round(picture.height * TILE_PX / picture.width))
    return np.asarray(picture.resize((TILE_PX, height), method))


def most_detailed(image: np.ndarray, side: int, count: int) -> list[Box]:
    """Return up to `count` squares of an image (h, w, 3) with most edges, which do not overlap."""
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
    """Return a photograph on white as uint8 (h, w, 3)."""
    colour = photo.colour.astype(np.float64) / np.iinfo(photo.colour.dtype).max
    if photo.alpha is not None:
        alpha = photo.alpha[..., None] / np.iinfo(photo.alpha.dtype).max
        colour = colour * alpha + 1 - alpha
    return np.repeat((colour * 255).round().astype(np.uint8), 3 // colour.shape[2], axis=2)
