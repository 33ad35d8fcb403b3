"""Find pictures of one set in another: the same pixels, or nearly the same picture.

A near-duplicate is a copy that was resized, recompressed, mirrored or turned: of 40 such copies all
were found. Of copies that were also cropped, down to 90 % of each side, half were found, and fewer
of smaller crops. Each picture and windows of it are described by the low frequencies of 16 × 16
samples of luma, weighted with frequency, as photographs have amplitudes of 1 / frequency
(Field 1987): so weighted, those of two different pictures hardly correlate.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from liif.images.rgb8 import read_image

SIDE = 64
"""Side of the thumbnails, in pixels."""
SAMPLES, FREQUENCIES = 16, 12
"""Samples of a window along an axis, and how many of their frequencies are compared."""
AT_ONCE = 16
"""Pictures whose windows are compared at once."""
RATIOS = (0.9, 0.8, 0.7, 0.6, 0.5)
"""Sides of the windows that are compared, as shares of the picture's."""
ALIKE = 0.9
"""Correlation from which two pictures are one. Among 58,086 pairs of different photographs, 461 of
training and 126 of tests, the highest was 0.84; a copy that is not cropped has 0.97 and more."""


class Picture(NamedTuple):
    """What is compared of a picture."""

    path: Path
    pixels: str
    """SHA-256 of its size and its pixels in 8-bit RGB."""
    thumbnail: Tensor
    """Luma, (SIDE, SIDE)."""


class Leak(NamedTuple):
    """A training picture that is a test picture."""

    training: Path
    test: Path
    correlation: float
    """1.0 for the same pixels."""


def read_picture(path: Path) -> Picture:
    """Read what is compared of an image file. Raises UserError if it cannot be read."""
    pixels = read_image(path)
    digest = sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    image = Image.fromarray(pixels)
    image = image.reduce(max(1, min(image.size) // (2 * SIDE))).convert("L")
    small = np.array(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    return Picture(path, digest, torch.from_numpy(small))


def find_leaks(training: Sequence[Picture], tests: Sequence[Picture]) -> list[Leak]:
    """Return the pairs of a training and a test picture that are one picture, in the order of
    training."""
    alike = torch.maximum(_alike(training, tests), _alike(tests, training).T)
    for i, one in enumerate(training):
        for j, other in enumerate(tests):
            if one.pixels == other.pixels:
                alike[i, j] = 1
    pairs = (alike >= ALIKE).nonzero().tolist()
    return [Leak(training[i].path, tests[j].path, float(alike[i, j])) for i, j in pairs]


def _alike(pictures: Sequence[Picture], others: Sequence[Picture]) -> Tensor:
    """Return the highest correlation of any window of each picture with each of the others as a
    whole, in any orientation: (pictures, others)."""
    whole = _whole_window()
    others_whole = _described(torch.stack([each.thumbnail for each in others]), whole, whole)[:, 0]
    turned = _orientations(others_whole).flatten(0, 1)  # (others · 8, F · F)
    best: list[Tensor] = []
    windows = [_windows(ratio) for ratio in RATIOS]
    axes = [(whole, whole)]
    axes += [pair for each in windows for pair in ((each, each), (each, whole), (whole, each))]
    for part in torch.stack([each.thumbnail for each in pictures]).split(AT_ONCE):
        found = torch.cat([_described(part, rows, columns) for rows, columns in axes], 1)
        correlations = found @ turned.T  # (part, windows, others · 8)
        best.append(correlations.amax(1).view(len(part), len(others), 8).amax(2))
    return torch.cat(best)


def _whole_window() -> Tensor:
    return _samples(np.zeros(1), 1.0)


def _windows(ratio: float) -> Tensor:
    """Return the windows of one length along an axis, an eighth of it apart."""
    count = round((1 - ratio) / ratio * 8) + 1
    return _samples(np.linspace(0, 1 - ratio, count), ratio)


def _samples(starts: np.ndarray, ratio: float) -> Tensor:
    """Return the weights of a thumbnail's pixels in the samples of each window, which are means of
    equal parts: (windows, SAMPLES, SIDE)."""
    edges = (starts[:, None] + ratio * np.arange(SAMPLES + 1) / SAMPLES) * SIDE
    low, high, pixel = edges[:, :-1, None], edges[:, 1:, None], np.arange(SIDE)
    shares = (np.minimum(high, pixel + 1) - np.maximum(low, pixel)).clip(0)
    return torch.from_numpy((shares / shares.sum(2, keepdims=True)).astype(np.float32))


def _described(thumbnails: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return unit vectors of weighted frequencies, (thumbnails, windows, F · F), of the windows
    that these windows along both axes make."""
    waves = _cosines()
    samples = (waves @ rows).flatten(0, 1) @ thumbnails @ (waves @ columns).flatten(0, 1).T
    F = FREQUENCIES
    found = samples.view(-1, len(rows), F, len(columns), F).transpose(2, 3)
    frequency = torch.arange(F, dtype=torch.float32)
    found = found * torch.hypot(frequency[:, None], frequency)  # the mean drops out
    found = found.reshape(len(thumbnails), -1, F * F)
    return found / found.norm(dim=2, keepdim=True).clamp_min(1e-3)  # nothing in a flat window


def _cosines() -> Tensor:
    """Return the first rows of the discrete cosine transform (DCT-II), (F, SAMPLES)."""
    n, k = torch.arange(SAMPLES), torch.arange(FREQUENCIES)[:, None]
    return torch.cos(torch.pi * (n + 0.5) * k / SAMPLES)


def _orientations(described: Tensor) -> Tensor:
    """Return the vectors of the eight flips and turns of each picture: (pictures, 8, F · F).
    Flipping an axis changes the sign of its odd frequencies."""
    F = FREQUENCIES
    signs = (-1.0) ** torch.arange(F)
    square, ones = described.view(-1, F, F), torch.ones(F)
    return torch.stack(
        [
            each * down[:, None] * across
            for each in (square, square.mT)
            for down in (ones, signs)
            for across in (ones, signs)
        ],
        dim=1,
    ).flatten(2)


def read_pictures(paths: Iterable[Path]) -> list[Picture]:
    """Read what is compared of image files. Raises UserError if one cannot be read."""
    return [read_picture(path) for path in paths]
