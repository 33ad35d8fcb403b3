"""A model's scores on a set of image pairs, one by one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from liif.data.pairs import Pair
from liif.data.resize import matlab_bicubic
from liif.errors import UserError
from liif.geometry import Size
from liif.metrics import Protocol, psnr, ssim
from liif.models.reference import upscale as upscale_as_published
from liif.models.sr import Precision, SRModel

Engine = Literal["fast", "reference"]
Item = TypeVar("Item")


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


class Means(NamedTuple):
    """By what means a model enlarges; the numbers are the same up to rounding."""

    engine: Engine = "fast"
    """"reference" is the published formulation, plain and slow, in float32."""
    precision: Precision = "float32"
    memory: int | None = None
    """As in `SRModel.upscale`."""


AS_USUAL = Means()


def strips(model: SRModel, lr: Tensor, size: Size, by: Means = AS_USUAL) -> Iterator[Tensor]:
    """The enlarged image of lr (3, h, w), not clamped, as (3, rows, W) from top to bottom."""
    if by.engine == "reference":
        yield upscale_as_published(model, lr, size)
        return
    for _, strip in model.strips(lr[None], size, precision=by.precision, memory=by.memory):
        yield strip[0]


def scores(
    model: SRModel, pairs: Iterable[Pair], how: Protocol, by: Means = AS_USUAL
) -> Iterator[Score]:
    """Enlarge every low-resolution image to the size of its partner and compare; the model is
    clamped to [0, 1] and not rounded.

    Raises:
        UserError: an image of which the protocol leaves nothing.
    """
    device = model.mean.device
    for pair in read_ahead(pairs):
        lr, hr = to_tensor(pair.lr).to(device), to_tensor(pair.hr).to(device)
        size = (pair.hr.shape[0], pair.hr.shape[1])
        sr = torch.cat(list(strips(model, lr, size, by)), dim=1).clamp(0, 1)
        bicubic = to_tensor(matlab_bicubic(pair.lr, size)).to(device)
        try:
            result = psnr(sr, hr, how), ssim(sr, hr, how), psnr(bicubic, hr, how)
        except ValueError as error:
            raise UserError(f"{pair.name}: {error}; use protocol: none or larger images") from None
        yield Score(pair.name, *result, pair, sr)


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made while its forerunner is worked on."""
    source = iter(items)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, source, None)
            yield item


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float (3, H, W) in [0, 1]."""
    return torch.tensor(image).permute(2, 0, 1).contiguous().float() / 255


def to_image(image: Tensor) -> np.ndarray:
    """float (3, H, W) in [0, 1] -> uint8 (H, W, 3), rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
