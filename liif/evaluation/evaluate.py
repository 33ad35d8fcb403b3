"""Scores of a model on image pairs, one pair at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.core.parallel import read_ahead
from liif.core.sizes import Scale
from liif.data.pairs import Pair, PairSet
from liif.evaluation.metrics import LUMA, psnr, ssim
from liif.evaluation.protocols import ScoreProtocol
from liif.images.convert import to_tensor
from liif.images.resize import matlab_bicubic
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict
from liif.models.model import SRModel

Perceptual = Callable[[Tensor, Tensor, ScoreProtocol], float]
"""A perceptual score, such as LPIPS, of two images (3, H, W) in [0, 1]."""


class Metrics(NamedTuple):
    """Scores of one image against its reference."""

    psnr: float
    """In dB, of the protocol's channels: equal to `psnr_rgb` or to `psnr_y`."""
    psnr_rgb: float
    psnr_y: float
    ssim: float
    lpips: float | None
    """None unless a perceptual score was requested."""


class Score(NamedTuple):
    """Scores of one image, with the images themselves."""

    name: str
    psnr: float
    psnr_rgb: float
    psnr_y: float
    ssim: float
    lpips: float | None
    """These five are those of `Metrics`."""
    bicubic: float
    """PSNR in dB of MATLAB's bicubic enlargement, rounded to 8 bits."""
    pair: Pair | None
    sr: Tensor | None
    """The output, (3, H, W) in [0, 1]. `pair` and `sr` are None where the images were dropped."""


def evaluate(
    model: SRModel,
    pairs: Iterable[Pair],
    protocol: ScoreProtocol,
    options: InferenceOptions = DEFAULT_OPTIONS,
    perceptual: Perceptual | None = None,
) -> Iterator[Score]:
    """Yield the scores of each pair, in order.

    Each low-resolution image is enlarged to the size of its high-resolution partner and clamped to
    [0, 1]. It is not rounded to 8 bits unless `options.round` is set.

    Raises:
        UserError: an image is too small for the protocol.
    """
    device = model.mean.device
    for pair in read_ahead(pairs):
        lr, hr = to_tensor(pair.lr).to(device), to_tensor(pair.hr).to(device)
        size = (pair.hr.shape[0], pair.hr.shape[1])
        sr = predict(model, lr, size, options).clamp(0, 1)
        if options.round:
            sr = (sr * 255).round() / 255
        metrics = _metrics(pair, sr, hr, protocol, perceptual)
        baseline = psnr(to_tensor(matlab_bicubic(pair.lr, size)).to(device), hr, protocol)
        yield Score(pair.name, *metrics, baseline, pair, sr)


def evaluate_distributed(
    team: Team,
    model: SRModel,
    pairs: PairSet | list[Pair],
    protocol: ScoreProtocol,
    options: InferenceOptions = DEFAULT_OPTIONS,
    perceptual: Perceptual | None = None,
) -> Iterator[Score]:
    """Yield the scores of each pair, in order, to every process of the team.

    Like `evaluate`, but every process works on its share of the pairs. Scores from other processes
    come without images.
    """
    own = evaluate(model, pairs[team.rank :: team.size], protocol, options, perceptual)
    for _ in range(0, len(pairs), team.size):
        score = next(own, None)
        without_images = None if score is None else score._replace(pair=None, sr=None)
        for rank, other in enumerate(team.gather(without_images)):
            if (found := score if rank == team.rank else other) is not None:
                yield found


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean of a sequence that is not empty."""
    return sum(values) / len(values)


def bicubic_metrics(
    pair: Pair, scale: Scale, protocol: ScoreProtocol, perceptual: Perceptual | None = None
) -> Metrics:
    """Return the scores of MATLAB's bicubic enlargement, rounded to 8 bits.

    PSNR in luma is computed as in the published tables (see `_published_bicubic_psnr_y`).

    Raises:
        UserError: the image is too small for the protocol.
    """
    size = (pair.hr.shape[0], pair.hr.shape[1])
    sr, hr = to_tensor(matlab_bicubic(pair.lr, size)), to_tensor(pair.hr)
    metrics = _metrics(pair, sr, hr, protocol, perceptual)
    y = _published_bicubic_psnr_y(pair, scale, protocol)
    return metrics._replace(psnr=y if protocol.luma else metrics.psnr, psnr_y=y)


def _metrics(
    pair: Pair, sr: Tensor, hr: Tensor, protocol: ScoreProtocol, perceptual: Perceptual | None
) -> Metrics:
    try:
        rgb, y = (psnr(sr, hr, replace(protocol, luma=luma)) for luma in (False, True))
        lpips = perceptual(sr, hr, protocol) if perceptual else None
        return Metrics(y if protocol.luma else rgb, rgb, y, ssim(sr, hr, protocol), lpips)
    except ValueError as error:
        raise UserError(f"{pair.name}: {error}; use protocol: none or larger images") from None


def _published_bicubic_psnr_y(pair: Pair, scale: Scale, protocol: ScoreProtocol) -> float:
    """Return the luma PSNR of bicubic as published since SRCNN (Dong et al. 2014).

    The 8-bit luma of the high-resolution image is reduced and enlarged without rounding in between.
    On Set5 this is 0.01 dB below enlarging the published low-resolution images.
    """
    y = (pair.hr @ (np.array(LUMA) / 256) + 16).round()[..., None]
    lr_size, size = pair.lr.shape[:2], pair.hr.shape[:2]
    small = matlab_bicubic(y, (lr_size[0], lr_size[1]), scale=(1 / scale[0], 1 / scale[1]))
    large = matlab_bicubic(small, (size[0], size[1]), scale=scale).round().clip(0, 255)
    sr, hr = (torch.from_numpy(image).permute(2, 0, 1) / 255 for image in (large, y))
    return psnr(sr, hr, replace(protocol, luma=False))
