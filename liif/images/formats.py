"""Write photographs to files of any format, strip by strip in PNG and TIFF.

H W is the size of the image. Strips are uint8 or uint16 (rows, W, channels); channels are 1 gray,
2 gray and alpha, 3 RGB, 4 RGBA.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from liif.core.errors import UserError
from liif.images.photo import Photo
from liif.images.png import ImageArray, PngWriter
from liif.images.rgb8 import check_format, replaced_atomically
from liif.images.suffixes import TARGETS
from liif.images.tiff import write_tiff

Image.init()
_DEEP = ("PNG", "TIFF")  # formats of 16 bits
_TRANSPARENT = ("PNG", "TIFF", "WEBP", "AVIF", "GIF")
_METADATA = ("PNG", "TIFF", "JPEG", "WEBP", "AVIF")  # formats with EXIF and colour profiles


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


def holds_animation(path: Path) -> bool:
    """Return whether the format of the suffix can hold animations."""
    return TARGETS[path.suffix.lower()][0] in ("PNG", "WEBP", "AVIF", "GIF")


def write_photo(
    path: Path, size: tuple[int, int], layout: Layout, strips: Iterable[ImageArray], source: Photo
) -> None:
    """Write an image atomically. PNG and TIFF are written strip by strip; for other formats the
    strips are collected first. Raises UserError if the file cannot be written.

    Args:
        path: the file; its suffix selects the format.
        size: (H, W).
        layout: channels and bits of the strips.
        strips: (rows, W, channels), from top to bottom.
        source: the photo whose colour profile and EXIF data are written.
    """
    form, options = check_format(path, size, TARGETS)
    exif = exif_of(source, size)
    with replaced_atomically(path) as temporary:
        if form == "PNG":
            with temporary.open("wb") as file:
                start = exif[6:] if exif else None  # without "Exif\0\0"
                png = PngWriter(
                    file, size, layout.channels, layout.bits, icc=source.icc, exif=start
                )
                for strip in strips:
                    png.write(strip)
                png.finish()
        elif form == "TIFF":
            write_tiff(
                temporary, size, strips, layout.channels, layout.bits, icc=source.icc, exif=exif,
                is_photo=layout.is_photo,
            )  # fmt: skip
        else:
            image = _image(np.concatenate(list(strips)))
            if form == "GIF" and image.mode in ("RGBA", "LA"):
                image = _to_gif(image.convert("RGBA"))
            image.save(temporary, form, **options, **_metadata(form, source, exif))


def write_animation(
    path: Path, size: tuple[int, int], frames: Iterator[tuple[ImageArray, Photo]]
) -> None:
    """Write an animation of `size` (H, W) atomically; the suffix selects the format. `frames` are
    uint8 RGBA (H, W, 4), each with the frame that it was made from. Raises UserError if the file
    cannot be written."""
    form, options = check_format(path, size, TARGETS)
    with replaced_atomically(path) as temporary:
        images: list[Image.Image] = []
        photos: list[Photo] = []
        for samples, photo in frames:
            images.append(_image(samples))
            photos.append(photo._replace(colour=photo.colour[:0], alpha=None))  # frees the pixels
        animation: dict[str, Any] = {"duration": [round(photo.duration) for photo in photos]}
        if photos[0].loop is not None:
            animation["loop"] = photos[0].loop
        if all(image.getchannel("A").getextrema()[0] == 255 for image in images):
            images = [image.convert("RGB") for image in images]
        elif form == "GIF":
            images = [_to_gif(image) for image in images]
            animation["disposal"] = 2  # clear each frame, or it shows through transparent pixels
        images[0].save(
            temporary, form, save_all=True, append_images=images[1:],
            **options, **animation, **_metadata(form, photos[0], exif_of(photos[0], size)),
        )  # fmt: skip


def _to_gif(image: Image.Image) -> Image.Image:
    """Convert RGBA for GIF: 255 colours, and transparent pixels where alpha is below one half."""
    palette = image.convert("RGB").quantize(255)
    is_transparent = np.asarray(image.getchannel("A")) < 128
    palette.paste(255, mask=Image.fromarray(is_transparent.astype(np.uint8) * 255))
    palette.info["transparency"] = 255
    return palette


def exif_of(photo: Photo, size: tuple[int, int]) -> bytes | None:
    """Return the EXIF data of a photo for an upright output of (H, W); None if it has none."""
    if photo.exif is None:
        return None
    exif = Image.Exif()
    exif.load(photo.exif.tobytes())
    exif[ExifTags.Base.Orientation] = 1
    inner, tags = exif.get_ifd(ExifTags.IFD.Exif), ExifTags.Base
    sides = {tags.ExifImageWidth: size[1], tags.ExifImageHeight: size[0]}
    inner.update({tag: side for tag, side in sides.items() if tag in inner})
    return exif.tobytes()


def _metadata(form: str, photo: Photo, exif: bytes | None) -> dict[str, bytes]:
    """Return Pillow's options for the colour profile and EXIF data."""
    metadata = {"icc_profile": photo.icc, "exif": exif} if form in _METADATA else {}
    return {key: value for key, value in metadata.items() if value}


def _image(samples: ImageArray) -> Image.Image:
    """Return a Pillow image of uint8 (H, W, channels)."""
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
