"""`liif test`, `liif upscale`, `liif data check` and training read the same files."""

import re

import numpy as np
import pytest
from helpers.configs import config_file
from helpers.encoders import bmp_bytes, png_bytes, tiff_bytes
from helpers.pictures import encoded, texture
from PIL import Image

from liif.data.cache import open_images

RGB = texture(24, 30)
DEEP = RGB.astype(np.uint16) * 257
RIGHT = {
    "packed.tif": tiff_bytes(DEEP >> 4, 12, 2, compression=5),
    "float.tif": tiff_bytes((RGB / 255).astype(np.float32), 32, 2, predictor=3),
    "no-kind.tif": tiff_bytes(DEEP, 16, 1, order=">"),
    "deep.png": png_bytes(DEEP, 16, 2),
    "maps.pam": b"P7\nWIDTH 30\nHEIGHT 24\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + RGB.tobytes(),
    "moving.gif": encoded(Image.fromarray(RGB), "GIF"),
    "small.bmp": bmp_bytes(RGB[..., 0].astype(np.uint32), 16),
    "named.jfif": encoded(Image.fromarray(RGB), "JPEG"),
}
WRONG = {
    "wide.tif": (tiff_bytes(RGB.astype(np.float32), 32, 2), "only 0 .black. to 1"),
    "four.tif": (tiff_bytes(np.dstack([RGB, RGB[..., :1]]), 8, 1), "4 channels"),
    "raw.tif": (tiff_bytes(DEEP[..., :1], 16, 32803), "camera raw"),
    "large.pgm": (b"P5 60000 60000 255\n" + bytes(99), "decompression bombs"),
}


@pytest.fixture
def commands(cli, folder, tiny_checkpoint):
    """Runs all commands on a folder; gives the status and the text of each."""

    def run(name):
        test = config_file("t.yaml", data_root=".", set="mine", hr=name, scale=2,
                           protocol="benchmark", checkpoint=str(tiny_checkpoint))  # fmt: skip
        exact = ("--precision", "float32")
        yield cli("test", "--config", test, *exact)
        upscale = ("upscale", name, "-o", f"of-{name}/", "--scale", "2")
        yield cli(*upscale, "--checkpoint", tiny_checkpoint, *exact)

    return run


def test_what_is_read(commands, folder, cli):
    (folder / "right").mkdir()
    for name, content in RIGHT.items():
        (folder / "right" / name).write_bytes(content)
    for status, _, err in commands("right"):
        assert status == 0, err
    status, out, _ = cli("data", "check", "t.yaml", "--deep")
    assert status == 0 and "present (8 images)" in out
    assert len(open_images(folder / "right", cache="memory")) == 8


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(commands, folder, name):
    content, reason = WRONG[name]
    (folder / "wrong").mkdir()
    (folder / "wrong" / name).write_bytes(content)
    for status, out, err in commands("wrong"):
        assert status == 1 and name in out + err
        assert re.search(reason, out + err), out + err
