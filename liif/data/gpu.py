"""Training samples made on a device from images that lie there as uint8.

The host draws only the random numbers of each sample, so samples equal those made on the host.
Letters: B samples, Q queried pixels, P side of a patch in pixels, S side of the largest crop.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from liif.core.errors import UserError
from liif.data.cache import ImageStore
from liif.data.fixed_pairs import FixedPairsSource
from liif.data.random_scale import RandomScaleSource
from liif.data.samplers import SampleSource
from liif.data.samples import CropSpec
from liif.images.channels import RGB8

BITS = 22
"""Fractional bits of Pillow's fixed-point coefficients."""


def stack_specs(
    specs: Sequence[CropSpec], *, is_crop: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the fields of B specs: int64 (B, 8), all but the last, and int64 (B, Q), the last. It
    is (1, Q) with `is_crop`: all pixels of crops of one size are queried."""
    numbers = np.array([spec[:-1] for spec in specs], dtype=np.int64)
    return numbers, np.stack([spec[-1] for spec in (specs[:1] if is_crop else specs)])


class DeviceImages:
    """All images of a store, end to end on a device."""

    def __init__(self, store: ImageStore, device: torch.device) -> None:
        counts = [h * w for h, w in store.sizes]
        try:
            self.rgb = torch.empty(sum(counts), 3, dtype=torch.uint8, device=device)
        except RuntimeError:  # its subclass depends on the device
            raise UserError(
                f"train_data.cache: the images take {3 * sum(counts):,} bytes, more than is free "
                f"on {device}; use mmap instead of device"
            ) from None
        self.first = torch.tensor(np.cumsum([0, *counts[:-1]]), device=device)
        self.width = torch.tensor([w for _, w in store.sizes], device=device)
        for i, part in enumerate(self.rgb.split(counts)):
            part.copy_(torch.tensor(store[i]).view(-1, 3))

    def at(self, image: Tensor, row: Tensor, col: Tensor) -> Tensor:
        """Return the colours uint8 (…, 3) at (row, col) of images, all broadcastable to (…)."""
        return self.rgb[self.first[image] + row * self.width[image] + col]


class DeviceSampler:
    """Makes batches of a source's samples on a device; raises UserError if it does not support the
    kind of samples, or the images do not fit."""

    def __init__(self, source: SampleSource, device: torch.device) -> None:
        if not isinstance(source, RandomScaleSource | FixedPairsSource):
            raise UserError(
                "train_data.cache: device supports the samplings random-scale and pairs; use mmap"
            )
        stores = [source.store] if isinstance(source, RandomScaleSource) else [source.lr, source.hr]
        if any(store.form != RGB8 for store in stores):
            raise UserError("train_data.cache: device supports 8-bit RGB only; use mmap")
        self.device, self.patch = device, source.config.patch
        self.lr: DeviceImages | None = None
        if isinstance(source, RandomScaleSource):
            self.hr, scales = DeviceImages(source.store, device), [1] * len(source)
            order = [(i, i) for i in range(len(source))]
            low, S = (round(self.patch * scale) for scale in source.config.scale)
            table = [pillow_weights(side, self.patch, S) for side in range(low, S + 1)]
        else:
            self.hr, scales = DeviceImages(source.hr, device), source.scales
            order, low, table = source.order, 0, [np.zeros((0, 0), np.int64)]
            self.lr = DeviceImages(source.lr, device)
        self.order = torch.tensor(order, device=device)
        self.scales = torch.tensor(scales, device=device)
        self.smallest = low
        # Whole numbers below 2²⁴ are exact in float32, in half the room of float64.
        self.weights = torch.from_numpy(np.stack(table)).float().to(device)

    def batch(self, numbers: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return lr uint8 (B, 3, P, P), coord (B, Q, 2), cell (B, 2) and target uint8 (B, Q, 3) for
        the result of `stack_specs`."""
        numbers, chosen = (x.to(self.device, non_blocking=True) for x in (numbers, chosen))
        index, side, _, top, left, *flips = numbers[..., None].unbind(1)  # each (B, 1)
        of_lr, image = self.order[index].unbind(-1)
        scale = self.scales[index]
        row, col = chosen // side, chosen % side
        # Products and sums one by one: samples.py rounds each of them.
        step, first = (2 / side.double()).float(), (1 / side.double() - 1).float()
        coord = torch.stack([row.float() * step + first, col.float() * step + first], dim=-1)
        y, x = _before(row, col, side, flips)
        target = self.hr.at(image, top * scale + y, left * scale + x)

        at = torch.arange(self.patch**2, device=self.device)
        y, x = _before(at // self.patch, at % self.patch, self.patch, flips)  # (B, P²)
        if self.lr is not None:
            lr = self.lr.at(of_lr, top + y, left + x)
        else:
            sample = torch.arange(len(index), device=self.device)[:, None]
            lr = self._reduced(image, side, top, left)[sample, y, x]
        lr = lr.view(-1, self.patch, self.patch, 3).permute(0, 3, 1, 2).contiguous()
        return lr, coord, step.expand(-1, 2).contiguous(), target

    def _reduced(self, image: Tensor, side: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """Return crops reduced exactly as by `resize.pillow_bicubic`: uint8 (B, P, P, 3). All
        arguments are (B, 1)."""
        P, S = self.weights.shape[1:]
        weights = self.weights[side[:, 0] - self.smallest].double()  # (B, P, S)
        along = torch.minimum(torch.arange(S, device=self.device), side - 1)  # weight 0 beyond
        # Columns first, and the crop's columns before its rows, as the products want them.
        y, x = (top + along)[:, None, :], (left + along)[:, :, None]
        crop = self.hr.at(image[..., None], y, x)  # (B, S columns, S rows, 3)
        half = _rounded(weights @ crop.flatten(2).double()).view(-1, P, S, 3)
        turned = half.transpose(1, 2).flatten(2)  # (B, S rows, P columns · 3)
        return _rounded(weights @ turned).view(-1, P, P, 3).byte()


def _before(
    row: Tensor, col: Tensor, side: Tensor | int, flips: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the places of pixels (row, col) before a crop was flipped, then transposed."""
    rows, cols, transpose = (flip.bool() for flip in flips)
    y, x = torch.where(transpose, col, row), torch.where(transpose, row, col)
    return torch.where(rows, side - 1 - y, y), torch.where(cols, side - 1 - x, x)


def _rounded(sums: Tensor) -> Tensor:
    """Round multiples of 2^-BITS to gray levels; in float64 the sums are exact."""
    return ((sums + 2 ** (BITS - 1)) / 2**BITS).floor().clamp(0, 255)


def pillow_weights(length: int, size: int, columns: int) -> np.ndarray:
    """Return Pillow's coefficients (bicubic, a = -0.5, antialiased) for reducing `length` pixels to
    `size`: int64 (size, columns), in units of 2^-BITS, zero from column `length` on."""
    stretch = length / size
    centre = (np.arange(size)[:, None] + 0.5) * stretch
    first = np.maximum((centre - 2 * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + 2 * stretch + 0.5).astype(np.int64), length)
    at = np.arange(columns)
    x = np.abs((at - centre + 0.5) * (1 / stretch))
    near, far = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    kernel = np.where(x < 1, near, np.where(x < 2, far, 0.0)) * ((first <= at) & (at < last))
    kernel /= np.cumsum(kernel, axis=1)[:, -1:]  # summed in order
    return (kernel * 2**BITS + np.copysign(0.5, kernel)).astype(np.int64)
