"""What a file is that was taken for a checkpoint: a web page, a pointer, an image, a program."""

import zipfile
from pathlib import Path

AGAIN = "download it again"
UNPACK = "unpack it and give the checkpoint in it"
BEGINNINGS: dict[bytes, str] = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself; run: git lfs pull",
    b"<!doctype html": f"is a web page (HTML), not a checkpoint; {AGAIN}, by a browser if need be",
    b"<html": f"is a web page (HTML), not a checkpoint; {AGAIN}, by a browser if need be",
    b"<?xml": f"is the answer of a server (XML), not a checkpoint; {AGAIN}",
    b'{"': "is JSON text, not a checkpoint",
    b"\x89png": "is a PNG image, not a checkpoint",
    b"\xff\xd8\xff": "is a JPEG image, not a checkpoint",
    b"\x89hdf": "is an HDF5 file, e.g. of Keras, not a checkpoint of PyTorch",
    b"\x93numpy": "is a NumPy array, not a checkpoint",
    b"gguf": "is a GGUF file of language models, not a checkpoint",
    b"\x1f\x8b": f"is compressed by gzip; {UNPACK}",
    b"bzh": f"is compressed by bzip2; {UNPACK}",
    b"\xfd7zxz": f"is compressed by xz; {UNPACK}",
    b"7z\xbc\xaf": f"is a 7z archive; {UNPACK}",
    b"rar!": f"is a RAR archive; {UNPACK}",
    b"\x28\xb5\x2f\xfd": f"is compressed by zstd; {UNPACK}",
    b"sys_info\0": "is in the tar format of PyTorch before version 0.1.10; load it in PyTorch and "
    "save its weights again: torch.save(model.state_dict(), FILE)",
}
"""First bytes of files, in small letters, and what they are."""
_LARGEST_HEADER = 100 * 2**20
"""Bytes in the header of a safetensors file, as the library allows."""


def other_kind(path: Path) -> str | None:
    """Return what a file is and what to do, as the end of a sentence, if it is something else than
    a checkpoint. Raises OSError if it cannot be read."""
    head = _head(path)
    if not head:
        return f"damaged or truncated: it is empty; {AGAIN}"
    start = head.lower().removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, kind in BEGINNINGS.items():
        if start.startswith(beginning):
            return kind
    if head[257:262] == b"ustar":
        return f"is a tar archive; {UNPACK}"
    if head[:1] == b"\x08" and b"pytorch" in head[:40]:
        return "is an ONNX graph, not a checkpoint; examples/onnx_upscale.py runs those of liif"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_archive(path)
    return None


def is_safetensors(path: Path) -> bool:
    """Whether a file of any name is in the format safetensors: the length of a header of JSON."""
    head = _head(path)
    is_short = int.from_bytes(head[:8], "little") <= _LARGEST_HEADER
    return is_short and head[8:10] == b'{"'


def _kind_of_archive(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
        return f"damaged or truncated: its end is missing ({size} bytes are there); {AGAIN}"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return f"damaged: its list of contents cannot be read; {AGAIN}"
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            "is a TorchScript program, which is code and no checkpoint; save the model's weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
        )
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return "is a program of torch.export, no checkpoint; give the checkpoint it was made from"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "is an archive of NumPy arrays, not a checkpoint"
    return f"is a zip archive without a checkpoint of PyTorch; {UNPACK}, if there is one"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)
