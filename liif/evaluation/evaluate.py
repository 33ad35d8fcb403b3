"""Scores of a model on image pairs: while an image is enlarged, the previous ones are scored."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.core.memory import is_out_of_memory
from liif.core.parallel import background_map, read_ahead
from liif.core.sizes import Scale, Window
from liif.data.pairs import Pair, PairSet
from liif.evaluation.definitions import COLOURS
from liif.evaluation.metrics import psnr, ssim
from liif.evaluation.protocols import ScoreProtocol
from liif.evaluation.quality import Quality, QualityScores
from liif.images.convert import to_tensor
from liif.images.resize import matlab_bicubic
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict
from liif.models.model import SRModel
from liif.models.precision import float64_device

Perceptual = Callable[[Tensor, Tensor, ScoreProtocol], float]
"""A perceptual score, such as LPIPS, of two images (3, H, W) in [0, 1]."""


METRICS = ("psnr", "psnr_rgb", "psnr_y", "ssim", "lpips")
"""The fields of a Score that compare an output with the high-resolution image."""


class Failure(NamedTuple):
    """An image without scores: it cannot be read, or is too small for the protocol."""

    name: str
    reason: str
    """One line for the user, which names the file."""


class Score(NamedTuple):
    """Scores of one image, with the images themselves."""

    name: str
    psnr: float
    """In dB, of the protocol's channels: equal to `psnr_rgb` or to `psnr_y`."""
    psnr_rgb: float
    """Of all channels."""
    psnr_y: float
    """Of luma; of all channels if the image is not RGB."""
    ssim: float
    lpips: float | None
    """None unless a perceptual score was requested."""
    bicubic: float
    """PSNR in dB of MATLAB's bicubic enlargement, rounded to the bits of the image; NaN if the
    images have different numbers of channels."""
    pair: Pair | None
    sr: Tensor | None
    """The output, (C, H, W) in [0, 1]. `pair` and `sr` are None where the images were dropped."""
    quality: QualityScores | None = None
    """Scores of the metrics of pyiqa that were requested."""


_Enlarged = tuple[Pair, Tensor, float | None, QualityScores | None]
"""A pair, its output and what was scored in the calling thread."""


def evaluate(
    model: SRModel,
    pairs: PairSet | list[Pair],
    protocol: ScoreProtocol,
    options: InferenceOptions = DEFAULT_OPTIONS,
    perceptual: Perceptual | None = None,
    team: Team = ALONE,
    bicubic: dict[str, float] | None = None,
    failures: list[Failure] | None = None,
    quality: Sequence[Quality] = (),
) -> Iterator[Score]:
    """Yield the scores of each pair, in order, to every process of the team.

    Each low-resolution image is enlarged to the size of its high-resolution partner and clamped to
    [0, 1]. It is not rounded to the bits of the image unless `options.round` is set. Every process
    works on its share of the pairs; scores from other processes come without images. Up to two
    images are scored in the background, on the model's device, while the next one is enlarged.
    Images that cannot be read, or are too small for the protocol, are added to `failures`; without
    such a list the first one raises UserError.

    Metrics of `quality` are scored without the protocol's border, as `perceptual` is.

    `bicubic` keeps the PSNR of bicubic, by the name of the pair, from one evaluation of a set to
    the next under the same protocol: what is in it is not computed again.
    """
    known = {} if bicubic is None else bicubic

    def enlarged() -> Iterator[_Enlarged | Failure]:
        for pair in read_ahead(readable(pairs, range(team.rank, len(pairs), team.size))):
            if isinstance(pair, Failure):
                yield pair
                continue
            lr, (H, W, _) = to_tensor(pair.lr).to(model.mean.device), pair.hr.shape
            sr = predict(model, lr, (H, W), options, window=_window(pair)).clamp(0, 1)
            if options.round and pair.hr.dtype != np.float32:
                levels = np.iinfo(pair.hr.dtype).max
                sr = (sr * levels).round() / levels
            try:
                lpips = _perceptual_score(perceptual, pair, sr, protocol)
                found = _quality_scores(quality, pair, sr, protocol)
            except UserError as error:
                yield Failure(pair.name, str(error))
            else:
                yield pair, sr, lpips, found

    def score(found: _Enlarged | Failure) -> Score | Failure:
        if isinstance(found, Failure):
            return found
        pair, sr, lpips, scored = found
        try:
            baseline = known.get(pair.name)
            if baseline is None:
                baseline = _bicubic_psnr(pair, protocol)
            try:
                return _score(pair, sr, protocol, baseline, lpips)._replace(quality=scored)
            except RuntimeError as error:
                if not (sr.is_cuda and is_out_of_memory(error)):
                    raise
            # Not inside `except`: the traceback would keep the tensors of the failed try alive.
            return _score(pair, sr.cpu(), protocol, baseline, lpips)._replace(quality=scored)
        except UserError as error:
            return Failure(pair.name, str(error))

    own = background_map(score, enlarged())
    for _ in range(0, len(pairs), team.size):
        found = without_images = next(own, None)
        if isinstance(found, Score):
            known[found.name] = found.bicubic
            without_images = found._replace(pair=None, sr=None)
        for rank, other in enumerate(team.gather(without_images)):
            each: Score | Failure | None = found if rank == team.rank else other
            if isinstance(each, Score):
                yield each
            elif each is not None:
                if failures is None:
                    raise UserError(each.reason)
                failures.append(each)


def readable(pairs: PairSet | list[Pair], indices: Iterable[int]) -> Iterator[Pair | Failure]:
    """Yield the pairs at these positions; a failure for one that cannot be read."""
    for i in indices:
        if isinstance(pairs, list):
            yield pairs[i]
            continue
        try:
            pair = pairs.pair(i)
        except UserError as error:
            yield Failure(pairs.names[i], str(error))
        else:
            yield pair


def listed(failures: Sequence[Failure], count: int) -> str:
    """Return one line about the images of a set of `count` that have no scores."""
    reasons = [each.reason.replace("\n", "; ") for each in failures[:5]]
    reasons += ["…"] if len(failures) > 5 else []
    return f"{len(failures)} of {count} images have no scores: {'; '.join(reasons)}"


def _bicubic_psnr(pair: Pair, protocol: ScoreProtocol) -> float:
    """Return the PSNR of MATLAB's bicubic enlargement; NaN if the images have different numbers of
    channels."""
    (H, W, channels), lr = pair.hr.shape, pair.lr
    if lr.shape[2] != channels:
        return math.nan
    if lr.dtype == np.float32:
        sr = matlab_bicubic(lr.astype(np.float64), (H, W), scale=pair.scale).clip(0, 1)
    else:
        sr = matlab_bicubic(lr, (H, W), scale=pair.scale)
    with _too_small(pair):
        return psnr(to_tensor(sr), to_tensor(pair.hr), protocol)


def _window(pair: Pair) -> Window | None:
    """Return the part of the low-resolution image that the high-resolution one covers; None for the
    whole."""
    if pair.scale is None:
        return None
    (H, W, _), (y, x) = pair.hr.shape, pair.scale
    return Window(0, 0, H / y, W / x)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean of a sequence that is not empty."""
    return sum(values) / len(values)


def bicubic_score(
    pair: Pair,
    scale: Scale,
    protocol: ScoreProtocol,
    perceptual: Perceptual | None = None,
    *,
    degraded: bool = False,
) -> Score:
    """Return the scores of MATLAB's bicubic enlargement, rounded to 8 bits.

    PSNR in luma is computed as published since SRCNN (Dong et al. 2014): the 8-bit luma of the
    high-resolution image is reduced and enlarged without rounding in between. On Set5 this is
    0.01 dB below enlarging the published low-resolution images. If the pair is `degraded`, not
    reduced by bicubic, luma is that of the enlarged low-resolution image. Raises UserError if the
    image is too small for the protocol.
    """
    (h, w, _), (H, W, _) = pair.lr.shape, pair.hr.shape
    sr = to_tensor(matlab_bicubic(pair.lr, (H, W), scale=pair.scale))
    with _too_small(pair):
        baseline = psnr(sr, to_tensor(pair.hr), protocol)
    lpips = _perceptual_score(perceptual, pair, sr, protocol)
    score = _score(pair, sr, protocol, baseline, lpips)
    if degraded:
        return score
    luma = (pair.hr @ np.array(COLOURS["y-edsr"][0]) + 16).round()[..., None]
    small = matlab_bicubic(luma, (h, w), scale=(1 / scale[0], 1 / scale[1]))
    large = matlab_bicubic(small, (H, W), scale=scale).round().clip(0, 255)
    images = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in (large, luma)]
    psnr_y = psnr(images[0], images[1], replace(protocol, luma=False))
    return score._replace(psnr=psnr_y if protocol.luma else score.psnr, psnr_y=psnr_y)


def _score(
    pair: Pair, sr: Tensor, protocol: ScoreProtocol, bicubic: float, lpips: float | None
) -> Score:
    sr = sr.to(float64_device(sr.device))  # for SSIM
    hr = to_tensor(pair.hr).to(sr.device)
    with _too_small(pair):
        rgb, y = (psnr(sr, hr, replace(protocol, luma=luma)) for luma in (False, True))
        return Score(
            name=pair.name, psnr=y if protocol.luma else rgb, psnr_rgb=rgb, psnr_y=y,
            ssim=ssim(sr, hr, protocol), lpips=lpips, bicubic=bicubic, pair=pair, sr=sr,
        )  # fmt: skip


def _perceptual_score(
    perceptual: Perceptual | None, pair: Pair, sr: Tensor, protocol: ScoreProtocol
) -> float | None:
    """Return a perceptual score, in the calling thread: it sets TF32 for the whole process."""
    if perceptual is None:
        return None
    with _too_small(pair):
        return perceptual(sr, to_tensor(pair.hr).to(sr.device), protocol)


def _quality_scores(
    quality: Sequence[Quality], pair: Pair, sr: Tensor, protocol: ScoreProtocol
) -> QualityScores | None:
    """Return the scores of metrics of pyiqa; None without any. Raises UserError."""
    if not quality:
        return None
    with _too_small(pair):
        a, b = protocol.crop(sr), protocol.crop(to_tensor(pair.hr).to(sr.device))
    try:
        return {each.name: each.score(a, b) for each in quality}
    except ValueError as error:
        raise UserError(f"{pair.name}: {error}") from None


@contextmanager
def _too_small(pair: Pair) -> Generator[None]:
    """Raise a ValueError of the block, about a border that leaves nothing, as a UserError."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{pair.name}: {error}; use protocol: none or larger images") from None
