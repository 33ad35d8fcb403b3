"""List, read, measure and write image files as 8-bit RGB, for training and tests.

Images are uint8 (H, W, 3). `read_image` defines how files of other kinds are converted. A file that
cannot be used leads to a `UserError`.
"""

import logging
import os
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from liif.core.errors import UserError
from liif.images.decode import decode_first, decoded_size
from liif.images.png import ImageArray
from liif.images.suffixes import SUFFIXES, WRITERS, Writer, passed_over

log = logging.getLogger("liif")

Pixels = npt.NDArray[np.uint8]

MAX_SIDES = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535, "AVIF": 16384}
"""Largest side in pixels that a format can hold."""


def list_images(path: Path) -> list[Path]:
    """Return the image files under a folder, including links and sub-folders, sorted by relative
    POSIX path; or a single image file. Raises UserError if there are none.

    A file is an image by its suffix (`SUFFIXES`, any case); names starting with a dot are skipped.
    If there are none, NumPy's arrays (.npy) are listed, which `channels` reads.
    """
    help_text = (
        f"looked for {' '.join(SUFFIXES)}. Point the data root at your data with "
        "`--set data_root=FOLDER` or the environment variable LIIF_DATA; datasets/README.md says "
        "how to get each data set."
    )
    place = os.path.abspath(path)
    try:
        if not path.exists():
            raise UserError(f"{place}: no such file or folder; {help_text}")
        found = [path]
        if path.is_dir():
            found = [Path(folder) / name for folder, names in walk(path) for name in names]
        images = [file for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not images:  # arrays beside images are something else
            images = [file for file in found if file.suffix.lower() == ".npy" and file.is_file()]
    except OSError as error:
        reason = f"cannot list {os.path.abspath(error.filename)}: {error.strerror}"
        raise UserError(f"{place}: {reason}") from error
    if not images:
        raise UserError(f"{place}: no images here; {help_text}")
    return sorted(images, key=lambda file: file.relative_to(path).as_posix())


def tell_passed_over(path: Path) -> None:
    """Log how many files under a folder of images are not read, by suffix."""
    names = [name for _, each in walk(path) for name in each] if path.is_dir() else []
    if (line := passed_over(names)) is not None:
        log.info("%s: %s", path, line)


def _raise(error: OSError) -> None:
    raise error


def walk(
    root: Path, on_error: Callable[[OSError], None] = _raise
) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder under `root` and the names of its visible files; a folder that is reached
    twice through links is visited once. `on_error` is told of folders that cannot be listed."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=on_error):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, [name for name in names if not name.startswith(".")]


def read_image(path: Path) -> Pixels:
    """Decode an image file to uint8 (H, W, 3), RGB, contiguous and writable.

    Files are read by `decode`; colour profiles are not applied. Gray is replicated to three
    channels, transparency is composited over white, and 16 bits per channel are reduced to the
    high byte (value >> 8). Of several frames or pages the first is read, with a warning. Raises
    UserError as `decode`.
    """
    frame = decode_first(path)
    return to_rgb8(frame.colour, frame.alpha)


def to_rgb8(colour: ImageArray, alpha: ImageArray | None) -> Pixels:
    """Return gray or RGB (H, W, 1 or 3) of 8 or 16 bits, composited over white, as uint8
    (H, W, 3), writable."""
    shift = 8 * colour.itemsize - 8
    rgb = (colour >> shift).astype(np.uint8) if shift else np.array(colour, np.uint8)
    rgb = np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb
    if alpha is None:
        return rgb
    image = Image.fromarray(np.dstack([rgb, (alpha >> shift).astype(np.uint8)]))
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of the image that `read_image` returns, from the file's header. Raises
    UserError as `read_image`."""
    return decoded_size(path)


def write_image(path: Path, image: Pixels) -> None:
    """Write uint8 (H, W, 3) to `path` atomically; the suffix selects the format, lossless except
    for JPEG (quality 95, 4:4:4). Missing folders are created. Raises ValueError for another shape
    or dtype, UserError if the file cannot be written."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), not {image.dtype} {image.shape}")
    form, options = check_format(path, (image.shape[0], image.shape[1]))
    with replaced_atomically(path) as temporary:
        Image.fromarray(image).save(temporary, form, **options)


def check_format(
    path: Path, size: tuple[int, int], writers: Mapping[str, Writer] = WRITERS
) -> Writer:
    """Return Pillow's name of the format that the suffix selects, and its options. Raises UserError
    if the suffix is unknown, or the format cannot hold an image of `size` (H, W)."""
    if path.suffix.lower() not in writers:
        raise UserError(f"{path}: cannot write this format; use one of {' '.join(writers)}")
    form, options = writers[path.suffix.lower()]
    if max(size) > (largest := MAX_SIDES.get(form, 2**31 - 1)):
        raise UserError(
            f"{path}: {size[1]}×{size[0]} px is more than {form} can hold ({largest} px); use .png"
        )
    return form, options


@contextmanager
def replaced_atomically(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary file beside `path`, which replaces `path` unless an error is raised."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, ValueError) as error:  # ValueError: too large for the format
        raise UserError(f"{os.path.abspath(path)}: cannot write the image: {error}") from error
    finally:
        with suppress(OSError):  # it was renamed unless there was an error
            temporary.unlink()
