"""Enlarged photographs to files: what each format can hold, written as it is made where it can be.

Letters: (H, W) size of the picture. Samples are uint8 or uint16 (rows, W, channels); channels are
1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from liif.core.errors import UserError
from liif.images.photo import Photo
from liif.images.png import PngWriter, Samples
from liif.images.rgb8 import WRITERS, Writer, check_format, whole_or_not_at_all
from liif.images.tiff import write_tiff

Image.init()
_AVIF: Mapping[str, Writer] = {".avif": ("AVIF", {"quality": 95, "subsampling": "4:4:4"})}
TARGETS: Mapping[str, Writer] = {
    **WRITERS,
    ".gif": ("GIF", {}),
    **(_AVIF if "AVIF" in Image.SAVE else {}),
}
"""Pillow's format and its options by suffix. Lossless are PNG, TIFF, WebP, BMP and PPM."""

DEEP = ("PNG", "TIFF")
TRANSPARENT = ("PNG", "TIFF", "WEBP", "AVIF", "GIF")
_EXIF = ("PNG", "TIFF", "JPEG", "WEBP", "AVIF")  # and profiles


class Layout(NamedTuple):
    """What is stored of a pixel."""

    channels: int
    bits: int
    """8 or 16."""


def layout_for(path: Path, size: tuple[int, int], photo: Photo, bits: int | None = None) -> Layout:
    """How a photo, enlarged to `size`, is stored in a file of this suffix: as it was as far as the
    format holds it, in so many bits if they are given.

    Raises:
        UserError: not a format that is written, or not of that size or those bits.
    """
    form, _ = check_format(path, size, TARGETS)
    if bits == 16 and form not in DEEP:
        raise UserError(f"{path}: {form} holds 8 bits; use .png or .tif for --bits 16")
    alpha = photo.alpha is not None and form in TRANSPARENT
    return Layout(photo.colour.shape[2] + alpha, bits or (photo.bits if form in DEEP else 8))


def holds_animation(path: Path) -> bool:
    """Whether the format that the suffix chooses does."""
    return TARGETS[path.suffix.lower()][0] in ("PNG", "WEBP", "AVIF", "GIF")


def write_photo(
    path: Path, size: tuple[int, int], layout: Layout, strips: Iterable[Samples], like: Photo
) -> None:
    """Write strips of samples, from top to bottom, whole or not at all, with the profile and EXIF
    of the photo they were made from. PNG and TIFF go to the file as they come; for other formats
    the strips are gathered first.

    Raises:
        UserError: it cannot be written.
    """
    form, options = check_format(path, size, TARGETS)
    exif = exif_of(like, size)
    with whole_or_not_at_all(path) as temporary:
        if form == "PNG":
            with temporary.open("wb") as file:
                start = exif[6:] if exif else None  # without "Exif\0\0"
                png = PngWriter(file, size, *layout, icc=like.icc, exif=start)
                for strip in strips:
                    png.write(strip)
                png.finish()
        elif form == "TIFF":
            write_tiff(temporary, size, strips, *layout, icc=like.icc, exif=exif)
        else:
            image = _image(np.concatenate(list(strips)))
            if form == "GIF" and image.mode in ("RGBA", "LA"):
                image = _with_hole(image.convert("RGBA"))
            image.save(temporary, form, **options, **_notes(form, like, exif))


def write_animation(
    path: Path, size: tuple[int, int], frames: Iterator[tuple[Samples, Photo]]
) -> None:
    """As `write_photo`, for the frames of an animation, RGBA of 8 bits, each with the one that it
    was made from."""
    form, options = check_format(path, size, TARGETS)
    with whole_or_not_at_all(path) as temporary:
        images: list[Image.Image] = []
        photos: list[Photo] = []
        for samples, photo in frames:
            images.append(_image(samples))
            photos.append(photo._replace(colour=photo.colour[:0], alpha=None))  # not kept for this
        moving: dict[str, Any] = {"duration": [round(photo.duration) for photo in photos]}
        if photos[0].loop is not None:
            moving["loop"] = photos[0].loop
        if all(image.getchannel("A").getextrema()[0] == 255 for image in images):
            images = [image.convert("RGB") for image in images]
        elif form == "GIF":
            images = [_with_hole(image) for image in images]
            moving["disposal"] = 2  # or what was opaque would show through what is not
        images[0].save(
            temporary, form, save_all=True, append_images=images[1:],
            **options, **moving, **_notes(form, photos[0], exif_of(photos[0], size)),
        )  # fmt: skip


def _with_hole(image: Image.Image) -> Image.Image:
    """RGBA as GIF can have it: 255 colours, and nothing where alpha is below a half."""
    palette = image.convert("RGB").quantize(255)
    hole = np.asarray(image.getchannel("A")) < 128
    palette.paste(255, mask=Image.fromarray(hole.astype(np.uint8) * 255))
    palette.info["transparency"] = 255
    return palette


def exif_of(photo: Photo, size: tuple[int, int]) -> bytes | None:
    """EXIF for the photo at a new size (H, W), upright; None if it has none."""
    if photo.exif is None:
        return None
    exif = Image.Exif()
    exif.load(photo.exif.tobytes())
    exif[ExifTags.Base.Orientation] = 1
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, n in (
        (ExifTags.Base.ExifImageWidth, size[1]),
        (ExifTags.Base.ExifImageHeight, size[0]),
    ):
        if tag in inner:
            inner[tag] = n
    return exif.tobytes()


def _notes(form: str, photo: Photo, exif: bytes | None) -> dict[str, bytes]:
    """Pillow's options for what is told beside the pixels."""
    notes = {"icc_profile": photo.icc, "exif": exif} if form in _EXIF else {}
    return {key: value for key, value in notes.items() if value}


def _image(samples: Samples) -> Image.Image:
    """A Pillow image of 8-bit samples."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
