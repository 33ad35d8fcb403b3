"""One guard for the outputs of all commands: no output is an input, under whatever name, and none
replaces a file unasked."""

import os
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from liif.core.errors import UserError


def check_outputs(
    outputs: Iterable[Path], inputs: Iterable[Path | None] = (), *, overwrite: bool
) -> None:
    """Raise UserError before the work, not after it, if an output is an input, is named twice,
    exists although `overwrite` is false, or cannot be written."""
    kept, seen, folders = FileSet(inputs), FileSet(), set[Path]()
    for file in outputs:
        check_is_no_input(file, kept)
        if seen.find(file) is not None:
            raise UserError(f"{file}: is the name of two outputs")
        seen.add(file)
        _check_file(file, overwrite=overwrite)
        if file.parent not in folders:
            _check_folder(file)
            folders.add(file.parent)


def check_is_no_input(file: Path, inputs: "FileSet") -> None:
    """Raise UserError if an output is one of the inputs."""
    if (found := inputs.find(file)) is None:
        return
    if _identity(found) == _identity(file) or os.path.realpath(found) == os.path.realpath(file):
        raise UserError(f"{file}: is an input; choose another name")
    raise UserError(
        f"{file}: many disks do not tell this name from that of the input {found}; "
        "choose another name"
    )


def check_output(file: Path, *, overwrite: bool) -> None:
    """Raise UserError before the work if a file exists although `overwrite` is false, or cannot be
    written."""
    _check_file(file, overwrite=overwrite)
    _check_folder(file)


class FileSet:
    """Files that are found again by any of their names: through links, with `..` in the path, in
    other upper and lower case or another Unicode normalization, which many disks ignore."""

    def __init__(self, paths: Iterable[Path | None] = ()) -> None:
        self._by_name: dict[str, Path] = {}
        self._by_identity: dict[tuple[int, int], Path] = {}
        for path in paths:
            if path is not None:
                self.add(path)

    def add(self, path: Path) -> None:
        self._by_name[_name(path)] = path
        if (identity := _identity(path)) is not None:
            self._by_identity[identity] = path

    def has_same_file(self, path: Path) -> bool:
        """Return whether a path leads to a file of the set on its disk."""
        return (identity := _identity(path)) is not None and identity in self._by_identity

    def find(self, path: Path) -> Path | None:
        """Return the file of the set that a path leads to, as it was added; None if it is none."""
        identity = _identity(path)
        found = None if identity is None else self._by_identity.get(identity)
        return found or self._by_name.get(_name(path))


def _name(path: Path) -> str:
    real = unicodedata.normalize("NFD", os.path.realpath(path)).casefold()
    return unicodedata.normalize("NFC", real)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the number of a file; None if there is no such file."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return (state.st_dev, state.st_ino) if state.st_ino else None  # some network disks have none


def _check_file(file: Path, *, overwrite: bool) -> None:
    try:
        os.lstat(file)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        is_below_file = isinstance(error, NotADirectoryError)
        reason = "its folder is a file" if is_below_file else getattr(error, "strerror", error)
        raise UserError(f"{file}: cannot be written: {reason}") from None
    if file.is_dir():
        raise UserError(f"{file}: is a folder; give the name of a file")
    if file.exists() and not file.is_file():  # a rename would replace e.g. /dev/null
        raise UserError(f"{file}: is a pipe or a device; give the name of a file")
    if not overwrite:
        raise UserError(f"{file}: exists already; --overwrite replaces it")


def _check_folder(file: Path) -> None:
    """Create the folder of a file if it is missing. Raises UserError if it cannot be written to."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        reason = "its folder is a file" if file.parent.is_file() else error.strerror
        raise UserError(f"{file}: cannot be written: {reason}") from None
