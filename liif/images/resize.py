"""Antialiased resizing: bicubic as in Pillow, MATLAB and PyTorch; other filters as in Pillow.

Published low-resolution images were made with MATLAB's `imresize`; training code uses Pillow. Both
have a = -0.5, but Pillow's coefficients are fixed-point numbers, and they differ in the rounding
between the passes and at the borders: some tenths of a decibel in PSNR.

Letters: H W input size, h w output size, C channels, P taps of one output pixel.
"""

from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

Array = npt.NDArray[Any]
Border = Literal["replicate", "mirror"]
Halves = Literal["up", "even"]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Number = TypeVar("Number", np.uint8, np.uint16, np.float64)

_BLOCK = 1 << 19  # floats per block: two blocks (8 MB) fit the processor's cache


def pillow_bicubic(image: Array, size: tuple[int, int]) -> Array:
    """Resize (H, W, C) to (h, w, C) with Pillow's bicubic; see `pillow_resize`."""
    return pillow_resize(image, size, Image.Resampling.BICUBIC)


def pillow_resize(image: Array, size: tuple[int, int], resampling: Image.Resampling) -> Array:
    """Resize (H, W, C) to (h, w, C) of the same dtype with a filter of Pillow; `size` is (h, w).

    uint8 uses Pillow's 8-bit fixed-point arithmetic; channels do not influence each other, so gray
    and n channels have the values that they would have in RGB. uint16, and float32 in [0, 1], are
    resized channel by channel in Pillow's mode F, which has the same coefficients in floating
    point; uint16 is rounded once, at the end, and both are limited to their range as uint8 is.
    (Pillow's mode I;16 is not used: versions differ in whether they resize it, and overshoot wraps
    around there.)

    Raises ValueError for another shape or dtype, or a size below 1.
    """
    _check(image, size, ("uint8", "uint16", "float32"))
    height, width = size

    def resized(plane: Array) -> Array:
        picture = Image.fromarray(plane)
        return np.array(picture.resize((width, height), resampling))

    if image.dtype == np.uint8 and image.shape[2] == 3:
        return resized(image)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    if image.dtype == np.uint8:
        return np.stack([resized(plane) for plane in planes], axis=-1)
    result = np.stack([resized(plane.astype(np.float32)) for plane in planes], axis=-1)
    if image.dtype == np.float32:
        return result.clip(0, 1)
    return result.round().clip(0, 65535).astype(np.uint16)


def torch_bicubic(image: Array, size: tuple[int, int]) -> Array:
    """Resize (H, W, C) to (h, w, C) of the same dtype with PyTorch's antialiased bicubic, computed
    in float32, then rounded and limited to the range of the dtype ([0, 1] for floats).

    Raises ValueError as `pillow_resize` does.
    """
    _check(image, size, ("uint8", "uint16", "float32"))
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))
    resized = F.interpolate(planes[None], size, mode="bicubic", antialias=True)[0]
    result = np.ascontiguousarray(resized.numpy().transpose(1, 2, 0))
    if image.dtype == np.float32:
        return result.clip(0, 1)
    return result.round().clip(0, np.iinfo(image.dtype.name).max).astype(image.dtype)


def pillow_lanczos(image: Floats32, size: tuple[int, int]) -> Floats32:
    """Resize float32 (H, W, C) to (h, w, C) with Pillow's Lanczos of three lobes, antialiased where
    it downsamples; nothing is rounded to 8 bit."""
    height, width = size
    channels = [Image.fromarray(plane) for plane in np.ascontiguousarray(image.transpose(2, 0, 1))]
    resized = [c.resize((width, height), Image.Resampling.LANCZOS) for c in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)


def matlab_bicubic(
    image: npt.NDArray[Number],
    size: tuple[int, int],
    *,
    scale: tuple[float, float] | None = None,
    border: Border = "replicate",
    halves: Halves = "up",
) -> npt.NDArray[Number]:
    """Resize (H, W, C) to (h, w, C) bit for bit as MATLAB's `imresize(…, 'bicubic')`.

    MATLAB resizes one axis after the other, the one with the smaller scale first and rows before
    columns where they are equal, and rounds integers (half up) after each.

    Args:
        image: uint8, uint16 or float64 (H, W, C).
        size: (h, w).
        scale: (y, x), output over input; by default `size` over the input's size. MATLAB's
            `imresize(A, 0.3)` samples at exactly 0.3, whatever size that rounds up to.
        border: "replicate" repeats the outermost pixel, as in the published low-resolution images;
            "mirror" reflects the image about its edge, as in newer versions of MATLAB.
        halves: "up" rounds integers as MATLAB does, "even" to the nearest even one, as some
            translations of it do.

    Raises ValueError for another shape or dtype, a size below 1, or a scale that is not positive.
    """
    _check(image, size, ("uint8", "uint16", "float64"))
    if scale is None:
        scale = size[0] / image.shape[0], size[1] / image.shape[1]
    if not all(0 < s < float("inf") for s in scale):
        raise ValueError(f"scale must be positive and finite, not {scale}")
    for axis in (0, 1) if scale[0] <= scale[1] else (1, 0):
        turned = np.ascontiguousarray(image.swapaxes(0, axis))
        image = _resize_rows(turned, size[axis], scale[axis], border, halves)
        image = image.swapaxes(0, axis)
    return np.ascontiguousarray(image)


def _check(image: Array, size: tuple[int, int], dtypes: tuple[str, ...]) -> None:
    if image.dtype.name not in dtypes or image.ndim != 3 or image.size == 0:
        raise ValueError(
            f"expected (H, W, C) of {', '.join(dtypes)}, not {image.dtype} {image.shape}"
        )
    if min(size) < 1:
        raise ValueError(f"size must be at least (1, 1), not {size}")


def _cubic(x: Floats) -> Floats:
    """Return the cubic convolution kernel (Keys 1981, eq. 15, a = -1/2), zero beyond |x| = 2."""
    x = np.abs(x)
    cube = _cube(x)
    near = 1.5 * cube - 2.5 * x**2 + 1
    far = -0.5 * cube + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _cube(x: Floats) -> Floats:
    """Return x³, rounded once, as MATLAB's power does: the same on every machine, where `x**3` is
    that of its C library, and `x * x * x` is rounded twice. By the exact errors of products (Dekker
    1971)."""

    def error(a: Floats, b: Floats, product: Floats) -> Floats:
        (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
        rest = a_high * b_high - product
        return rest + a_high * b_low + a_low * b_high + a_low * b_low

    square = x * x
    cube = square * x
    return cube + (error(square, x, cube) + error(x, x, square) * x)


def _halves(x: Floats) -> tuple[Floats, Floats]:
    """Return the upper and the lower half of the digits of x."""
    shifted = x * (2**27 + 1)
    high = shifted - (shifted - x)
    return high, x - high


def _taps(
    length: int, out_length: int, scale: float, border: Border
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the input pixels of each output pixel and their weights, both (out_length, P)."""
    stretch = min(scale, 1.0)  # downsampling widens the kernel, for antialiasing
    width = 4 / stretch
    # MATLAB counts pixels from 1; another origin would round differently.
    centre = np.arange(1, out_length + 1) / scale + 0.5 * (1 - 1 / scale)
    first = np.floor(centre - width / 2)
    index = first[:, None] + np.arange(int(np.ceil(width)) + 2)
    weight = stretch * _cubic(stretch * (centre[:, None] - index))
    weight /= np.cumsum(weight, axis=1)[:, -1:]  # in order, as MATLAB; `sum` adds in pairs

    index = index.astype(np.intp) - 1
    used = weight.any(axis=0)
    index, weight = index[:, used], weight[:, used]
    if border == "replicate":
        return index.clip(0, length - 1), weight
    index %= 2 * length
    return np.minimum(index, 2 * length - 1 - index), weight


def _resize_rows(
    image: npt.NDArray[Number], out_rows: int, scale: float, border: Border, halves: Halves
) -> npt.NDArray[Number]:
    """Resize (R, …) to (out_rows, …) along its first axis, in blocks of rows."""
    index, weight = _taps(len(image), out_rows, scale, border)
    rows = image.reshape(len(image), -1)
    result = np.empty((out_rows, rows.shape[1]), image.dtype)
    step = max(1, _BLOCK // rows.shape[1])
    largest = None if image.dtype == np.float64 else np.iinfo(image.dtype.name).max
    for start in range(0, out_rows, step):
        block = slice(start, start + step)
        total = np.zeros(result[block].shape)
        # Tap by tap, in order: another order of summation would round exact halves differently.
        for taps, weights in zip(index[block].T, weight[block].T, strict=True):
            total += rows[taps] * weights[:, None]
        if largest is not None:
            total = (total.round() if halves == "even" else np.floor(total + 0.5)).clip(0, largest)
        result[block] = total
    return result.reshape(out_rows, *image.shape[1:])
