"""Read photographs with their bit depth, alpha, colour profile, EXIF and animation frames.

`rgb8.read_image` converts everything to 8-bit RGB for training and tests; this module preserves
what an output file can hold. H W is the size of the upright image.
"""

import io
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image, ImageCms
from PIL.ImageFile import ImageFile

from liif.images import rgb8
from liif.images.png import ImageArray
from liif.images.rgb8 import RefusedError, check_pixels, image_errors, open_image, orientation_of
from liif.images.suffixes import HAS_AVIF
from liif.images.tiff import deep_page, is_tiff, read_deep_page

Image.init()
PHOTO_FORMATS = (*rgb8.FORMATS, *(("AVIF",) if HAS_AVIF else ()))
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats of which all frames are read; of others, such as TIFF and MPO, only the first image."""

# EXIF tags that are kept: those about the picture, not about its storage.
_KEPT = {
    *(270, 271, 272, 282, 283, 296, 305, 306, 315, 18246, 18249, 33432),
    *range(40091, 40096), ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo,
}  # fmt: skip

# Beginnings of an ImageDescription in which scientific software stores the old size.
_SIZES = ('{"shape"', '{"axes"', "<?xml", "ImageJ=")

log = logging.getLogger("liif")


class Photo(NamedTuple):
    """One image or frame, upright."""

    colour: ImageArray  # uint8 or uint16 (H, W, 1 or 3), gray or RGB, not multiplied by alpha;
    # (H, W, C) without alpha where `channels.read_frames` has read it
    alpha: ImageArray | None = None  # (H, W) of the same dtype; None if all pixels are opaque
    icc: bytes | None = None  # colour profile for the same number of channels
    exif: Image.Exif | None = None  # without tags about the stored size and orientation
    frames: int = 1  # number of frames in the file; 1 for still images
    duration: float = 0  # time for which this frame is shown, in milliseconds
    loop: int | None = None  # number of repetitions, 0 for endless; None if not stated

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.colour.shape[0], self.colour.shape[1]

    @property
    def bits(self) -> int:
        """8 or 16 per channel."""
        return 8 * self.colour.itemsize


def photo_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of the upright image from its header; UserError as `read_photo`."""
    with image_errors(path):
        if is_tiff(path):
            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                if deep_page(file) is not None or _has_more_channels(page):
                    turned = _orientation(_exif_of(path)) in (5, 6, 7, 8)
                    h, w = page.imagelength, page.imagewidth
                    return (w, h) if turned else (h, w)
    return rgb8.image_size(path, PHOTO_FORMATS)


def _has_more_channels(page: tifffile.TiffPage) -> bool:
    """Return whether a page is neither gray nor RGB, with alpha or not."""
    most = {0: 2, 1: 2, 2: 4}.get(int(page.photometric), 4)
    return int(page.samplesperpixel) > most


def read_photo(path: Path) -> Iterator[Photo]:
    """Yield the image, or the frames of an animation one by one.

    - EXIF orientation is applied.
    - 16 bits are preserved; 32-bit integers are treated as 16-bit integers if all fit, else
      refused; floats are refused. 16-bit TIFF with a rare compression needs the package
      imagecodecs, and is read as 8 bits with a warning without it.
    - Palettes, YCbCr, LAB and CMYK become RGB; CMYK by its own profile if there is one.
    - Alpha, a transparent colour of the palette and a key colour become `alpha`.
    - Of several pages the first is read, with a warning.

    Raises UserError if the file is missing, not readable, not an image, damaged, truncated, or all
    frames together have more than `max_pixels()` pixels.
    """
    with image_errors(path):
        page = _deep_tiff(path) if is_tiff(path) else None
    if page is not None:
        yield page
        return
    with open_image(path, PHOTO_FORMATS) as image:
        count = int(getattr(image, "n_frames", 1))
        is_animated = image.format in ANIMATED and count > 1
        if is_animated:
            check_pixels(image.size[1], image.size[0], count)
        elif count > 1 and image.format != "MPO":
            log.warning("%s: %d pages; only the first is read", path, count)
        first = 1 if is_animated and image.info.get("default_image") else 0
        for i in range(first, count if is_animated else 1):
            if i:
                image.seek(i)
            image.load()
            photo = _photo(image, path, is_frame=is_animated)
            if is_animated:
                duration, loop = float(image.info.get("duration") or 0), image.info.get("loop")
                photo = photo._replace(frames=count - first, duration=duration, loop=loop)
            yield photo


def _photo(image: ImageFile, path: Path, *, is_frame: bool) -> Photo:
    exif = Image.Exif()
    with suppress(Exception):  # the pixels of a file with damaged EXIF are fine
        exif = image.getexif()
    samples = None if is_frame else _deep_samples(image, path)
    icc = image.info.get("icc_profile")
    if samples is None:
        bits = getattr(image, "tag_v2", {}).get(258, (1,))  # BitsPerSample of a TIFF file
        if max(bits) > 8 and image.mode[0] != "I":
            log.warning("%s: only 8 of its 16 bits are read; try pip install imagecodecs", path)
        turn = rgb8.UPRIGHT.get(orientation_of(image))
        upright = image if turn is None else image.transpose(turn)
        samples = _samples(_plain(upright, icc, force_rgb=is_frame))
        if image.mode == "CMYK":
            icc = None
    else:
        samples = turned(samples, orientation_of(image))
    colours = 1 if samples.shape[2] < 3 else 3
    colour, alpha = samples[..., :colours], None
    if samples.shape[2] > colours:
        alpha = samples[..., colours]
    elif samples.dtype == np.uint16 and (key := image.info.get("transparency")) is not None:
        alpha = np.where((colour == np.uint16(key)).all(axis=2), 0, 65535).astype(np.uint16)
    return _finished(colour, alpha, icc, exif)


def _finished(
    colour: ImageArray, alpha: ImageArray | None, icc: bytes | None, exif: Image.Exif
) -> Photo:
    is_opaque = alpha is None or (alpha == np.iinfo(alpha.dtype).max).all()
    alpha = None if is_opaque else np.ascontiguousarray(alpha)
    space = b"GRAY" if colour.shape[2] == 1 else b"RGB "
    icc = icc if icc and icc[16:20] == space else None
    return Photo(np.ascontiguousarray(colour), alpha, icc, _kept(exif))


def _plain(image: Image.Image, icc: bytes | None, *, force_rgb: bool) -> Image.Image:
    """Convert a decoded image to mode L, LA, RGB, RGBA or one of 16 or 32 bits."""
    if image.mode == "F":
        raise RefusedError("floating-point pixels have no known range; save it as 8 or 16 bit")
    if image.mode.startswith("I"):
        return image
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "CMYK" and icc:
        with suppress(ImageCms.PyCMSError, OSError):
            source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            assert converted is not None
            return converted
    gray = image.mode in ("1", "L", "LA") and not force_rgb
    alpha = "A" if image.has_transparency_data else ""
    return image.convert(("L" if gray else "RGB") + alpha)


def _samples(image: Image.Image) -> ImageArray:
    """Return (H, W, channels) of an image that `_plain` returned."""
    array = np.asarray(image)
    if image.mode.startswith("I"):
        if array.min() < 0 or array.max() > 65535:
            raise RefusedError("32-bit pixels beyond the 16-bit range; save it as 8 or 16 bit")
        array = array.astype(np.uint16)
    return array.reshape(*array.shape[:2], -1)


def _deep_samples(image: ImageFile, path: Path) -> npt.NDArray[np.uint16] | None:
    """Return uint16 (H, W, channels) of files that have 16 bits per channel but of which Pillow
    decodes only the high bytes; None for all others.

    `image` has the high bytes; decoding again with the reversed byte order gives the low bytes.
    (torchvision's decoder reads 16 bits, but is deprecated.)
    """
    with open_image(path, PHOTO_FORMATS) as again:
        arguments: Any = again.tile[0].args if again.tile else ""
        raw = str(arguments[0] if isinstance(arguments, tuple) else arguments)  # the layout
        # Pillow decodes gray and alpha of two bytes each as RGBA.
        is_gray = raw == "LA;16B" and again.mode == "RGBA"
        if not is_gray and not re.fullmatch("RGBA?;16[BLN]", raw):
            return None
        swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
        new = "RGBA" if is_gray else raw[:-1] + swapped[raw[-1]]
        again.tile = [tile._replace(args=_with_mode(tile.args, new)) for tile in again.tile]
        again.load()
        low = np.asarray(again).astype(np.uint16)
    if is_gray:
        return (256 * low[..., 0::2] + low[..., 1::2]).astype(np.uint16)
    return (256 * np.asarray(image).astype(np.uint16) + low).astype(np.uint16)


def _with_mode(arguments: Any, mode: str) -> Any:  # noqa: ANN401
    """Return the arguments of one of Pillow's decoders with another pixel layout."""
    return (mode, *arguments[1:]) if isinstance(arguments, tuple) else mode


def _deep_tiff(path: Path) -> Photo | None:
    with tifffile.TiffFile(path) as file:
        if (page := deep_page(file)) is None:
            return None
        check_pixels(page.imagelength, page.imagewidth)
        if _has_more_channels(page) and int(page.photometric) in (0, 1):
            raise RefusedError(f"{page.samplesperpixel} channels, neither gray nor RGB")
        if len(file.pages) > 1:
            log.warning("%s: %d pages; only the first is read", path, len(file.pages))
        exif, icc = _exif_of(path), page.iccprofile
        colour, alpha = read_deep_page(page)
    colour = turned(colour, _orientation(exif))
    if colour.shape[2] == 4:
        ink = Image.fromarray((colour >> 8).astype(np.uint8), "CMYK")
        return _finished(_samples(_plain(ink, icc, force_rgb=True)), None, None, exif)
    alpha = None if alpha is None else turned(alpha, _orientation(exif))
    return _finished(colour, alpha, icc, exif)


def turned(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply an EXIF orientation: transpose (5 to 8), then flip."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples


def _exif_of(path: Path) -> Image.Exif:
    """Return the EXIF data of a TIFF file that Pillow may be unable to decode; empty if damaged."""
    exif = Image.Exif()
    with suppress(Exception), path.open("rb") as file:
        exif.load_from_fp(file)
        _ = dict(exif)
    return exif


def _orientation(exif: Image.Exif) -> int:
    value = exif.get(ExifTags.Base.Orientation, 1)
    return value if value in rgb8.UPRIGHT else 1


def _kept(exif: Image.Exif) -> Image.Exif | None:
    """Return the tags about the picture; None if there are none or they are damaged."""
    kept = Image.Exif()
    with suppress(Exception):
        for tag in exif:
            if tag in _KEPT and not str(exif[tag]).startswith(_SIZES):
                is_folder = tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
                kept[tag] = dict(exif.get_ifd(tag)) if is_folder else exif[tag]
        kept.tobytes()
        return kept if len(kept) else None
    return None
