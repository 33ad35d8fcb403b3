"""A model's scores on a set of image pairs, one by one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.core.parallel import read_ahead
from liif.data.pairs import Pair, PairSet
from liif.evaluation.metrics import LUMA, psnr, ssim
from liif.evaluation.protocols import ScoreProtocol
from liif.images.convert import to_tensor
from liif.images.resize import matlab_bicubic
from liif.inference.predict import DEFAULT_OPTIONS, InferenceOptions, predict
from liif.models.model import SRModel

Perceptual = Callable[[Tensor, Tensor, ScoreProtocol], float]
"""A further score of two images (3, H, W) in [0, 1], such as LPIPS."""


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


def evaluate(
    model: SRModel,
    pairs: Iterable[Pair],
    protocol: ScoreProtocol,
    options: InferenceOptions = DEFAULT_OPTIONS,
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
        sr = predict(model, lr, size, options).clamp(0, 1)
        if options.round:
            sr = (sr * 255).round() / 255
        bicubic = to_tensor(matlab_bicubic(pair.lr, size)).to(device)
        try:
            rgb, y = (psnr(sr, hr, replace(protocol, luma=luma)) for luma in (False, True))
            further = perceptual(sr, hr, protocol) if perceptual else None
            result = (y if protocol.luma else rgb), rgb, y, ssim(sr, hr, protocol), further
            baseline = psnr(bicubic, hr, protocol)
        except ValueError as error:
            raise UserError(f"{pair.name}: {error}; use protocol: none or larger images") from None
        yield Score(pair.name, *result, baseline, pair, sr)


def evaluate_distributed(
    team: Team,
    model: SRModel,
    pairs: PairSet | list[Pair],
    protocol: ScoreProtocol,
    options: InferenceOptions = DEFAULT_OPTIONS,
    perceptual: Perceptual | None = None,
) -> Iterator[Score]:
    """As `scores`: every process of the team works on its share, and each is given all scores in
    order; the images of its own only."""
    own = evaluate(model, pairs[team.rank :: team.size], protocol, options, perceptual)
    for _ in range(0, len(pairs), team.size):
        score = next(own, None)
        bare = None if score is None else score._replace(pair=None, sr=None)
        for rank, other in enumerate(team.gather(bare)):
            if (found := score if rank == team.rank else other) is not None:
                yield found


def bicubic_scores(
    pair: Pair,
    scale: tuple[float, float],
    protocol: ScoreProtocol,
    perceptual: Perceptual | None = None,
) -> dict[str, float | None]:
    """The scores of MATLAB's bicubic enlargement, by the names that they have in `Score`."""
    size = (pair.hr.shape[0], pair.hr.shape[1])
    sr, hr = to_tensor(matlab_bicubic(pair.lr, size)), to_tensor(pair.hr)
    rgb = psnr(sr, hr, replace(protocol, luma=False))
    y = _luma_bicubic_psnr(pair, scale, protocol)
    further = perceptual(sr, hr, protocol) if perceptual else None
    main = y if protocol.luma else rgb
    return {
        "psnr": main,
        "psnr_rgb": rgb,
        "psnr_y": y,
        "ssim": ssim(sr, hr, protocol),
        "lpips": further,
    }


def _luma_bicubic_psnr(pair: Pair, scale: tuple[float, float], protocol: ScoreProtocol) -> float:
    """As the literature's figures for bicubic were made (Dong et al., SRCNN, 2014): the 8-bit luma
    of the high-resolution image is reduced and enlarged, with no rounding in between. On Set5 this
    is 0.01 dB below enlarging the published low-resolution images."""
    y = (pair.hr @ (np.array(LUMA) / 256) + 16).round()[..., None]
    lr_size, size = pair.lr.shape[:2], pair.hr.shape[:2]
    small = matlab_bicubic(y, (lr_size[0], lr_size[1]), scale=(1 / scale[0], 1 / scale[1]))
    large = matlab_bicubic(small, (size[0], size[1]), scale=scale).round().clip(0, 255)
    sr, hr = (torch.from_numpy(image).permute(2, 0, 1) / 255 for image in (large, y))
    return psnr(sr, hr, replace(protocol, luma=False))
