"""PSNR and SSIM of images (C, H, W), float in [0, 1], which are not rounded to 8 bits.

Luma is that of RGB. Of images with another number of channels all are scored.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.evaluation.protocols import ScoreProtocol

LUMA = (65.738, 129.057, 25.064)
"""ITU-R BT.601 luma weights of RGB in [0, 1], in units of 1/256."""

PIECE = 32
"""Rows and columns of windows that SSIM is computed for at once."""


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
    """Return the mean structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004).

    The Gaussian window has 11 px and sigma 1.5, and only whole windows count. SSIM of several
    channels is the mean over them. NaN if a side is below 11 px. Raises ValueError if the
    protocol's border leaves no pixels.
    """
    if protocol.luma and len(hr) == 3:
        sr, hr = luma(sr) + 16 / 256, luma(hr) + 16 / 256
    sr, hr = protocol.crop(sr), protocol.crop(hr)
    if min(sr.shape[-2:]) < 11:
        return math.nan
    # In double precision, because the variances are small differences of large numbers.
    channels = [_ssim_channel(a.double(), b.double()) for a, b in zip(sr, hr, strict=True)]
    return sum(channels) / len(channels)


def _ssim_channel(a: Tensor, b: Tensor) -> float:
    """Return the SSIM of two channels (H, W)."""
    height, width = a.shape[0] - 10, a.shape[1] - 10
    strips = range(0, height, PIECE)  # a strip fits into a processor's cache
    rows = (slice(y, min(y + PIECE, height) + 10) for y in strips)
    return sum(_ssim_sum(a[each], b[each]) for each in rows) / (height * width)


def _ssim_sum(a: Tensor, b: Tensor) -> float:
    """Return the sum of the SSIM of all whole windows of a strip (h <= PIECE + 10, W)."""
    maps = torch.stack([a, b, a * a, b * b, a * b])
    mean_a, mean_b, mean_aa, mean_bb, mean_ab = _window_means(maps)
    var_a = mean_aa - mean_a * mean_a
    var_b = mean_bb - mean_b * mean_b
    covariance = mean_ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).sum().item()


def _window_means(maps: Tensor) -> Tensor:
    """Return the Gaussian means (n, h - 10, W - 10) of all whole windows of a strip (n, h, W).

    They are products with one small matrix, which are several times faster on a CPU than
    convolutions in double precision.
    """
    offset = torch.arange(-5, 6, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-offset.square() / (2 * 1.5**2))
    matrix = maps.new_zeros(PIECE, PIECE + 10)  # row i has the kernel in its columns i to i + 10
    for i in range(PIECE):
        matrix[i, i : i + 11] = kernel / kernel.sum()
    height, width = maps.shape[1] - 10, maps.shape[2] - 10
    columns = matrix[:height, : height + 10] @ maps
    pieces = F.pad(columns, (0, -width % PIECE)).unfold(2, PIECE + 10, PIECE)
    return (pieces @ matrix.mT).flatten(2)[..., :width]
