"""PSNR and SSIM of pictures by any definition."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from liif.core.sizes import Scale
from liif.evaluation.definitions import COLOURS, Compared, Definition, Psnr
from liif.evaluation.metrics import similarity


class Measured(NamedTuple):
    """A score of one picture."""

    value: float
    """In dB for PSNR; infinity for equal pictures."""
    error: float
    """PSNR: the mean squared error, with eps and divided by peak². SSIM: not used."""
    pixels: int

    def with_eps(self, eps: float) -> "Measured":
        """Return the PSNR with something added to the mean squared error, for peak 1."""
        error = self.error + eps
        return Measured(decibels(error), error, self.pixels)


def measure(definition: Definition, sr: Tensor, hr: Tensor, scale: Scale) -> Measured:
    """Return the score of a result and the true picture, both (C, H, W) in [0, 1]; `scale` is
    (y, x). Raises ValueError if the border leaves no pixels."""
    if definition.sr == "8bit":
        sr = to_8_bit(sr)
    sr, hr = (compared(definition, each.double(), scale) for each in (sr, hr))
    if isinstance(definition, Psnr):
        return _psnr(definition, sr, hr)
    if definition.shrink == "blocks":
        sr, hr = (_averaged(each) for each in (sr, hr))
    return Measured(similarity(sr, hr, definition), math.nan, hr[0].numel())


def over_set(definition: Definition, scores: Sequence[Measured]) -> float:
    """Return the score of a set from those of its pictures."""
    if isinstance(definition, Psnr) and definition.over == "pixels":
        total = sum(score.error * score.pixels for score in scores)
        return decibels(total / sum(score.pixels for score in scores))
    return sum(score.value for score in scores) / len(scores)


def compared(definition: Compared, image: Tensor, scale: Scale) -> Tensor:
    """Return the channels (C', H', W') of an image (C, H, W), float64, that are compared."""
    if definition.gray == "rgb" and len(image) == 1:
        image = image.expand(3, -1, -1)
    if definition.colour != "rgb" and len(image) == 3:
        weights, offset = COLOURS[definition.colour]
        image = (image * image.new_tensor(weights).view(3, 1, 1)).sum(0, keepdim=True) + offset
    if definition.luma == "8bit":
        image = (image * 255).round() / 255
    (H, W), (y, x) = image.shape[1:], definition.border_at(scale)
    if min(H - 2 * y, W - 2 * x) < 1:
        raise ValueError(f"{H}×{W} px is too small for a border of {y} rows and {x} columns")
    return image[:, y : H - y, x : W - x]


def to_8_bit(image: Tensor) -> Tensor:
    """Round values in [0, 1] to multiples of 1/255, halves up, as files have them."""
    return (image.double() * 255 + 0.5).floor().clamp(0, 255) / 255


def _psnr(definition: Psnr, sr: Tensor, hr: Tensor) -> Measured:
    peak = (hr.max() - hr.min()).item() if definition.peak == "range" else 1.0
    squares = (sr - hr).square()
    errors = [(squares.mean().item() + definition.eps) / peak**2]
    if definition.channels == "each":
        errors = [(each.mean().item() + definition.eps) / peak**2 for each in squares]
    value = sum(decibels(error) for error in errors) / len(errors)
    return Measured(value, sum(errors) / len(errors), squares[0].numel())


def decibels(error: float) -> float:
    """Return the PSNR of a mean squared error of pictures with peak 1; infinity for 0."""
    return -10 * math.log10(error) if error > 0 else math.inf


def _averaged(image: Tensor) -> Tensor:
    """Return means over blocks of an image, so that its smaller side is about 256 px."""
    side = max(1, round(min(image.shape[1:]) / 256))
    return F.avg_pool2d(image[None], side)[0]
