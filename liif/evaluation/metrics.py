"""PSNR and SSIM of images (C, H, W), float in [0, 1], which are not rounded to 8 bits.

Luma is that of RGB. Of images with another number of channels all are scored.
"""

import math
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.parallel import parallel_for
from liif.evaluation.definitions import COLOURS, Ssim
from liif.evaluation.protocols import ScoreProtocol

PIECE = 24
"""Columns of windows, and on a CPU rows, that one product computes; a strip of so many rows fits a
core's cache."""
GPU_ROWS = 256
"""The same for rows on a GPU, where fewer and larger products are faster."""


def luma(image: Tensor) -> Tensor:
    """Return BT.601 luma (1, H, W) of an image (3, H, W), without the offset 16/256, which cancels
    in differences."""
    weights = image.new_tensor(COLOURS["y-edsr"][0]).view(3, 1, 1)
    return (image * weights).sum(dim=0, keepdim=True)


def psnr(sr: Tensor, hr: Tensor, protocol: ScoreProtocol) -> float:
    """Return the peak signal-to-noise ratio in dB, with peak 1; infinity for equal images. Raises
    ValueError if the protocol's border leaves no pixels."""
    difference = luma(sr - hr) if protocol.luma and len(hr) == 3 else sr - hr
    error = protocol.crop(difference).square().mean().item()
    return -10 * math.log10(error) if error > 0 else math.inf


def ssim(sr: Tensor, hr: Tensor, protocol: ScoreProtocol) -> float:
    """Return the mean structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), computed on the
    device of the images and on all cores of a CPU.

    The Gaussian window has 11 px and sigma 1.5, and only whole windows count. SSIM of several
    channels is the mean over them. NaN if a side is below 11 px. Raises ValueError if the
    protocol's border leaves no pixels.
    """
    if protocol.luma and len(hr) == 3:
        sr, hr = luma(sr) + 16 / 256, luma(hr) + 16 / 256
    return similarity(protocol.crop(sr), protocol.crop(hr), Ssim())


def similarity(sr: Tensor, hr: Tensor, definition: Ssim) -> float:
    """As `ssim`, of all pixels, with the windows of a definition; its colours and its border are
    not applied. NaN if a side is below that of the window, or below 6 px where it is padded."""
    window = _window(definition)
    around = len(window) - 1
    peak = 1.0
    if definition.peak == "range":
        peak = max((each.max() - each.min()).item() for each in (sr, hr))
    if definition.padding != "none":
        if min(hr.shape[1:]) <= around // 2:
            return math.nan
        mode = "constant" if definition.padding == "zero" else definition.padding
        sr, hr = (F.pad(each[None], [around // 2] * 4, mode)[0] for each in (sr, hr))
    channels, height, width = len(hr), hr.shape[1] - around, hr.shape[2] - around
    if min(height, width) < 1:
        return math.nan
    is_cpu = hr.device.type == "cpu"
    rows = PIECE if is_cpu else GPU_ROWS
    across, down = (
        _window_matrix(window, PIECE, hr.device).mT,
        _window_matrix(window, rows, hr.device),
    )
    is_volume = definition.channels == "volume"
    mix = _channel_matrix(window, channels, hr.device) if is_volume else None
    form = _Form(down, across, mix, definition, (0.01 * peak) ** 2, (0.03 * peak) ** 2)
    groups = [slice(None)] if is_volume else [slice(i, i + 1) for i in range(channels)]
    tops = range(0, height, rows)
    sums = torch.zeros(len(groups), len(tops), dtype=torch.float64, device=hr.device)

    def add(strip: tuple[int, int]) -> None:
        group, i = strip
        part = groups[group], slice(tops[i], tops[i] + rows + around)
        sums[group, i] = _ssim_sum(sr[part], hr[part], form)

    strips = product(range(len(groups)), range(len(tops)))
    if is_cpu:
        parallel_for(add, strips)
    else:
        for strip in strips:
            add(strip)
    return sums.sum().item() / (channels * height * width)


class _Form(NamedTuple):
    """How windows are weighted, along columns and rows, (R, R + n - 1) and (C + n - 1, C), and for
    volumes along channels, (channels, channels); the constants C1 and C2."""

    down: Tensor
    across: Tensor
    mix: Tensor | None
    definition: Ssim
    c1: float
    c2: float


def _ssim_sum(a: Tensor, b: Tensor, form: _Form) -> Tensor:
    """Return the sum of the SSIM of all whole windows of a strip (channels, h, W).

    Means over windows are products with small matrices, which are several times faster on a CPU
    than convolutions in double precision.
    """
    # In double precision, because the variances are small differences of large numbers.
    a, b = a.double(), b.double()
    around = form.down.shape[1] - form.down.shape[0]
    height, width = a.shape[1] - around, a.shape[2] - around
    maps = torch.stack([a, b, a * b, a * a + b * b])
    if form.mix is not None:
        maps = torch.einsum("ij,kjhw->kihw", form.mix, maps)
    maps = form.down[:height, : height + around] @ maps
    pieces = F.pad(maps, (0, -width % PIECE)).unfold(3, PIECE + around, PIECE)
    mean_a, mean_b, mean_ab, mean_squares = (pieces @ form.across).flatten(3)[..., :width]
    product_of_means, squared_means = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    covariance, variances = mean_ab - product_of_means, mean_squares - squared_means
    if form.definition.covariance == "sample":
        count = (around + 1) ** 2
        covariance, variances = (each * (count / (count - 1)) for each in (covariance, variances))
    contrast = (2 * covariance + form.c2) / (variances + form.c2)
    if form.definition.contrast == "clipped":
        contrast = contrast.clamp(min=0)
    return ((2 * product_of_means + form.c1) / (squared_means + form.c1) * contrast).sum()


def _window(definition: Ssim) -> Tensor:
    """Return the weights of a window along an axis, (n,)."""
    if definition.window == "uniform-7":
        return torch.full((7,), 1 / 7, dtype=torch.float64)
    offset = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-offset.square() / (2 * 1.5**2))
    return window / window.sum()


def _window_matrix(window: Tensor, count: int, device: torch.device) -> Tensor:
    """Return a matrix (count, count + n - 1) that has the window in columns i to i + n - 1 of row
    i."""
    matrix = torch.zeros(count, count + len(window) - 1, dtype=torch.float64)
    for i in range(count):
        matrix[i, i : i + len(window)] = window
    return matrix.to(device)


def _channel_matrix(window: Tensor, channels: int, device: torch.device) -> Tensor:
    """Return the weights (channels, channels) of a window along the channels, the first and the
    last of which continue beyond."""
    matrix = torch.zeros(channels, channels, dtype=torch.float64)
    for i in range(channels):
        for k, weight in enumerate(window, i - len(window) // 2):
            matrix[i, min(max(k, 0), channels - 1)] += weight
    return matrix.to(device)
