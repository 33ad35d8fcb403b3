"""Unpack untrusted archives, completely or not at all, and never outside their folder."""

import filecmp
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PureWindowsPath
from typing import IO

from liif.core.errors import UserError
from liif.core.files import check_room, format_bytes

GROWTH, ALLOWANCE = 10, 2**20
"""An archive of n bytes may unpack to at most GROWTH · n + ALLOWANCE bytes: photographs hardly
compress, so one that grows more is a decompression bomb."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into a temporary folder, then move its files to `folder`.

    Raises UserError, and unpacks nothing, if the archive is damaged, too large, or holds links,
    devices or paths outside the folder; the folder holds a different file of the same name; or the
    disk is full.
    """
    work = folder / f".{archive.name}.unpacking"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)  # left by an interrupted call
        check_room(folder, archive.stat().st_size)
        work.mkdir()
        _extract(archive, work)
        for file in sorted(work.rglob("*")):
            old = folder / file.relative_to(work)
            is_new = file.is_dir() or not os.path.lexists(old)
            if not is_new and not (old.is_file() and filecmp.cmp(file, old, shallow=False)):
                raise UserError(f"{old}: differs from the one in {archive.name}; move it away")
        _move(work, folder)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError) as error:
        raise UserError(f"{archive}: damaged: {error}; delete it") from None
    except (OSError, RuntimeError, ValueError) as error:  # such as a password or an invalid name
        raise UserError(f"{archive}: cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    largest, total = GROWTH * archive.stat().st_size + ALLOWANCE, 0
    for name, size, content in _entries(archive, folder):
        path = PureWindowsPath(name)  # splits at / and \\, and knows drives
        if path.anchor or ".." in path.parts:
            raise UserError(f"{archive}: refused: {name} would lie outside the folder")
        total += size
        if size < 0 or total > largest:
            raise UserError(f"{archive}: refused: unpacks to more than {format_bytes(largest)}")
        check_room(folder, size)
        place = folder / name
        (place if content is None else place.parent).mkdir(parents=True, exist_ok=True)
        if content is not None:
            with content, place.open("xb") as file:
                shutil.copyfileobj(content, file)
                if file.tell() != size:
                    raise EOFError(f"{name} is cut off")


def _entries(archive: Path, folder: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Yield name, size in bytes and content (None: a folder) of each entry of an archive that is
    unpacked to a folder."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                if not (member.isreg() or member.isdir()):
                    raise UserError(f"{archive}: refused: {member.name} is a link or a device")
                try:
                    tarfile.data_filter(member, str(folder))
                except tarfile.FilterError:
                    text = f"{member.name} would lie outside the folder"
                    raise UserError(f"{archive}: refused: {text}") from None
                yield member.name, member.size, tar.extractfile(member) if member.isreg() else None
            while tar.fileobj and tar.fileobj.read(2**20):
                pass  # read to the end, where a compressed archive has its checksum
        return
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UserError(f"{archive}: refused: {info.filename} is a link or a device")
            content = None if info.is_dir() else bundle.open(info)
            yield info.filename, info.file_size, content


def _move(source: Path, target: Path) -> None:
    """Move a file or folder, merging it into a folder that exists."""
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)
    else:
        shutil.move(source, target)
