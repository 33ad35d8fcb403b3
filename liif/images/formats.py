"""Write photographs to files of any format, strip by strip in PNG and TIFF.

H W is the size of the image. Strips are uint8 or uint16 (rows, W, channels); channels are 1 gray,
2 gray and alpha, 3 RGB, 4 RGBA.
"""

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from liif.core.errors import UserError
from liif.core.sizes import Window
from liif.images.metadata import carry
from liif.images.metadata.record import Change, Metadata
from liif.images.origin import OriginRecord, embed_record
from liif.images.photo import Photo
from liif.images.png import ImageArray, PngWriter
from liif.images.rgb8 import check_format, replaced_atomically
from liif.images.suffixes import TARGETS, Writer
from liif.images.tiff import write_tiff

log = logging.getLogger("liif")

Image.init()
_DEEP = ("PNG", "TIFF")  # formats of 16 bits
LOSSY = ("JPEG", "WEBP", "AVIF")
"""Formats with a quality."""
_TRANSPARENT = ("PNG", "TIFF", "WEBP", "AVIF", "GIF")


class Layout(NamedTuple):
    """How a pixel is stored."""

    channels: int
    bits: int  # 8 or 16 per channel
    is_photo: bool = True  # gray or RGB, with alpha or not; else any channels

    @property
    def has_alpha(self) -> bool:
        return self.is_photo and self.channels in (2, 4)


def layout_for(
    path: Path,
    size: tuple[int, int],
    photo: Photo,
    bits: int | None = None,
    channels: int | None = None,
) -> Layout:
    """Return how the output of a photo is stored at `size` (H, W).

    It has the channels of the photo (or the given `channels`, beside alpha) and its bits (or the
    given `bits`, 8 or 16) if the format of the suffix can hold them. Raises UserError if the format
    is unknown, or cannot hold the size, the given bits, or other channels than gray and RGB.
    """
    form, _ = check_format(path, size, TARGETS)
    count = photo.colour.shape[2] if channels is None else channels
    if count not in (1, 3):
        if form != "TIFF":
            raise UserError(f"{path}: {form} does not hold {count} channels; use .tif")
        return Layout(count, bits or photo.bits, is_photo=False)
    if bits == 16 and form not in _DEEP:
        raise UserError(f"{path}: {form} holds 8 bits; use .png or .tif for --bits 16")
    alpha = photo.alpha is not None and form in _TRANSPARENT
    return Layout(count + alpha, bits or (photo.bits if form in _DEEP else 8))


def is_streamed(path: Path) -> bool:
    """Return whether the format of the suffix is written strip by strip."""
    return TARGETS[path.suffix.lower()][0] in ("PNG", "TIFF")


def holds_animation(path: Path) -> bool:
    """Return whether the format of the suffix can hold animations."""
    return TARGETS[path.suffix.lower()][0] in ("PNG", "WEBP", "AVIF", "GIF")


def holds_pages(path: Path) -> bool:
    """Return whether the format of the suffix can hold the pages of a document."""
    return TARGETS[path.suffix.lower()][0] == "TIFF"


def write_photo(
    path: Path,
    size: tuple[int, int],
    layout: Layout,
    strips: Iterable[ImageArray],
    source: Photo,
    window: Window | None = None,
    *,
    quality: int | None = None,
    record: OriginRecord | None = None,
) -> None:
    """Write an image atomically, with the metadata of the photo that it was made from; what the
    format cannot hold is logged. PNG and TIFF are written strip by strip; for other formats the
    strips are collected first. Raises UserError if the file cannot be written.

    Args:
        path: the file; its suffix selects the format.
        size: (H, W).
        layout: channels and bits of the strips.
        strips: (rows, W, channels), from top to bottom.
        source: the photo that the image was made from.
        window: the part of the photo that is shown; None for all of it.
        quality: of formats with losses, 1 to 100.
        record: what made the image, for `origin.read_record`.
    """
    form, options = writer_of(path, size, quality)
    metadata, lost = _carried(source, form, size, window)
    with replaced_atomically(path) as temporary:
        if form == "PNG":
            with temporary.open("wb") as file:
                chunks = carry.png_chunks(metadata, lost)
                png = PngWriter(file, size, layout.channels, layout.bits, chunks=chunks)
                for strip in strips:
                    png.write(strip)
                png.finish()
        elif form == "TIFF":
            write_tiff(
                temporary, size, strips, layout.channels, layout.bits, icc=metadata.icc,
                is_photo=layout.is_photo,
            )  # fmt: skip
            carry.add_to_tiff(temporary, [metadata], lost)
        else:
            image = _image(np.concatenate(list(strips)))
            if form == "GIF" and image.mode in ("RGBA", "LA"):
                image = _to_gif(image.convert("RGBA"))
            temporary.write_bytes(_encoded(image, form, options, metadata, lost))
        if record is not None:
            embed_record(temporary, record)
    _log_lost(path, lost)


class PageOutput(NamedTuple):
    """One page of a document; the fields are the arguments of `write_photo`."""

    size: tuple[int, int]
    layout: Layout
    strips: Iterable[ImageArray]
    source: Photo
    window: Window


def write_pages(
    path: Path, pages: Iterable[PageOutput], record: OriginRecord | None = None
) -> None:
    """Write the pages of a document, one after the other, to a TIFF file, atomically. Raises
    UserError if the file cannot be written."""
    all_metadata, lost = list[Metadata](), list[str]()
    with replaced_atomically(path) as temporary:
        for i, page in enumerate(pages):
            metadata, missing = _carried(page.source, "TIFF", page.size, page.window)
            all_metadata.append(metadata)
            lost += missing
            write_tiff(
                temporary, page.size, page.strips, page.layout.channels, page.layout.bits,
                icc=metadata.icc, is_photo=page.layout.is_photo, page=i, pages=page.source.frames,
            )  # fmt: skip
        carry.add_to_tiff(temporary, all_metadata, lost)
        if record is not None:
            embed_record(temporary, record)
    _log_lost(path, lost)


def write_animation(
    path: Path,
    size: tuple[int, int],
    frames: Iterator[tuple[ImageArray, Photo]],
    window: Window | None = None,
    *,
    quality: int | None = None,
    record: OriginRecord | None = None,
) -> None:
    """Write an animation of `size` (H, W) atomically; the suffix selects the format. `frames` are
    uint8 RGBA (H, W, 4), each with the frame that it was made from, of which the first gives the
    metadata; the other arguments are those of `write_photo`. Raises UserError if the file cannot be
    written."""
    form, options = writer_of(path, size, quality)
    with replaced_atomically(path) as temporary:
        images: list[Image.Image] = []
        photos: list[Photo] = []
        metadata, lost = Metadata(), list[str]()
        for samples, photo in frames:
            if not photos:
                metadata, lost = _carried(photo, form, size, window)
            images.append(_image(samples))
            photos.append(photo._replace(colour=photo.colour[:0], alpha=None))  # frees the pixels
        animation: dict[str, Any] = {"duration": [round(photo.duration) for photo in photos]}
        loop = _loop(photos[0], form)
        if loop is not None:
            animation["loop"] = loop
        if all(image.getchannel("A").getextrema()[0] == 255 for image in images):
            images = [image.convert("RGB") for image in images]
        elif form == "GIF":
            images = [_to_gif(image) for image in images]
            animation["disposal"] = 2  # clear each frame, or it shows through transparent pixels
        animation |= {"save_all": True, "append_images": images[1:], **options}
        temporary.write_bytes(_encoded(images[0], form, animation, metadata, lost))
        if record is not None:
            embed_record(temporary, record)
    _log_lost(path, lost)


def _loop(source: Photo, form: str) -> int | None:
    """Return Pillow's option `loop`, 0 for endless. GIF counts repetitions after the first time and
    plays once if it has no number; other formats count how often they play."""
    loop = source.loop
    if source.metadata.form == "GIF":
        loop = 1 if loop is None else loop + (loop > 0)
    if loop is None or form != "GIF":
        return loop
    return {0: 0, 1: None}.get(loop, loop - 1)


def _carried(
    source: Photo, form: str, size: tuple[int, int], window: Window | None
) -> tuple[Metadata, list[str]]:
    """Return the metadata for a result of (H, W), and names of what is lost."""
    h, w = source.size
    orientation = source.metadata.orientation
    stored = (w, h) if orientation in (5, 6, 7, 8) else (h, w)
    change = Change(stored, orientation, window or Window(0, 0, h, w), size)
    metadata, lost = carry.carried(source.metadata, form, change, _profile(source))
    if source.alpha is not None and form not in _TRANSPARENT:
        lost.insert(0, "transparency (on white)")
    return metadata, lost


def _profile(source: Photo) -> bytes | None:
    """Return the colour profile; of BMP and GIF, where Pillow does not read it, and of PNG, where
    it does not read large ones, if it fits."""
    icc = source.metadata.icc
    if source.icc or not icc or source.metadata.form not in ("BMP", "GIF", "PNG"):
        return source.icc
    return icc if icc[16:20] == (b"GRAY" if source.colour.shape[2] == 1 else b"RGB ") else None


def _encoded(
    image: Image.Image,
    form: str,
    options: Mapping[str, Any],
    metadata: Metadata,
    lost: list[str],
) -> bytes:
    """Return a file of a format that is written as a whole, with metadata."""
    file = io.BytesIO()
    further = carry.pillow_options(form, metadata, lost)
    try:
        image.save(file, form, **options, **further)
    except (OSError, ValueError, SyntaxError, RuntimeError):
        if not further:
            raise
        lost.append("metadata (refused by the encoder)")
        file = io.BytesIO()
        image.save(file, form, **options)
    return carry.embedded(form, file.getvalue(), metadata, (image.height, image.width), lost)


def _log_lost(path: Path, lost: list[str]) -> None:
    if lost:
        log.warning("%s: not kept: %s", path, ", ".join(dict.fromkeys(lost)))


def writer_of(path: Path, size: tuple[int, int], quality: int | None) -> Writer:
    """As `check_format`, for results of `liif upscale` of a quality, 1 to 100. Raises UserError if
    a quality is given and the format has none."""
    form, options = check_format(path, size, TARGETS)
    if quality is None:
        return form, options
    if form not in LOSSY:
        raise UserError(f"{path}: {form} is without losses; --quality is for {' '.join(LOSSY)}")
    return form, {**options, "quality": quality, **({"lossless": False} if form == "WEBP" else {})}


def _to_gif(image: Image.Image) -> Image.Image:
    """Convert RGBA for GIF: 255 colours, and transparent pixels where alpha is below one half."""
    palette = image.convert("RGB").quantize(255)
    is_transparent = np.asarray(image.getchannel("A")) < 128
    palette.paste(255, mask=Image.fromarray(is_transparent.astype(np.uint8) * 255))
    palette.info["transparency"] = 255
    return palette


def _image(samples: ImageArray) -> Image.Image:
    """Return a Pillow image of uint8 (H, W, channels)."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
