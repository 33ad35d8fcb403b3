"""A model's scores on a set of image pairs, one by one."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, product
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from liif.data.pairs import Pair, PairSet
from liif.data.resize import matlab_bicubic, pillow_lanczos
from liif.distributed import Team
from liif.errors import UserError
from liif.geometry import Size, Window, borders, target_size
from liif.metrics import LUMA, Protocol, psnr, ssim
from liif.models.reference import upscale as upscale_as_published
from liif.models.sr import STRIP, Precision, SRModel

Perceptual = Callable[[Tensor, Tensor, Protocol], float]
"""A further score of two images (3, H, W) in [0, 1], such as LPIPS."""
Engine = Literal["fast", "reference"]
Item = TypeVar("Item")


class Score(NamedTuple):
    """One image's scores, and the image itself for whoever wants to keep it."""

    name: str
    psnr: float
    """In dB, of the protocol's channels: the same as one of the next two."""
    psnr_rgb: float
    psnr_y: float
    ssim: float
    lpips: float | None
    """None unless asked for."""
    bicubic: float
    """PSNR of MATLAB's bicubic enlargement, rounded to 8 bit."""
    pair: Pair | None
    sr: Tensor | None
    """(3, H, W) in [0, 1]. Both are None once they have been let go of."""


class Means(NamedTuple):
    """By what means a model enlarges. Engine, precision and memory leave the numbers as they are up
    to rounding; what follows them does not, and is off in published figures."""

    engine: Engine = "fast"
    """"reference" is the published formulation, plain and slow, in float32."""
    precision: Precision = "float32"
    memory: int | None = None
    """As in `SRModel.upscale`."""
    self_ensemble: bool = False
    """The mean over the eight flips and transpositions of the input (Lim et al. 2017: EDSR+)."""
    clip_cell: float = math.inf
    """As in `SRModel.upscale`."""
    lanczos_from: float | None = None
    """Enlarge by this factor with the model and from there to the size asked for with Lanczos."""
    round: bool = False
    """Round the result to 8 bit before it is scored."""

    @property
    def makes_strips(self) -> bool:
        """Whether parts of a result can be made on their own."""
        ensemble_or_lanczos = self.self_ensemble or self.lanczos_from is not None
        return self.engine == "fast" and not ensemble_or_lanczos

    @property
    def unusual(self) -> dict[str, float | bool | None]:
        """What is on of that which changes numbers, for result files."""
        keys = ("self_ensemble", "clip_cell", "lanczos_from", "round")
        return {k: v for k in keys if (v := getattr(self, k)) != Means._field_defaults[k]}


AS_USUAL = Means()


def strips(
    model: SRModel,
    lr: Tensor,
    size: Size,
    by: Means = AS_USUAL,
    rows: Size | None = None,
    window: Window | None = None,
) -> Iterator[Tensor]:
    """The enlarged image of lr (3, h, w), not clamped, as (3, rows, W) from top to bottom; `rows`
    and `window` as in `SRModel.strips`, for means that work in strips.

    Raises:
        UserError: a window, and means that make whole images only.
    """
    if window is not None and not by.makes_strips:
        raise UserError(
            "a part of a picture goes with neither --self-ensemble nor --lanczos-from nor "
            "--engine reference"
        )
    if by.self_ensemble:
        yield _self_ensemble(model, lr, size, by._replace(self_ensemble=False))
    elif by.lanczos_from is not None:
        first = target_size((lr.shape[1], lr.shape[2]), scale=by.lanczos_from)
        enlarged = _whole(model, lr, first, by._replace(lanczos_from=None)).permute(1, 2, 0)
        resized = torch.from_numpy(pillow_lanczos(enlarged.cpu().numpy(), size))
        yield resized.permute(2, 0, 1).to(lr.device)
    elif by.engine == "reference":
        yield upscale_as_published(model, lr, size, by.clip_cell)
    else:
        for _, strip in model.strips(
            lr[None],
            size,
            precision=by.precision,
            memory=by.memory,
            clip_cell=by.clip_cell,
            rows=rows,
            window=window,
        ):
            yield strip[0]


def shared_strips(
    team: Team,
    model: SRModel,
    lr: Tensor,
    size: Size,
    by: Means = AS_USUAL,
    window: Window | None = None,
) -> Iterator[Tensor]:
    """As `strips`, made by all processes of the team in turn; the one that leads is given them."""
    if team.size == 1 or not by.makes_strips:
        if team.leads:
            yield from strips(model, lr, size, by, window=window)
        return
    turns = -(-3 * 4 * math.prod(size) // (STRIP * team.size))
    for i, rows in enumerate(pairwise(borders(size[0], team.size * turns))):
        rank = i % team.size
        if rank == team.rank:
            strip = torch.cat(list(strips(model, lr, size, by, rows, window)), dim=1)
            if team.leads:
                yield strip
            else:
                team.send(strip)
        elif team.leads:
            yield team.receive((3, rows[1] - rows[0], size[1]), rank)


def _whole(model: SRModel, lr: Tensor, size: Size, by: Means) -> Tensor:
    return torch.cat(list(strips(model, lr, size, by)), dim=1)


def _self_ensemble(model: SRModel, lr: Tensor, size: Size, by: Means) -> Tensor:
    total = lr.new_zeros(3, *size)
    for flips, transposed in product(((), (1,), (2,), (1, 2)), (False, True)):
        turned, turned_size = lr.flip(flips), size
        if transposed:
            turned, turned_size = turned.transpose(1, 2).contiguous(), (size[1], size[0])
        sr = _whole(model, turned, turned_size, by)
        total += (sr.transpose(1, 2) if transposed else sr).flip(flips)
    return total / 8


def scores(
    model: SRModel,
    pairs: Iterable[Pair],
    how: Protocol,
    by: Means = AS_USUAL,
    perceptual: Perceptual | None = None,
) -> Iterator[Score]:
    """Enlarge every low-resolution image to the size of its partner and compare; the model is
    clamped to [0, 1] and, unless `by` says so, not rounded.

    Raises:
        UserError: an image of which the protocol leaves nothing.
    """
    device = model.mean.device
    for pair in read_ahead(pairs):
        lr, hr = to_tensor(pair.lr).to(device), to_tensor(pair.hr).to(device)
        size = (pair.hr.shape[0], pair.hr.shape[1])
        sr = _whole(model, lr, size, by).clamp(0, 1)
        if by.round:
            sr = (sr * 255).round() / 255
        bicubic = to_tensor(matlab_bicubic(pair.lr, size)).to(device)
        try:
            rgb, y = (psnr(sr, hr, replace(how, luma=luma)) for luma in (False, True))
            further = perceptual(sr, hr, how) if perceptual else None
            result = (y if how.luma else rgb), rgb, y, ssim(sr, hr, how), further
            baseline = psnr(bicubic, hr, how)
        except ValueError as error:
            raise UserError(f"{pair.name}: {error}; use protocol: none or larger images") from None
        yield Score(pair.name, *result, baseline, pair, sr)


def shared_scores(
    team: Team,
    model: SRModel,
    pairs: PairSet | list[Pair],
    how: Protocol,
    by: Means = AS_USUAL,
    perceptual: Perceptual | None = None,
) -> Iterator[Score]:
    """As `scores`: every process of the team works on its share, and each is given all scores in
    order; the images of its own only."""
    own = scores(model, pairs[team.rank :: team.size], how, by, perceptual)
    for _ in range(0, len(pairs), team.size):
        score = next(own, None)
        bare = None if score is None else score._replace(pair=None, sr=None)
        for rank, other in enumerate(team.gather(bare)):
            if (found := score if rank == team.rank else other) is not None:
                yield found


def bicubic_scores(
    pair: Pair, scale: tuple[float, float], how: Protocol, perceptual: Perceptual | None = None
) -> dict[str, float | None]:
    """The scores of MATLAB's bicubic enlargement, by the names that they have in `Score`."""
    size = (pair.hr.shape[0], pair.hr.shape[1])
    sr, hr = to_tensor(matlab_bicubic(pair.lr, size)), to_tensor(pair.hr)
    rgb = psnr(sr, hr, replace(how, luma=False))
    y = _luma_bicubic_psnr(pair, scale, how)
    further = perceptual(sr, hr, how) if perceptual else None
    main = y if how.luma else rgb
    return {"psnr": main, "psnr_rgb": rgb, "psnr_y": y, "ssim": ssim(sr, hr, how), "lpips": further}


def _luma_bicubic_psnr(pair: Pair, scale: tuple[float, float], how: Protocol) -> float:
    """As the literature's figures for bicubic were made (Dong et al., SRCNN, 2014): the 8-bit luma
    of the high-resolution image is reduced and enlarged, with no rounding in between. On Set5 this
    is 0.01 dB below enlarging the published low-resolution images."""
    y = (pair.hr @ (np.array(LUMA) / 256) + 16).round()[..., None]
    lr_size, size = pair.lr.shape[:2], pair.hr.shape[:2]
    small = matlab_bicubic(y, (lr_size[0], lr_size[1]), scale=(1 / scale[0], 1 / scale[1]))
    large = matlab_bicubic(small, (size[0], size[1]), scale=scale).round().clip(0, 255)
    sr, hr = (torch.from_numpy(image).permute(2, 0, 1) / 255 for image in (large, y))
    return psnr(sr, hr, replace(how, luma=False))


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
