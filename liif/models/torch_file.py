"""Read the files of `torch.save`: zip archives, and the streams of PyTorch before 1.6.

Pickles in them are read by unpickler.py, which executes nothing.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liif.models.unpickler import Foreign, read_pickle

MAGIC = 0x1950A86A20F9469CFC6C
"""The first value of a stream."""
TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "QUInt8Storage": torch.uint8,
    "QInt8Storage": torch.int8,
    "QInt32Storage": torch.int32,
    "UntypedStorage": torch.uint8,
}
"""Names of storages, which are those of all devices."""


def read_torch_file(path: Path) -> Any:  # noqa: ANN401
    """Return the content of a file of `torch.save`, or of a plain pickle, on the CPU. Raises as
    `read_pickle`; zipfile.BadZipFile for an archive with other checksums."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path.stat().st_size)
    stream = io.BytesIO(path.read_bytes())
    is_stream = MAGIC.to_bytes(10, "little") in stream.getbuffer()[:32].tobytes()
    return _read_stream(stream) if is_stream else read_pickle(stream)


def _read_archive(archive: zipfile.ZipFile, size: int) -> Any:  # noqa: ANN401
    """Read a pickle whose values are files beside it, and whose names are their keys."""
    records = archive.infolist()
    # PyTorch compresses nothing: compressed files could expand without bound.
    if sum(record.file_size for record in records) > size:
        raise zipfile.BadZipFile("compressed")
    names = [each.filename for each in records if each.filename.endswith("data.pkl")]
    root = min(names, key=len).removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("numbers that are not little-endian")
    found: dict[str, Tensor] = {}

    def storage(kind: type[Foreign], key: str, count: int) -> Tensor:
        dtype = _dtype(kind)
        if key not in found:
            data = bytearray(archive.read(f"{root}data/{key}"))
            found[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0).to(dtype)
        if found[key].dtype != dtype or len(found[key]) != count:
            raise ValueError("values of another type or number")
        return found[key]

    with archive.open(f"{root}data.pkl") as file:
        return read_pickle(io.BytesIO(file.read()), storage)


def _read_stream(stream: io.BytesIO) -> Any:  # noqa: ANN401
    """Read four pickles, of which the third describes the system, the list of the keys of all
    values, and the values in this order, each after their number."""
    room = len(stream.getbuffer())
    found: dict[str, Tensor] = {}

    def storage(kind: type[Foreign], key: str, count: int) -> Tensor:
        nonlocal room
        dtype = _dtype(kind)
        if key not in found:
            room -= count * dtype.itemsize
            if count < 0 or room < 0:
                raise ValueError("more values than the file holds")
            found[key] = torch.empty(count, dtype=dtype)
        if found[key].dtype != dtype or len(found[key]) != count:
            raise ValueError("values of another type or number")
        return found[key]

    for _ in range(3):
        read_pickle(stream)
    content = read_pickle(stream, storage)
    keys = read_pickle(stream)
    if sorted(keys) != sorted(found):
        raise ValueError("values that are missing")
    buffer = stream.getbuffer()
    for key in keys:
        place, values = stream.tell() + 8, found[key]
        count = int.from_bytes(stream.read(8), "little")
        data = buffer[place : place + values.nbytes]
        if count != len(values) or len(data) != values.nbytes:
            raise ValueError("values that are missing")
        if count:
            values.copy_(torch.frombuffer(bytearray(data), dtype=values.dtype))
        stream.seek(place + values.nbytes)
    return content


def _dtype(kind: type[Foreign]) -> torch.dtype:
    module, _, name = kind.kind.rpartition(".")
    if module.partition(".")[0] != "torch":
        raise ValueError("values of another kind")
    return TYPES[name]
