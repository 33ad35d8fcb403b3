"""Decode files with Pillow, with the bits and the transparency that it leaves out."""

import io
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from liif.images.frame import Frame, upright_frame
from liif.images.opening import open_image, orientation_of
from liif.images.png import ImageArray
from liif.images.sample_range import scaled
from liif.images.tiff_pages import counted

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose images are the frames of an animation."""

log = logging.getLogger("liif")


def pillow_frames(image: ImageFile, path: Path) -> Iterator[Frame]:
    """Yield the image of an open file, or one by one the frames of its animation."""
    count = int(getattr(image, "n_frames", 1))
    is_animated = image.format in ANIMATED and count > 1
    if not is_animated and count > 1:
        log.warning("%s: not read besides the image: %s", path, counted(count - 1, "picture"))
    if image.format == "ICO" and len(image.info.get("sizes", ())) > 1:
        log.warning("%s: the largest of %d icons is read", path, len(image.info["sizes"]))
    layout = stored_layout(image)
    if is_animated and ";16" in layout:
        log.warning("%s: only 8 of the 16 bits of an animation are read", path)
    first = 1 if is_animated and image.info.get("default_image") else 0
    if first:
        log.warning("%s: not read besides the animation: its still image", path)
    for i in range(first, count) if is_animated else [None]:
        if i:
            image.seek(i)
        image.load()
        frame = pillow_frame(image, path, layout, is_frame=is_animated)
        yield frame._replace(frames=count - first) if is_animated else frame


def stored_layout(image: ImageFile) -> str:
    """Return how a file that is not loaded yet stores its pixels, in Pillow's words."""
    arguments: Any = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def pillow_frame(image: ImageFile, path: Path, layout: str, *, is_frame: bool) -> Frame:
    """Return the frame of a loaded image, the pixels of which are stored in a `stored_layout`."""
    info, key = dict(image.info), image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and type(key) is int:
        with path.open("rb") as file:  # Pillow scales pixels of 2 and 4 bits to 8, but not the key
            image.info["transparency"] = key * 255 // (2 ** file.read(25)[24] - 1)
    samples = None
    if image.format == "PNG" and not is_frame and re.fullmatch("(RGBA?|LA);16B", layout):
        samples = _deep_samples(image, path)
    if samples is None:
        bits = 8 if is_frame else stored_bits(image, path)
        if image.mode.startswith("I") and bits < 16:  # of JPEG 2000: shifted, not scaled
            samples = scaled(np.asarray(image) >> (16 - bits), 2**bits - 1)[..., None]
        else:
            plain = plain_image(image, info.get("icc_profile"), force_rgb=is_frame)
            samples = samples_of(plain)
            if bits > 8 and samples.dtype == np.uint8:
                log.warning("%s: only 8 of its %d bits are read", path, bits)
        if image.mode in ("CMYK", "LAB"):
            info.pop("icc_profile", None)
    colours = 1 if samples.shape[2] < 3 else 3
    colour, alpha = samples[..., :colours], None
    if samples.shape[2] > colours:
        alpha = samples[..., colours]
    elif samples.dtype == np.uint16 and key is not None:
        alpha = np.where((colour == np.uint16(key)).all(axis=2), 0, 65535).astype(np.uint16)
    return upright_frame(colour, alpha, info, orientation_of(image))


def plain_image(image: Image.Image, icc: bytes | None, *, force_rgb: bool) -> Image.Image:
    """Convert a decoded image to mode L, LA, RGB, RGBA or one of 16 or 32 bits."""
    if image.mode.startswith("I") or image.mode == "F":
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


def samples_of(image: Image.Image) -> ImageArray:
    """Return (H, W, channels) of an image that `plain_image` returned."""
    array = np.asarray(image)
    if image.mode.startswith("I") or image.mode == "F":
        array = scaled(array, 65535)
    return array.reshape(*array.shape[:2], -1)


def stored_bits(image: ImageFile, path: Path) -> int:
    """Return the bits per channel of a file, of which Pillow may decode only 8."""
    if image.format == "HEIF":
        return int(image.info.get("bit_depth") or 8)
    if image.format in ("AVIF", "JPEG2000"):
        with path.open("rb") as file:
            head = file.read(2**16)
        if (at := head.find(b"av1C")) >= 0 and at + 6 < len(head):  # the box of AV1's settings
            return {0x40: 10, 0x60: 12}.get(head[at + 6] & 0x60, 8)
        if (at := head.find(b"\xff\x4f\xff\x51")) >= 0 and at + 42 < len(head):  # image and tile
            return (head[at + 42] & 0x7F) + 1
    return 16 if image.mode.startswith("I") else 8


def _deep_samples(image: ImageFile, path: Path) -> npt.NDArray[np.uint16]:
    """Return uint16 (H, W, channels) of a PNG file that has 16 bits per channel but of which Pillow
    decodes only the high bytes.

    `image` has the high bytes; decoding again with the reversed byte order gives the low bytes.
    (torchvision's decoder reads 16 bits, but is deprecated.)
    """
    with open_image(path) as again:
        raw = stored_layout(again)
        is_gray = raw == "LA;16B"  # Pillow decodes gray and alpha of two bytes each as RGBA
        new = "RGBA" if is_gray else raw[:-1] + "L"
        again.tile = [tile._replace(args=new) for tile in again.tile]
        again.load()
        low = np.asarray(again).astype(np.uint16)
    if is_gray:
        return (256 * low[..., 0::2] + low[..., 1::2]).astype(np.uint16)
    return (256 * np.asarray(image).astype(np.uint16) + low).astype(np.uint16)
