"""Read photographs with their bit depth, alpha, colour profile, EXIF and animation frames.

`rgb8.read_image` converts everything to 8-bit RGB for training and tests; this module preserves
what an output file can hold. H W is the size of the upright image.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image

from liif.images.decode import decode, decoded_size
from liif.images.png import ImageArray

# EXIF tags that are kept: those about the picture, not about its storage.
_KEPT = {
    *(270, 271, 272, 282, 283, 296, 305, 306, 315, 18246, 18249, 33432),
    *range(40091, 40096), ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo,
}  # fmt: skip

# Beginnings of an ImageDescription in which scientific software stores the old size.
_SIZES = ('{"shape"', '{"axes"', "<?xml", "ImageJ=")


class Photo(NamedTuple):
    """One image or frame, upright."""

    colour: ImageArray  # uint8 or uint16 (H, W, 1 or 3), gray or RGB, not multiplied by alpha;
    # (H, W, C) without alpha where `channels.read_frames` has read it
    alpha: ImageArray | None = None  # (H, W) of the same dtype; None if all pixels are opaque
    icc: bytes | None = None  # colour profile for the same number of channels
    exif: Image.Exif | None = None  # without tags about the stored size and orientation
    frames: int = 1  # number of frames or pages in the file; 1 for still images
    is_page: bool = False  # one of several pages of a document, not frames of an animation
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
    return decoded_size(path)


def read_photo(path: Path) -> Iterator[Photo]:
    """Yield the image, the frames of an animation or the pages of a TIFF file, one by one, as
    `decode` reads them. Raises UserError as `decode`."""
    for frame in decode(path):
        info, icc = frame.info, frame.info.get("icc_profile")
        space = b"GRAY" if frame.colour.shape[2] == 1 else b"RGB "
        icc = icc if icc and icc[16:20] == space else None
        photo = Photo(frame.colour, frame.alpha, icc, _kept(frame.exif))
        if frame.frames > 1:
            duration, loop = float(info.get("duration") or 0), info.get("loop")
            photo = photo._replace(frames=frame.frames, is_page=frame.is_page)
            photo = photo._replace(duration=duration, loop=loop)
        yield photo


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
