"""Measured scores on disk, so that no image is measured twice and interruptions lose nothing.

There is one file of JSON lines per model, settings and scale, named by a hash of them. Its first
line holds the settings, and each further line one image. Lines are appended whole; a line that was
cut off by an interruption is ignored.
"""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from liif.core.errors import UserError
from liif.core.files import finite_or_none, to_json

VERSION = 1
"""Version of the measurement. Raise it when a change moves numbers: old files are then ignored."""

Measurement = dict[str, Any]
"""Name, file hashes and scores of one image."""
ImageKey = tuple[str, str]
"""Hashes of the files of the high-resolution and of the low-resolution image."""


class MeasurementFile:
    """The measurements of one model with one group of settings at one scale."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Name the file of `settings`: everything but the images that the numbers depend on, as
        JSON values."""
        self.settings = {"version": VERSION, **settings}
        digest = sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"{digest[:16]}.jsonl"

    def read(self) -> dict[ImageKey, Measurement]:
        """Return the measurements of all complete lines, by image. Raises UserError if the file
        exists and cannot be read."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        found: dict[ImageKey, Measurement] = {}
        for line in lines:
            try:
                measurement = finite_or_none(json.loads(line))  # version 0.1 wrote NaN
                found[measurement["hr"], measurement["lr"]] = measurement
            except (ValueError, KeyError, TypeError):
                continue  # the settings, or a line that was cut off
        return found

    def append(self, measurement: Measurement) -> None:
        """Append one image; it survives a crash once this returns. Raises UserError if the file
        cannot be written; its content is then unchanged."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                lines = [measurement] if file.tell() else [self.settings, measurement]
                text = "".join(to_json(line) + "\n" for line in lines)
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    text = text if file.read(1) == b"\n" else "\n" + text  # after a cut-off line
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from None
