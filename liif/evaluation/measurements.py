"""What was measured, image by image: nothing is measured twice, and an interruption loses nothing.

One file of JSON lines for everything that one model did by one means at one scale. Its name is a
hash of what was done, which its first line says; every further line is one image. A line is added
whole and at once; one that an interruption left unfinished is passed over.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from liif.core.errors import UserError

VERSION = 1
"""Of the way scores are taken: to be raised when a change moves numbers, so that old ones do not
stand beside new ones."""

Record = dict[str, Any]
ImageKey = tuple[str, str]
"""Hashes of the files of the high- and of the low-resolution image."""


@dataclass(frozen=True)
class Measurements:
    """Those of one model by one means at one scale."""

    file: Path
    what: Mapping[str, Any]

    @staticmethod
    def of(folder: Path, what: Mapping[str, Any]) -> "Measurements":
        """`what` holds all that numbers depend on but the images, as JSON knows it."""
        what = {"version": VERSION, **what}
        digest = sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        return Measurements(folder / f"{digest[:16]}.jsonl", what)

    def read(self) -> dict[ImageKey, Record]:
        """All whole lines, by image."""
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"{self.file}: cannot be read: {error.strerror or error}") from None
        records: dict[ImageKey, Record] = {}
        for line in lines:
            try:
                record = json.loads(line)
                records[record["hr"], record["lr"]] = record
            except (ValueError, KeyError, TypeError):
                continue  # the first line, or one that was not finished
        return records

    def add(self, record: Record) -> None:
        """Append one image, safe from a crash once this returns.

        Raises:
            UserError: it cannot be written; what was there is intact.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab+") as file:
                lines = [record]
                if file.tell() == 0:
                    lines = [dict(self.what), record]
                else:
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # an unfinished line stays one of its own
                        file.write(b"\n")
                file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.file}: cannot be written: {error.strerror or error}") from None
