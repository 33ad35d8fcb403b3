"""PNG, BMP and Netpbm files of every layout are read exactly, at all doors."""

import struct

import numpy as np
import pytest
from helpers.doors import assert_read_everywhere, assert_refused_everywhere
from helpers.encoders import bmp_bytes, packed, png_bytes

from liif.images.photo import read_photo

H, W = 5, 11
GRAY, RGB, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}
LAYOUTS = [(GRAY, bits) for bits in (1, 2, 4, 8, 16)]
LAYOUTS += [(PALETTE, bits) for bits in (1, 2, 4, 8)]
LAYOUTS += [(kind, bits) for kind in (RGB, GRAY_ALPHA, RGB_ALPHA) for bits in (8, 16)]


def numbers_of(bits, samples, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 2**bits, (H, W, samples), np.uint64).astype(f"u{-(-bits // 8)}")


def stretched(numbers, bits):
    """Numbers of few bits to 8 or 16, so that white is white."""
    goal = 8 if bits <= 8 else 16
    values = np.round(numbers * ((2**goal - 1) / (2**bits - 1)))
    return values.astype(f"u{goal // 8}")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize(("kind", "bits"), LAYOUTS)
def test_png(tmp_path, kind, bits, has_key, interlaced):
    numbers = numbers_of(bits, SAMPLES[kind])
    chunks, alpha = [], None
    if kind == PALETTE:
        entries = np.random.default_rng(1).integers(0, 256, (2**bits, 3), np.uint8)
        chunks.append((b"PLTE", entries.tobytes()))
        colour = entries[numbers[..., 0]]
        if has_key:
            opacity = np.random.default_rng(2).integers(0, 256, 2 ** (bits - 1), np.uint8)
            chunks.append((b"tRNS", opacity.tobytes()))
            full = np.concatenate([opacity, np.full(2**bits - len(opacity), 255, np.uint8)])
            alpha = full[numbers[..., 0]]
    else:
        colours = 1 if kind in (GRAY, GRAY_ALPHA) else 3
        colour = stretched(numbers[..., :colours], bits)
        if kind in (GRAY_ALPHA, RGB_ALPHA):
            alpha = stretched(numbers[..., colours], bits)
        elif has_key:  # the colour of a pixel, and one that differs from it in the last bit
            numbers[1, 2] = numbers[3, 4] ^ 1
            colour = stretched(numbers, bits)
            key = numbers[3, 4]
            chunks.append((b"tRNS", struct.pack(f">{len(key)}H", *key)))
            largest = np.iinfo(colour.dtype).max
            alpha = np.where((numbers == key).all(axis=2), 0, largest).astype(colour.dtype)
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(numbers, bits, kind, *chunks, interlaced=interlaced))
    assert_read_everywhere(path, colour, alpha)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_with_a_palette(tmp_path, bits, top_down):
    index = numbers_of(bits, 1)[..., 0]
    palette = np.random.default_rng(1).integers(0, 256, (2**bits, 3), np.uint8)
    path = tmp_path / "x.bmp"
    path.write_bytes(bmp_bytes(index, bits, palette=palette.tolist(), top_down=top_down))
    assert_read_everywhere(path, palette[index])


MASKS = {
    "555": (16, (0x7C00, 0x3E0, 0x1F)), "565": (16, (0xF800, 0x7E0, 0x1F)), "plain 555": (16, None),
    "24": (24, None), "32": (32, None), "xRGB": (32, (0xFF0000, 0xFF00, 0xFF)),
    "ARGB": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
}  # fmt: skip


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_bmp_of_colours(tmp_path, kind, top_down):
    bits, masks = MASKS[kind]
    words = np.random.default_rng(0).integers(0, 2**bits, (H, W), np.uint64)
    used = masks or ((0x7C00, 0x3E0, 0x1F) if bits == 16 else (0xFF0000, 0xFF00, 0xFF))
    parts = [(words & mask) // (mask & -mask) for mask in used]
    planes = np.stack([p * 255 // (m // (m & -m)) for p, m in zip(parts, used, strict=True)], 2)
    path = tmp_path / "x.bmp"
    path.write_bytes(bmp_bytes(words, bits, masks=masks, top_down=top_down))
    planes = planes.astype(np.uint8)
    assert_read_everywhere(path, planes[..., :3], planes[..., 3] if len(used) > 3 else None)


@pytest.mark.parametrize("largest", [1, 7, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", "1234567")
def test_netpbm(tmp_path, kind, largest):
    largest = 1 if kind in "14" else largest
    samples = {"3": 3, "6": 3, "7": 4}.get(kind, 1)
    numbers = np.random.default_rng(0).integers(0, largest + 1, (H, W, samples))
    flat = numbers.reshape(H, -1)
    if kind in "123":
        text = "\n".join(" ".join(map(str, (1 - row if kind == "1" else row))) for row in flat)
        data = text.encode()
    else:
        data = b"".join(
            packed(
                1 - flat if kind == "4" else flat, 1 if kind == "4" else 8 if largest < 256 else 16
            )
        )
    head = f"P{kind}\n# a remark of 7 words\n{W} {H}\n" + ("" if kind in "14" else f"{largest}\n")
    if kind == "7":
        head = f"P7\nWIDTH {W}\nHEIGHT {H}\n# remark\nDEPTH 4\nMAXVAL {largest}\n"
        head += "TUPLTYPE RGB_ALPHA\nENDHDR\n"
    path = tmp_path / "x.pnm"
    path.write_bytes(head.encode() + data)
    white = 255 if largest < 256 else 65535
    wanted = np.floor(numbers * white / largest + 0.5).astype("u1" if white == 255 else "u2")
    assert_read_everywhere(path, wanted[..., :3], wanted[..., 3] if samples == 4 else None)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("letter", "samples"), [("f", 1), ("F", 3)])
def test_pfm(tmp_path, letter, samples, order):
    """Floats, from bottom to top, low byte first if the scale is negative."""
    numbers = np.random.default_rng(0).random((H, W, samples), np.float32)
    data = numbers[::-1].astype(f"{order}f4").tobytes()
    head = f"P{letter}\n{W} {H}\n{'-' if order == '<' else ''}1.0\n".encode()
    (tmp_path / "x.pfm").write_bytes(head + data)
    wanted = (numbers.astype(float) * 65535).round().astype(np.uint16)
    assert np.array_equal(next(read_photo(tmp_path / "x.pfm")).colour, wanted)
    data = (numbers * 300)[::-1].astype(f"{order}f4").tobytes()
    (tmp_path / "x.pfm").write_bytes(head + data)
    assert_refused_everywhere(tmp_path / "x.pfm", "floating-point pixels, from .*only 0")
