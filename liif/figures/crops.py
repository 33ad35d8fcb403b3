"""One part of an image, enlarged by several methods from the same low-resolution image."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from liif.data.pairs import reduce
from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import get_protocol
from liif.images.convert import to_image, to_tensor
from liif.images.resize import matlab_bicubic
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict_strips
from liif.models.model import SRModel


class Box(NamedTuple):
    """A part of an image, in pixels from its upper left corner."""

    x: int
    y: int
    w: int
    h: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """That part of (H, W, …)."""
        return image[self.y : self.y + self.h, self.x : self.x + self.w]


class Row(NamedTuple):
    """The same crop by all methods, at one scale."""

    scale: float
    crops: dict[str, np.ndarray]
    """uint8 (h, w, 3) of the size of the box, by the method's name, from left to right."""
    psnr: dict[str, float]
    """In dB, of those methods that have one."""


class Scene(NamedTuple):
    """One image, the box, and the crop at several scales."""

    name: str
    image: np.ndarray
    """uint8 (H, W, 3)."""
    box: Box
    rows: list[Row]


def enlarged(
    image: np.ndarray,
    scale: float,
    box: Box,
    models: Mapping[str, SRModel],
    path: Path,
    options: InferenceOptions = DEFAULT_OPTIONS,
) -> Row:
    """Image uint8 (H, W, 3), reduced as for a test, enlarged whole by all methods, and cut:
    LR (nearest pixels) | bicubic | each model | HR. PSNR is that of the crop, RGB, not rounded.

    Raises:
        UserError: too small for the scale; `path` says which image.
    """
    lr, hr = reduce(image, (scale, scale), path)
    H, W = hr.shape[:2]
    target = to_tensor(box.cut(hr))
    nearest = np.asarray(Image.fromarray(lr).resize((W, H), Image.Resampling.NEAREST))
    bicubic = box.cut(matlab_bicubic(lr, (H, W)))
    protocol = get_protocol("none", (scale, scale))
    crops = {"LR": box.cut(nearest), "bicubic": bicubic}
    scores = {"bicubic": psnr(to_tensor(bicubic), target, protocol)}
    for name, model in models.items():
        sr = torch.cat(
            list(predict_strips(model, to_tensor(lr).to(model.mean), (H, W), options)), dim=1
        )
        sr = sr[:, box.y : box.y + box.h, box.x : box.x + box.w].clamp(0, 1).cpu()
        crops[name], scores[name] = to_image(sr), psnr(sr, target, protocol)
    return Row(scale, {**crops, "HR": box.cut(hr)}, scores)
