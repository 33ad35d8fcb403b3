"""PSNR and SSIM of images (C, H, W), float in [0, 1], which are not rounded to 8 bits.

Luma is that of RGB. Of images with another number of channels all are scored.
"""

import math
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.parallel import parallel_for
from liif.evaluation.protocols import ScoreProtocol

LUMA = (65.738, 129.057, 25.064)
"""ITU-R BT.601 luma weights of RGB in [0, 1], in units of 1/256."""

PIECE = 24
"""Columns of windows, and on a CPU rows, that one product computes; a strip of so many rows fits a
core's cache."""
GPU_ROWS = 256
"""The same for rows on a GPU, where fewer and larger products are faster."""


def luma(image: Tensor) -> Tensor:
    """Return BT.601 luma (1, H, W) of an image (3, H, W), without the offset 16/256, which cancels
    in differences."""
    weights = image.new_tensor(LUMA).view(3, 1, 1) / 256
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
    sr, hr = protocol.crop(sr), protocol.crop(hr)
    channels, height, width = len(hr), hr.shape[1] - 10, hr.shape[2] - 10
    if min(height, width) < 1:
        return math.nan
    is_cpu = hr.device.type == "cpu"
    rows = PIECE if is_cpu else GPU_ROWS
    across, down = _window_matrix(PIECE, hr.device).mT, _window_matrix(rows, hr.device)
    tops = range(0, height, rows)
    sums = torch.zeros(channels, len(tops), dtype=torch.float64, device=hr.device)

    def add(strip: tuple[int, int]) -> None:
        channel, i = strip
        part = slice(tops[i], tops[i] + rows + 10)
        sums[channel, i] = _ssim_sum(sr[channel, part], hr[channel, part], down, across)

    strips = product(range(channels), range(len(tops)))
    if is_cpu:
        parallel_for(add, strips)
    else:
        for strip in strips:
            add(strip)
    return sums.sum().item() / (channels * height * width)


def _ssim_sum(a: Tensor, b: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return the sum of the SSIM of all whole windows of a strip (h, W); `down` and `across` are
    matrices of Gaussian windows along columns and rows, (R, R + 10) and (C + 10, C).

    Means over windows are products with these small matrices, which are several times faster on a
    CPU than convolutions in double precision.
    """
    # In double precision, because the variances are small differences of large numbers.
    a, b = a.double(), b.double()
    height, width = a.shape[0] - 10, a.shape[1] - 10
    maps = down[:height, : height + 10] @ torch.stack([a, b, a * b, a * a + b * b])
    pieces = F.pad(maps, (0, -width % PIECE)).unfold(2, PIECE + 10, PIECE)
    mean_a, mean_b, mean_ab, mean_squares = (pieces @ across).flatten(2)[..., :width]
    product_of_means, squared_means = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * product_of_means + c1) * (2 * (mean_ab - product_of_means) + c2)
    return (top / ((squared_means + c1) * (mean_squares - squared_means + c2))).sum()


def _window_matrix(count: int, device: torch.device) -> Tensor:
    """Return a matrix (count, count + 10) that has the Gaussian window in columns i to i + 10 of
    row i."""
    offset = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-offset.square() / (2 * 1.5**2))
    matrix = torch.zeros(count, count + 10, dtype=torch.float64)
    for i in range(count):
        matrix[i, i : i + 11] = window / window.sum()
    return matrix.to(device)
