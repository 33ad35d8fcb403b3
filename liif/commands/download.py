"""`liif data download` and `liif data list`: published data sets, to where the configurations
expect them. `liif download` is the earlier name."""

import argparse
import logging
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from liif.commands.arguments.shared import usage_error
from liif.core.download import fetch
from liif.core.errors import UserError
from liif.core.files import check_room, format_bytes, to_json
from liif.data import catalog
from liif.data.catalog import DataSet, DataSetPart
from liif.data.paths import data_path
from liif.data.unpack import unpack
from liif.images.rgb8 import list_images

log = logging.getLogger("liif")


def run(options: argparse.Namespace) -> int:
    if options.command == "download" and options.list:
        return list_data_sets(as_json=False)
    if not options.names:
        text = "name a data set, e.g. liif data download div2k; liif data list shows all"
        raise usage_error("data download", text)
    root = data_path(options.data_root, "")
    chosen = catalog.select(options.names)
    missing = [part for _, parts in chosen for part in parts if not _is_present(part, root)]
    _check_room(root, missing, keep=options.keep)
    status = 0
    for data_set, parts in chosen:
        print(f"{data_set.title}. Terms: {data_set.terms}")
        for part in parts:
            if part not in missing:
                print(f"{part.name}: present in {root}")
            elif part.urls:
                _get(part, data_set, root, options.mirror, options.keep)
            else:
                print(f"{part.name}: cannot be downloaded.\n{data_set.instructions}")
                status = 1
    return status


def list_data_sets(*, as_json: bool) -> int:
    """Print the data sets and their parts."""
    if as_json:
        print(to_json([asdict(data_set) for data_set in catalog.DATA_SETS], indent=1))
    else:
        print("\n".join(line for data_set in catalog.DATA_SETS for line in _described(data_set)))
    return 0


def _described(data_set: DataSet) -> list[str]:
    manual = "" if any(part.urls for part in data_set.parts) else " Manual preparation required."
    lines = [f"{data_set.name}: {data_set.title}. Terms: {data_set.terms}.{manual}"]
    for part in data_set.parts:
        size = "size not recorded" if part.size is None else format_bytes(part.size)
        if part.name != data_set.name:
            lines.append(f"  {part.name:24}{size}")
    return lines


def _is_present(part: DataSetPart, root: Path) -> bool:
    return all(_count(root / folder) >= images for folder, images in part.folders.items())


def _count(folder: Path) -> int:
    with suppress(UserError):  # no images, or no folder
        return len(list_images(folder))
    return 0


def _check_room(root: Path, parts: list[DataSetPart], *, keep: bool) -> None:
    """Raise UserError before any download if the disk is too small. Archives unpack to about their
    own size and are deleted one by one."""
    sizes = [part.size or 0 for part in parts]
    archives = [_archive(part, root) for part in parts if part.urls]
    arrived = [file for archive in archives for file in archive.parent.glob(f"{archive.name}*")]
    needed = sum(sizes) + (sum(sizes) if keep else max(sizes, default=0))
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    check_room(place, needed - sum(file.stat().st_size for file in arrived))


def _archive(part: DataSetPart, root: Path) -> Path:
    return root / part.unpack_to / part.urls[0].rpartition("/")[2]


def _get(part: DataSetPart, data_set: DataSet, root: Path, mirror: str | None, keep: bool) -> None:
    archive = _archive(part, root)
    urls = part.urls if mirror is None else (f"{mirror.rstrip('/')}/{archive.name}",)
    size = "" if part.size is None else f" ({format_bytes(part.size)})"
    print(f"{part.name}: downloading {archive.name}{size} to {archive.parent}", flush=True)
    try:
        fetch(urls, archive, size=part.size, checksum=part.checksum, unpacks=True)
    except UserError as error:
        raise UserError(f"{error}\n{data_set.instructions}") from None
    except KeyboardInterrupt:
        log.info("the same command resumes the download")
        raise
    print(f"{part.name}: unpacking", flush=True)
    unpack(archive, root / part.unpack_to)
    for folder, images in part.folders.items():
        if (found := _count(root / folder)) < images:
            text = f"unpacked, but {root / folder} holds {found} of {images} images"
            raise UserError(f"{archive}: {text}")
    if not keep:
        archive.unlink()
    print(f"{part.name}: done")
