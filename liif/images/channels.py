"""Read and write images of any number of channels, of 8 bits, 16 bits or floating-point numbers.

`rgb8` reads every file as 8-bit RGB. This module keeps what a `PixelFormat` asks for, and refuses
files that do not have it. TIFF files are read with tifffile, which knows any number of channels and
any type of number; .npy files are NumPy arrays (H, W) or (H, W, C).

Letters: H W size of the upright image, C channels.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile

from liif.core.errors import UserError
from liif.core.sizes import Size
from liif.images.decode import decode_first, read_kind
from liif.images.frame import turned
from liif.images.metadata.reading import read_metadata
from liif.images.opening import RefusedError, check_pixels, image_errors
from liif.images.photo import Photo, read_photo
from liif.images.png import PngWriter
from liif.images.rgb8 import image_size, read_image, replaced_atomically, write_image
from liif.images.tiff import write_tiff
from liif.images.tiff_colour import PALETTE, colour_count, has_alpha
from liif.images.tiff_pages import find_pages, is_tiff, read_numbers

Array = npt.NDArray[Any]
Bits = Literal[8, 16, 32]

OTHER_CHANNELS = "(model.channels)"
"""End of the reason why a file of other channels is not read."""

log = logging.getLogger("liif")


class PixelFormat(NamedTuple):
    """What is kept of image files. All images of a set are read as arrays (H, W, `channels`)."""

    channels: int = 3
    bits: Bits = 8
    """8 or 16 per channel; 32 for any kind of numbers, which need a `range`."""
    range: tuple[float, float] | None = None
    """The values that stand for 0 and 1; None for 0 and the largest integer of `bits`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16, of which the largest stands for 1; float32 in [0, 1] with a `range`."""
        if self.range is not None:
            return np.dtype(np.float32)
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    def num_bytes(self, size: Size) -> int:
        """Return the number of bytes of an image of (H, W)."""
        return size[0] * size[1] * self.channels * self.dtype.itemsize


RGB8 = PixelFormat()


class Header(NamedTuple):
    """What a file says about its pixels."""

    size: Size
    """(H, W) of the upright image."""
    channels: tuple[int, ...]
    """Numbers of channels that it can be read as: gray also as RGB, alpha also composited."""
    bits: Bits
    """Per channel; 32 for floats, signed integers, and integers of more than 16 bits."""
    is_photo: bool = True
    """Whether `decode` reads it as gray or RGB."""

    def check(self, form: PixelFormat) -> None:
        """Raise RefusedError if the file cannot be read in this format."""
        if form.channels not in self.channels:
            raise RefusedError(
                f"{_counted(self.channels[0])}, but {form.channels} needed {OTHER_CHANNELS}"
            )
        if form.bits < self.bits == 32 and not self.is_photo:
            raise RefusedError(
                "its numbers have no known range; set bits: 32 and range: [LOW, HIGH], the values "
                "that stand for black and white"
            )
        if self.bits < form.bits == 16:
            raise RefusedError(
                "8 bits per channel, but bits: 16 asks for 16; use files of 16 bits, or bits: 8"
            )


def read_header(path: Path) -> Header:
    """Return what a file says about its pixels. Raises UserError if it cannot be read."""
    with image_errors(path):
        if path.suffix.lower() == ".npy":
            return _npy_header(_load_npy(path))
        if is_tiff(path):
            return _tiff_header(path)
    size = image_size(path)
    bits, colours, is_transparent = read_kind(path)
    channels = (1, 3) if colours == 1 else (3,)
    return Header(size, (channels[0] + 1, *channels) if is_transparent else channels, bits)


def read_size(path: Path, form: PixelFormat = RGB8) -> Size:
    """Return (H, W) of the image that `read_pixels` returns, from the file's header. Raises
    UserError if the header says that the file is damaged or does not have this format."""
    if form == RGB8 and not _may_have_more_channels(path):
        return image_size(path)
    header = read_header(path)
    with image_errors(path):
        header.check(form)
    return header.size


def read_pixels(path: Path, form: PixelFormat = RGB8) -> Array:
    """Decode an image file to (H, W, C) of the format's dtype, contiguous and writable.

    - 8-bit RGB is read as by `rgb8.read_image`. For one channel the file must be gray.
    - Orientation is applied. Alpha is composited over white, except for 2 and 4 channels, of which
      it is one, as stored.
    - 16 bits are reduced to 8 (value >> 8) for `bits: 8`.
    - With a `range`, values are mapped to [0, 1]; what lies outside is clipped, with a warning.

    Raises UserError as `read_image` does, if the numbers of channels or of bits are not those of
    the format, or if a value is not finite.
    """
    if form == RGB8 and not _may_have_more_channels(path):
        return read_image(path)
    header = read_header(path)
    with image_errors(path):
        header.check(form)
        samples = _read_samples(path, header, form)
        if form.bits == 16 and samples.dtype != np.uint16:
            raise RefusedError("only 8 of its 16 bits can be read; save it as PNG or TIFF")
        if form.bits == 8 and samples.dtype == np.uint16:
            samples = (samples >> 8).astype(np.uint8)
        if form.range is not None:
            samples = _in_range(samples, form.range, path)
    return np.array(samples, form.dtype, order="C")


def write_pixels(path: Path, image: Array, form: PixelFormat) -> None:
    """Write (H, W, C) in [0, 1] in the bits of a format, without loss, to a file with the suffix
    `suffix_for(form)`. Raises UserError if it cannot be written."""
    values: Array
    if form.range is None:
        values = (image.clip(0, 1) * image.dtype.type(np.iinfo(form.dtype).max)).round()
    else:
        low, high = form.range
        values = image.clip(0, 1).astype(np.float64) * (high - low) + low
    values = values.astype(form.dtype)
    size = (image.shape[0], image.shape[1])
    if form == RGB8:
        write_image(path, values)
    elif suffix_for(form) == ".png":
        with replaced_atomically(path) as temporary, temporary.open("wb") as file:
            png = PngWriter(file, size, form.channels, form.bits)
            png.write(values)
            png.finish()
    else:
        with replaced_atomically(path) as temporary:
            write_tiff(
                temporary, size, [values], form.channels, values.itemsize * 8, is_photo=False
            )


def suffix_for(form: PixelFormat) -> str:
    """Return .png for gray and RGB of integers, .tif for all other formats."""
    return ".png" if form.channels in (1, 3) and form.range is None else ".tif"


def read_frames(path: Path, channels: int = 3) -> Iterator[Photo]:
    """As `read_photo`, for a model that takes so many channels. A file of another number than 1 or
    3 has 8 or 16 bits and becomes a photo without alpha. Raises UserError also if the file has
    other channels than the model takes, except that models of RGB take gray."""
    if channels not in (1, 3):
        form = PixelFormat(channels, 16 if read_header(path).bits == 16 else 8)
        yield Photo(read_pixels(path, form), metadata=read_metadata(path))
        return
    for photo in read_photo(path):
        if (count := photo.colour.shape[2]) > channels:
            raise UserError(f"{path}: {_counted(count)}, but the model takes {channels}")
        yield photo


def _may_have_more_channels(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".tif", ".tiff")


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def _read_samples(path: Path, header: Header, form: PixelFormat) -> Array:
    """Return (H, W, C) as stored, or composited on white."""
    if path.suffix.lower() == ".npy":
        array = _load_npy(path)
        return np.asarray(array).reshape(*array.shape[:2], -1)
    is_numbers = form.range is not None and header.bits == 32
    if not header.is_photo or (is_tiff(path) and (is_numbers or form.channels not in (1, 3))):
        return _read_tiff(path, form.channels)
    if form.bits == 8 and form.channels in (1, 3):
        return read_image(path)[..., : form.channels]
    frame = decode_first(path)
    colour, largest = frame.colour, np.iinfo(frame.colour.dtype).max
    if frame.alpha is None:  # opaque
        alpha = np.full((*colour.shape[:2], 1), largest, colour.dtype)
    else:
        alpha = frame.alpha[..., None]
    if form.channels in (2, 4):
        return np.concatenate([colour, alpha], axis=2)
    opacity = alpha / largest
    on_white = (colour * opacity + largest * (1 - opacity)).round().astype(colour.dtype)
    return np.repeat(on_white, form.channels // on_white.shape[2], axis=2)


def _in_range(samples: Array, bounds: tuple[float, float], path: Path) -> npt.NDArray[np.float32]:
    low, high = bounds
    values = ((samples.astype(np.float64) - low) / (high - low)).astype(np.float32)
    if not np.isfinite(values).all():
        raise RefusedError("values that are not finite")
    if outside := int(((values < 0) | (values > 1)).sum()):
        text = "%s: %d of %d values are outside of range: [%g, %g] and are clipped"
        log.warning(text, path, outside, values.size, low, high)
    return values.clip(0, 1)


def _load_npy(path: Path) -> Array:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.kind not in "uif":
        raise RefusedError(f"an array of {array.dtype} {array.shape}, not numbers (H, W, C)")
    check_pixels(path, *array.shape[:2])
    return array


def _npy_header(array: Array) -> Header:
    channels = 1 if array.ndim == 2 else array.shape[2]
    dtype = array.dtype
    bits = 8 if dtype == np.uint8 else 16 if dtype == np.uint16 else 32
    return Header((array.shape[0], array.shape[1]), (channels,), bits, False)


def _tiff_header(path: Path) -> Header:
    with tifffile.TiffFile(path) as file:
        pages, _ = find_pages(file, path)
        is_of_channels = len(pages) > 1 and file.series[0].axes == "CYX"
    page = pages[0]
    check_pixels(path, page.height, page.width)
    bits = 32 if page.kind != "u" or page.bits > 16 else 16 if page.bits > 8 else 8
    try:
        colours = colour_count(page)
    except RefusedError:
        if page.photometric not in (0, 1, 2):
            raise
        return Header(page.upright_size, (page.samples,), bits, False)
    if is_of_channels:
        return Header(page.upright_size, (len(pages),), bits, False)
    channels = (1, 3) if colours == 1 and page.photometric != PALETTE else (3,)
    if has_alpha(page, colours):
        channels = (channels[0] + 1, *channels)
    elif page.samples > colours:
        channels = (page.samples, *channels)
    is_stack = len({each[1:6] for each in pages}) == page.samples == 1 < len(pages)
    return Header(page.upright_size, (*channels, len(pages)) if is_stack else channels, bits)


def _read_tiff(path: Path, channels: int) -> Array:
    """Return (H, W, channels) of the first page, or of pages that are channels."""
    with tifffile.TiffFile(path) as file:
        pages, _ = find_pages(file, path)
        first = pages[0]
        if not first.is_of_numbers:
            raise RefusedError(f"{channels} channels of a compression of pictures, such as JPEG")
        is_stack = first.samples == 1 and channels > 1
        numbers = [read_numbers(page, path) for page in (pages if is_stack else pages[:1])]
    array = np.concatenate(numbers, axis=2)[..., :channels]
    if first.photometric == 0 and array.dtype.kind == "u":  # 0 is white
        array = np.iinfo(array.dtype).max - array
    return turned(array, first.orientation)
