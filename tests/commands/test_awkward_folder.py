"""A hundred awkward files in a folder, in one run: each is enlarged or named with its reason."""

import os
import re
import struct
import zlib

import numpy as np
from helpers.encoders import Tiff, bmp_bytes, png_bytes, tiff_bytes
from helpers.pictures import encoded, texture
from PIL import Image

from liif.images.suffixes import TARGETS

H, W = 6, 9
RGB = texture(H, W)
GRAY = RGB[..., :1]
DEEP = RGB.astype(np.uint16) * 257
PICTURE = Image.fromarray(RGB)
ALPHA = Image.fromarray(np.dstack([RGB, GRAY]))
RIGHT = (H, W)


def raw_file():
    file = Tiff()
    file.page(RGB[:3], 8, 2, t254=1, below=lambda: file.sub_page(DEEP[..., :1], 16, 32803, t254=0))
    return bytes(file.data)


def main_image_below():
    file = Tiff()
    file.page(RGB[:3], 8, 2, t254=1, below=lambda: file.sub_page(DEEP, 16, 2, t254=0))
    return bytes(file.data)


def bomb():
    data = bytearray(png_bytes(RGB, 8, 2))
    struct.pack_into(">II", data, 16, 60_000, 60_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def animation(form, **options):
    others = [Image.fromarray(np.roll(RGB, i, 1)) for i in (1, 2)]
    return encoded(PICTURE, form, save_all=True, append_images=others, **options)


def right_files():
    """Names and contents of files that are enlarged."""
    jpeg = encoded(PICTURE, "JPEG")
    yield from ((f"named {e}.{e}", jpeg) for e in ("jpg", "JPEG", "jpe", "jfif", "png", "tif"))
    names = ["a b", "quo'te\"", "new\nline", "[1]", "{x}", "100%", "ümläut", "-dash", "~", "$HOME"]
    for name in (*names, "emoji😀", "a.b.c", " lead", "tab\t", "n" * 244):
        yield f"{name}.png", png_bytes(RGB, 8, 2)
    for bits in (1, 2, 4, 8, 16):
        numbers = (GRAY.astype(np.uint32) % 2**bits).astype(np.uint16)
        yield f"gray{bits}.png", png_bytes(numbers, bits, 0, interlaced=bits == 4)
        yield f"key{bits}.png", png_bytes(numbers, bits, 0, (b"tRNS", b"\0\1"))
    for bits in (1, 4, 8, 10, 12, 14, 16):
        yield f"gray{bits}.tif", tiff_bytes(GRAY % 2, bits, order=">", compression=5)
    yield "rgb12.tif", tiff_bytes(DEEP >> 4, 12, 2, compression=8)
    yield "planar16.tiff", tiff_bytes(DEEP, 16, 2, planar=True, predictor=2, compression=5)
    yield "no-kind.tif", tiff_bytes(DEEP, 16, 1)
    yield "rgba.tif", tiff_bytes(np.dstack([DEEP, DEEP[..., :1]]), 16, 2, extra=(2,))
    for size in (2, 4, 8):
        floats = (RGB / 255).astype(f"f{size}")
        yield f"float{size}.tif", tiff_bytes(floats, 8 * size, 2, predictor=3, order=">")
    yield "big.tif", tiff_bytes(RGB, 8, 2, big=True, tile=(16, 16))
    yield "palette.tif", tiff_bytes(GRAY % 2, 8, 3, t320=[257 * (i % 256) for i in range(768)])
    yield "main below.tif", main_image_below()
    yield "fax.tif", encoded(PICTURE.convert("1"), "TIFF", compression="group4")
    yield "jpeg-inside.tif", encoded(PICTURE, "TIFF", compression="jpeg")
    yield "ink.tif", encoded(PICTURE.convert("CMYK"), "TIFF")
    yield "ink.jpg", encoded(PICTURE.convert("CMYK"), "JPEG")
    yield "gray.jpg", encoded(PICTURE.convert("L"), "JPEG")
    yield "plain.ppm", f"P3\n# remark\n{W} {H} 255\n".encode() + b" 7" * 3 * W * H
    yield "plain.pbm", f"P1 {W} {H}\n".encode() + b"10" * (W * H // 2)
    yield "deep.pgm", f"P5 {W} {H} 4095\n".encode() + bytes(2 * W * H)
    yield (
        "pam.pam",
        f"P7\nWIDTH {W}\nHEIGHT {H}\nDEPTH 2\nMAXVAL 255\nENDHDR\n".encode() + bytes(2 * W * H),
    )
    yield "pfm.pfm", f"PF\n{W} {H}\n-1.0\n".encode() + (RGB / 255).astype("<f4").tobytes()
    yield "x16.bmp", bmp_bytes(GRAY[..., 0].astype(np.uint32), 16)
    yield "x4.bmp", bmp_bytes(GRAY[..., 0] % 16, 4, palette=[(i, i, 99) for i in range(16)])
    yield "tga.tga", encoded(ALPHA, "TGA")
    yield "jp2.jp2", encoded(PICTURE, "JPEG2000")
    yield "ico.ico", encoded(ALPHA, "ICO", sizes=[(W, H)])
    yield "alpha.webp", encoded(ALPHA, "WEBP", lossless=True)
    yield "moving.gif", animation("GIF")
    yield "moving.webp", animation("WEBP", lossless=True)
    yield "moving.apng", animation("PNG")
    yield "pages.tif", animation("TIFF")
    yield "two.jpg", encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE])
    yield "exif.jpg", encoded(PICTURE, "JPEG", exif=b"Exif\0\0" + b"\xff" * 99)
    yield "profile.jpg", encoded(PICTURE, "JPEG", icc_profile=b"no profile" * 30)


def wrong_files():
    """Names, contents and the reason why they are not enlarged."""
    for end in (".png", ".jpg", ".tif", ".gif", ".webp", ".bmp", ".ppm", ".tga", ".jp2"):
        yield f"empty{end}", b"", "the file is empty"
        yield f"text{end}", b"This is not a picture. " * 9, "not an image|damaged"
    for form, end in (
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("TIFF", "tif"),
        ("GIF", "gif"),
        ("WEBP", "webp"),
    ):
        data = encoded(Image.fromarray(texture(64, 64)), form)
        yield f"cut.{end}", data[: len(data) // 2], ""
    yield "bomb.png", bomb(), r"60000×60000 px are more than .* decompression bombs"
    yield "raw.tif", raw_file(), r"camera raw file \(TIF\).*develop"
    yield "four.tif", tiff_bytes(np.dstack([RGB, GRAY]), 8, 1), "4 channels, neither gray nor RGB"
    yield (
        "wide.tif",
        tiff_bytes(np.full((H, W, 1), 1e9, np.float32), 32),
        "from 1e.09 to 1e.09: only 0",
    )
    yield "short.pgm", f"P5 {W} {H} 255\n".encode() + bytes(9), "truncated: 9 of 54 numbers"
    yield "luv.tif", tiff_bytes(DEEP, 16, 32845), "pixels of kind LOGLUV"


PASSED_OVER = ["notes.txt", "sensor.nef", "list.csv", "no-suffix", "drawing.svg", "layers.psd"]


def test_a_hundred_awkward_files_in_one_run(cli, tiny_checkpoint, folder):
    os.mkdir("in")
    right, wrong = dict(right_files()), {name: rest for name, *rest in wrong_files()}
    for name, data in [*right.items(), *((name, data) for name, (data, _) in wrong.items())]:
        (folder / "in" / name).write_bytes(data)
    for name in PASSED_OVER:
        (folder / "in" / name).write_bytes(b"some text")
    os.mkfifo("in/pipe.png")
    os.symlink("nothing", "in/link.png")
    os.mkdir("in/folder.png")
    reasons = {name: reason for name, (_, reason) in wrong.items()}
    reasons |= {"pipe.png": "a pipe or a device", "link.png": "No such file"}
    assert len(right) + len(reasons) + len(PASSED_OVER) >= 100
    options = ("--checkpoint", tiny_checkpoint, "--precision", "float32", "--scale", "2")
    status, out, err = cli("upscale", "in", "-o", "out/", *options)
    said = out + err
    assert status == 1
    assert "in: 6 files passed over: 1 .csv, 1 .nef, 1 .psd, 1 .svg, 1 .txt, 1 no suffix" in said
    for name, reason in reasons.items():
        assert re.search(
            rf"^  .*{re.escape(name)}: cannot read the image: .*({reason})", said, re.M
        ), name
        assert not os.path.exists(f"out/{name}")
    assert f"{len(reasons)} of {len(right) + len(reasons)} pictures failed" in said
    for name in right:
        stem, end = os.path.splitext(name)
        end = end if end.lower() in TARGETS else ".png"
        with Image.open(f"out/{stem}{end}") as image:
            assert image.size == (2 * W, 2 * H), name
