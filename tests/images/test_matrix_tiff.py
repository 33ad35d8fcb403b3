"""TIFF files of every layout are read exactly, at all doors, or refused with the true reason."""

import numpy as np
import pytest
import tifffile
from helpers.doors import assert_read_everywhere, assert_refused_everywhere
from helpers.encoders import Tiff, tiff_bytes

from liif.images.photo import read_photo
from liif.images.rgb8 import read_image

H, W = 7, 21
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, CIELAB = 0, 1, 2, 3, 5, 8
ALPHA, PREMULTIPLIED = 2, 1


def numbers_of(bits, samples=1, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 2**bits, (H, W, samples), np.uint64).astype(f"u{1 + (bits > 8)}")


def stretched(numbers, bits):
    goal = 8 if bits <= 8 else 16
    values = np.floor(numbers * ((2**goal - 1) / (2**bits - 1)) + 0.5)
    return values.astype(f"u{goal // 8}")


def write(path, *arguments, **options):
    path.write_bytes(tiff_bytes(*arguments, **options))
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    ("kind", "samples", "extra"),
    [(WHITE_IS_0, 1, ()), (BLACK_IS_0, 1, ()), (BLACK_IS_0, 2, (ALPHA,)), (RGB, 3, ()),
     (RGB, 4, (ALPHA,))],
)  # fmt: skip
def test_bits_and_kinds(tmp_path, kind, samples, extra, bits, order):
    numbers = numbers_of(bits, samples)
    path = write(tmp_path / "x.tif", numbers, bits, kind, order=order, extra=extra)
    wanted = stretched(numbers, bits)
    colour, alpha = (wanted[..., :-1], wanted[..., -1]) if extra else (wanted, None)
    if kind == WHITE_IS_0:
        colour = np.iinfo(colour.dtype).max - colour
    assert_read_everywhere(path, colour, alpha)


LAYOUTS = [{"tile": (16, 16)}, {"rows": 3}, {"planar": True}, {"planar": True, "rows": 2},
           {"planar": True, "tile": (16, 32)}, {"big": True}]  # fmt: skip


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("bits", "order", "predictor"), [
    (8, "<", 1), (16, "<", 2), (12, ">", 1), (8, ">", 2)
])  # fmt: skip
def test_compressions_and_layouts(tmp_path, compression, layout, bits, order, predictor):
    numbers = numbers_of(bits, 3)
    options = {"order": order, "compression": compression, "predictor": predictor}
    path = write(tmp_path / "x.tif", numbers, bits, RGB, **options, **layout)
    photo = next(read_photo(path))
    assert np.array_equal(photo.colour, stretched(numbers, bits)) and photo.alpha is None
    assert np.array_equal(read_image(path), photo.colour >> (8 * photo.colour.itemsize - 8))


@pytest.mark.parametrize("compression", [1, 5, 8, 32946, 34925])
@pytest.mark.parametrize("bits", [1, 12, 16])
def test_bits_from_right_to_left(tmp_path, bits, compression):
    numbers = numbers_of(bits)
    path = write(tmp_path / "x.tif", numbers, bits, fill=2, compression=compression)
    assert_read_everywhere(path, stretched(numbers, bits))


def test_lzw_of_a_long_strip(tmp_path):
    """The table of codes fills and is cleared."""
    y, x = np.mgrid[:90, :90]
    numbers = ((x * y) % 4001).astype(np.uint16)[..., None]
    path = write(tmp_path / "x.tif", numbers, 16, compression=5)
    assert np.array_equal(next(read_photo(path)).colour, numbers)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_palette(tmp_path, bits, has_alpha):
    numbers = numbers_of(bits, 2 if has_alpha else 1)
    entries = np.random.default_rng(1).integers(0, 256, (3, 2**bits))
    path = tmp_path / "x.tif"
    extra = (ALPHA,) if has_alpha else ()
    write(path, numbers, bits, PALETTE, extra=extra, t320=(entries * 257).ravel().tolist())
    alpha = stretched(numbers[..., 1], bits) if has_alpha else None
    assert_read_everywhere(path, entries.T[numbers[..., 0]].astype(np.uint8), alpha)


@pytest.mark.parametrize("bits", [8, 16])
def test_premultiplied(tmp_path, bits):
    largest = 2**bits - 1
    alpha = numbers_of(bits, 1, 1)
    numbers = np.concatenate([numbers_of(bits, 3) % (alpha.astype(int) + 1), alpha], axis=2)
    path = write(tmp_path / "x.tif", numbers.astype(alpha.dtype), bits, RGB, extra=(PREMULTIPLIED,))
    straight = numbers[..., :3] / np.maximum(alpha, 1) * largest
    assert_read_everywhere(path, straight.round().astype(alpha.dtype), alpha[..., 0])


@pytest.mark.parametrize(("order", "compression"), [("<", 1), (">", 5)])
@pytest.mark.parametrize("predictor", [1, 3])
@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize(("kind", "samples"), [(BLACK_IS_0, 1), (RGB, 3)])
def test_floats_from_0_to_1(tmp_path, kind, samples, bits, predictor, order, compression):
    numbers = np.random.default_rng(0).random((H, W, samples)).astype(f"f{bits // 8}")
    numbers[0, 0], numbers[0, 1] = 0, 1
    path = write(
        tmp_path / "x.tif", numbers, bits, kind,
        predictor=predictor, order=order, compression=compression,
    )  # fmt: skip
    wanted = (numbers.astype(np.float64) * 65535).round().astype(np.uint16)
    photo = next(read_photo(path))
    assert photo.colour.dtype == np.uint16 and np.array_equal(photo.colour, wanted)
    assert np.array_equal(read_image(path), np.broadcast_to(wanted >> 8, (H, W, 3)))


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize(
    ("value", "said"), [(1.5, "from 0 to 1.5"), (-1, "from -1 to 0"), (np.nan, "not finite")]
)
def test_floats_beyond(tmp_path, bits, value, said):
    numbers = np.zeros((H, W, 3), f"f{bits // 8}")
    numbers[3, 4] = value
    path = write(tmp_path / "x.tif", numbers, bits, RGB)
    assert_refused_everywhere(path, f"floating-point pixels, .*{said}.*only 0 .black. to 1 .white.")


def test_three_channels_of_no_kind_are_rgb(tmp_path, caplog):
    """As of NumPy arrays that were saved without saying what they are."""
    for bits in (8, 16):
        numbers = numbers_of(bits, 3)
        path = write(tmp_path / "x.tif", numbers, bits, BLACK_IS_0, extra=(0, 0))
        assert_read_everywhere(path, numbers)


def test_further_channels_are_told(tmp_path, caplog):
    numbers = numbers_of(16, 4)
    path = write(tmp_path / "x.tif", numbers, 16, RGB, extra=(0,))
    assert_read_everywhere(path, numbers[..., :3])
    assert "not read besides the colours: 1 channel" in caplog.text


def test_cmyk(tmp_path):
    """Without a profile, light is what the inks leave."""
    numbers = numbers_of(8, 4)
    ink = numbers.astype(float) / 255
    light = (1 - ink[..., :3]) * (1 - ink[..., 3:]) * 255
    for bits, stored in ((8, numbers), (16, numbers.astype(np.uint16) * 257)):
        path = write(tmp_path / "x.tif", stored, bits, CMYK)
        photo = next(read_photo(path))
        assert photo.colour.dtype == np.uint8 and abs(photo.colour - light).max() <= 1
        assert np.array_equal(read_image(path), photo.colour)


def test_cielab(tmp_path):
    """Grays by their lightness (CIE 1976), and red, of 8 and 16 bits."""
    numbers = np.zeros((1, 4, 3), np.uint8)
    numbers[0, :, 0] = 0, 128, 255, 136
    numbers[0, 3, 1:] = 81, 70  # sRGB's red, of which D50's L*a*b* is 54.3 80.8 69.9
    y = ((128 / 255 * 100 + 16) / 116) ** 3
    gray = round(255 * (1.055 * y ** (1 / 2.4) - 0.055))
    for bits in (8, 16):
        stored = numbers.astype(np.uint16) * 256 if bits == 16 else numbers
        colour = next(read_photo(write(tmp_path / "x.tif", stored, bits, CIELAB))).colour[0]
        assert abs(colour[:3].astype(int) - np.array([[0], [gray], [255]])).max() <= 3
        assert colour[3, 0] > 240 and colour[3, 1:].max() < 40


REFUSED = {
    "two": (numbers_of(8, 2), 8, BLACK_IS_0, {"extra": (0,)}, "2 channels, neither gray nor RGB"),
    "four": (numbers_of(16, 4), 16, BLACK_IS_0, {}, "4 channels, neither gray nor RGB"),
    "six": (numbers_of(16, 6), 16, CMYK, {"t332": 2}, "6 channels, which are not the 4"),
    "log": (numbers_of(16, 3), 16, 32845, {}, "pixels of kind LOGLUV"),
    "cfa": (numbers_of(16), 16, 32803, {}, "camera raw.*colour filter array.*develop it"),
    "linear": (numbers_of(16, 3), 16, 34892, {}, "camera raw.*linear sensor data"),
    "negative": (np.full((H, W, 1), -3, np.int16), 16, BLACK_IS_0, {}, "some below 0"),
    "jpeg": (numbers_of(8), 8, BLACK_IS_0, {"t259": 34712}, "TIFF with .*2000 .* a package"),
    "predictor": (numbers_of(8), 8, BLACK_IS_0, {"t317": 9}, "unknown predictor, 9"),
    "volume": (numbers_of(8), 8, BLACK_IS_0, {"t32997": 3}, "a volume of 3 planes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_the_true_reason(tmp_path, kind):
    numbers, bits, photometric, options, reason = REFUSED[kind]
    path = write(tmp_path / "x.tif", numbers, bits, photometric, **options)
    if kind in ("two", "four"):  # which are for models of as many channels
        reason = f"{reason}|{kind.replace('two', '2').replace('four', '4')} channels, but 3 needed"
    assert_refused_everywhere(path, reason)


# Files of more than one image


def preview(file, **options):
    return file.page(np.full((3, 4, 3), 200, np.uint8), 8, RGB, t254=1, **options)


def test_the_main_image_below_its_preview(tmp_path, caplog):
    """As of DNG files that hold a plain picture."""
    numbers = numbers_of(16, 3)
    file = Tiff()
    preview(file, below=lambda: file.sub_page(numbers, 16, RGB, t254=0), t274=6)
    (tmp_path / "x.dng").write_bytes(file.data)
    assert_read_everywhere(tmp_path / "x.dng", np.rot90(numbers, -1))
    assert "not read besides the image: 1 preview" in caplog.text


def test_a_raw_file_is_not_its_preview(tmp_path):
    file = Tiff()
    preview(file, below=lambda: file.sub_page(numbers_of(16), 16, 32803, t254=0))
    (tmp_path / "x.nef").write_bytes(file.data)
    assert_refused_everywhere(tmp_path / "x.nef", r"camera raw file \(NEF\).*only previews")


def test_previews_and_masks_are_no_pages(tmp_path, caplog):
    numbers = numbers_of(8, 3)
    file = Tiff(">")
    preview(file)
    file.page(numbers, 8, RGB)
    file.page(numbers_of(1), 1, 4, t254=4)
    (tmp_path / "x.tif").write_bytes(file.data)
    photos = list(read_photo(tmp_path / "x.tif"))
    assert len(photos) == 1 and np.array_equal(photos[0].colour, numbers)
    assert "not read besides the image: 1 preview and 1 mask" in caplog.text


def test_planes_without_directories_are_told(tmp_path, caplog):
    stack = np.random.default_rng(0).integers(0, 256, (3, 5, 6), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", truncate=True)
    assert np.array_equal(read_image(tmp_path / "x.tif")[..., 0], stack[0])
    assert "not read besides the image: 2 planes" in caplog.text


def test_pages_of_several_kinds_and_sizes(tmp_path):
    pages = [numbers_of(1), numbers_of(8, 3)[:3], numbers_of(16)[:, :5]]
    file = Tiff()
    for page, bits, kind in zip(pages, (1, 8, 16), (WHITE_IS_0, RGB, BLACK_IS_0), strict=True):
        file.page(page, bits, kind, compression=5)
    (tmp_path / "x.tif").write_bytes(file.data)
    photos = list(read_photo(tmp_path / "x.tif"))
    wanted = [255 - pages[0] * 255, pages[1], pages[2]]
    assert all(np.array_equal(p.colour, w) for p, w in zip(photos, wanted, strict=True))
    assert all(p.is_page and p.frames == 3 for p in photos)
