"""A model's scores on a set of image pairs, one by one."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from liif.data.pairs import Pair
from liif.data.resize import matlab_bicubic
from liif.errors import UserError
from liif.metrics import Protocol, psnr, ssim
from liif.models.sr import SRModel


class Score(NamedTuple):
    """One image's scores, and the image itself for whoever wants to keep it."""

    name: str
    psnr: float
    ssim: float
    bicubic: float
    """PSNR of MATLAB's bicubic enlargement, rounded to 8 bit."""
    pair: Pair | None
    sr: Tensor | None
    """(3, H, W) in [0, 1]. Both are None once they have been let go of."""


def scores(model: SRModel, pairs: Iterable[Pair], how: Protocol) -> Iterator[Score]:
    """Enlarge every low-resolution image to the size of its partner and compare; the model is
    clamped to [0, 1] and not rounded.

    Raises:
        UserError: an image of which the protocol leaves nothing.
    """
    device = model.mean.device
    for pair in pairs:
        lr, hr = to_tensor(pair.lr).to(device), to_tensor(pair.hr).to(device)
        size = (pair.hr.shape[0], pair.hr.shape[1])
        sr = model.upscale(lr, size)
        bicubic = to_tensor(matlab_bicubic(pair.lr, size)).to(device)
        try:
            result = psnr(sr, hr, how), ssim(sr, hr, how), psnr(bicubic, hr, how)
        except ValueError as error:
            raise UserError(f"{pair.name}: {error}; use protocol: none or larger images") from None
        yield Score(pair.name, *result, pair, sr)


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float (3, H, W) in [0, 1]."""
    return torch.tensor(image).permute(2, 0, 1).contiguous().float() / 255


def to_image(image: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 (H, W, 3), rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
