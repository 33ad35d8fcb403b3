"""Read photographs with their bit depth, alpha, colour profile, EXIF and animation frames.

`rgb8.read_image` converts everything to 8-bit RGB for training and tests; this module preserves
what an output file can hold. H W is the size of the upright image.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from liif.images.decode import decode, decoded_size
from liif.images.metadata.reading import read_metadata
from liif.images.metadata.record import Metadata
from liif.images.png import ImageArray


class Photo(NamedTuple):
    """One image or frame, upright."""

    colour: ImageArray  # uint8 or uint16 (H, W, 1 or 3), gray or RGB, not multiplied by alpha;
    # (H, W, C) without alpha where `channels.read_frames` has read it
    alpha: ImageArray | None = None  # (H, W) of the same dtype; None if all pixels are opaque
    icc: bytes | None = None  # colour profile for the same number of channels
    metadata: Metadata = Metadata()  # as the file has it
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
    metadata = Metadata()
    for frame in decode(path):
        info, icc = frame.info, frame.info.get("icc_profile")
        space = b"GRAY" if frame.colour.shape[2] == 1 else b"RGB "
        icc = icc if icc and icc[16:20] == space else None
        if frame.is_page or not metadata.form:
            metadata = read_metadata(path, frame.directory, is_page=frame.is_page)
        turned = metadata._replace(orientation=frame.turn)
        photo = Photo(frame.colour, frame.alpha, icc, turned)
        if frame.frames > 1:
            duration, loop = float(info.get("duration") or 0), info.get("loop")
            photo = photo._replace(frames=frame.frames, is_page=frame.is_page)
            photo = photo._replace(duration=duration, loop=loop)
        yield photo
