"""Photographs of every kind: what is read, and what output files preserve."""

import io

import numpy as np
import pytest
import tifffile
from helpers.pictures import texture
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from liif.core.errors import UserError
from liif.images.formats import Layout, layout_for, write_photo
from liif.images.photo import Photo, photo_size, read_photo
from liif.images.png import PngWriter
from liif.images.rgb8 import read_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DEEP = np.random.default_rng(0).integers(0, 65536, (20, 37, 4)).astype(np.uint16)
CHANNELS = {"gray": [0], "gray+a": [0, 3], "rgb": [0, 1, 2], "rgb+a": [0, 1, 2, 3]}


def read(path):
    photos = list(read_photo(path))
    assert len(photos) == 1 and photo_size(path) == photos[0].size
    return photos[0]


def holds(photo, samples):
    """Whether a photo is exactly these samples (H, W, channels)."""
    found = photo.colour if photo.alpha is None else np.dstack([photo.colour, photo.alpha])
    return found.dtype == samples.dtype and np.array_equal(found, samples)


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_files_are_read_back_as_written(tmp_path, kind, suffix):
    samples = DEEP[..., CHANNELS[kind]]
    colour, alpha = (samples[..., :-1], samples[..., -1]) if "+a" in kind else (samples, None)
    path, photo = tmp_path / f"x{suffix}", Photo(colour, alpha)
    layout = layout_for(path, (20, 37), photo)
    assert layout[:2] == (samples.shape[2], 16)
    write_photo(path, (20, 37), layout, np.split(samples, [3, 4, 17]), photo)
    assert holds(read(path), samples)


@pytest.mark.parametrize(
    "how",
    [
        {}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}, {"byteorder": ">"},
        {"planarconfig": "separate"}, {"planarconfig": "separate", "compression": "zlib"},
        {"bigtiff": True, "compression": "zlib"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["rgb", "rgb+a"])
def test_16_bit_tiff_of_other_software(tmp_path, kind, how):
    samples = DEEP[..., CHANNELS[kind]]
    planes = samples.transpose(2, 0, 1) if "planarconfig" in how else samples
    extra = {"extrasamples": ["unassalpha"]} if "+a" in kind else {}
    tifffile.imwrite(tmp_path / "x.tif", planes, photometric="rgb", **how, **extra)
    assert holds(read(tmp_path / "x.tif"), samples)


def test_white_is_zero_and_premultiplied(tmp_path):
    gray = DEEP[..., 0]
    tifffile.imwrite(tmp_path / "x.tif", gray, photometric="miniswhite")
    assert holds(read(tmp_path / "x.tif"), 65535 - gray[..., None])
    pixels = np.array([[[1000, 2000, 0, 4000], [5, 6, 7, 65535], [0, 0, 0, 0]]], np.uint16)
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    tifffile.imwrite(tmp_path / "y.tif", pixels, **options)
    photo = read(tmp_path / "y.tif")
    assert photo.colour[0].tolist() == [[16384, 32768, 0], [5, 6, 7], [0, 0, 0]]
    assert photo.alpha.tolist() == [[4000, 65535, 0]]


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGBA")],
)
def test_8_bit_modes(tmp_path, mode, wanted):
    image = Image.fromarray(texture(9, 11)).convert(mode)
    if "A" in mode:
        image.putalpha(Image.fromarray(texture(9, 11)[..., 0]))
    image.save(tmp_path / "x.png")
    samples = np.asarray(image.convert(wanted)).reshape(9, 11, -1)
    assert holds(read(tmp_path / "x.png"), samples)


def test_transparency_of_palettes_and_key_colours(tmp_path):
    image = Image.fromarray(texture(9, 11)).quantize(8)
    image.save(tmp_path / "x.png", transparency=bytes([0, 99]))
    index = np.asarray(image)
    alpha = np.choose(np.minimum(index, 2), [0, 99, 255]).astype(np.uint8)
    assert np.array_equal(read(tmp_path / "x.png").alpha, alpha)
    deep = io.BytesIO()
    writer = PngWriter(deep, (1, 2), 3, 16)
    writer._chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))
    writer.write(np.array([[[1, 2, 3], [1, 2, 4]]], np.uint16))
    writer.finish()
    (tmp_path / "y.png").write_bytes(deep.getvalue())
    assert read(tmp_path / "y.png").alpha.tolist() == [[0, 65535]]


def test_cmyk_becomes_rgb_without_its_profile(tmp_path):
    image = Image.fromarray(texture(16, 16)).convert("CMYK")
    image.save(tmp_path / "x.jpg", quality=100)
    assert read(tmp_path / "x.jpg").colour.shape == (16, 16, 3)
    for icc in (b"no profile" * 20, SRGB):  # neither is one of CMYK
        image.save(tmp_path / "y.jpg", icc_profile=icc)
        assert read(tmp_path / "y.jpg").icc is None
    deep = (np.asarray(image).astype(np.uint16)) * 257
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="separated")
    assert read(tmp_path / "x.tif").colour.dtype == np.uint8


def test_profiles_are_kept_where_they_fit(tmp_path):
    image = Image.fromarray(texture(8, 8))
    image.save(tmp_path / "x.png", icc_profile=SRGB)
    assert read(tmp_path / "x.png").icc == SRGB
    image.convert("L").save(tmp_path / "y.png", icc_profile=SRGB)
    assert read(tmp_path / "y.png").icc is None


def exif(orientation):
    tags = Image.Exif()
    tags[271], tags[274], tags[306] = "Maker", orientation, "2020:02:02 02:02:02"
    tags[34665] = {36867: "2020:01:01 00:00:00", 40962: 5, 40963: 3, 37386: IFDRational(50)}
    return tags.tobytes()


# How a stored picture is to be looked at, by the EXIF standard.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation(tmp_path, orientation):
    """Of 8 bits, of 16 in PNG and of 16 in TIFF."""
    upright = UPRIGHT[orientation]
    for suffix in ("png", "tif", "webp"):
        path = tmp_path / f"x.{suffix}"
        image = Image.fromarray(texture(3, 5))
        image.save(path, exif=exif(orientation), **{"lossless": True} if suffix == "webp" else {})
        assert holds(read(path), upright(texture(3, 5)))
    deep = DEEP[:3, :5, :3]
    tifffile.imwrite(tmp_path / "y.tif", deep, extratags=[(274, "H", 1, orientation, True)])
    assert holds(read(tmp_path / "y.tif"), upright(deep))
    with (tmp_path / "y.png").open("wb") as file:
        writer = PngWriter(file, (3, 5), 3, 16, chunks=[(b"eXIf", exif(orientation)[6:])])
        writer.write(deep)
        writer.finish()
    assert holds(read(tmp_path / "y.png"), upright(deep))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_is_kept_with_the_new_size(tmp_path, suffix):
    Image.fromarray(texture(3, 5)).save(tmp_path / "in.jpg", exif=exif(6))
    photo = read(tmp_path / "in.jpg")
    path, pixels = tmp_path / f"out{suffix}", np.zeros((10, 6, 3), np.uint8)
    write_photo(path, (10, 6), Layout(3, 8), [pixels], photo)
    with Image.open(path) as image:
        found = image.getexif()
        inner = found.get_ifd(34665)
    assert found[271] == "Maker" and found.get(274, 1) == 1 and found[306].startswith("2020:02")
    assert inner[36867].startswith("2020:01") and (inner[40962], inner[40963]) == (6, 10)
    assert inner[37386] == 50
    assert read(path).size == (10, 6)  # not turned again


def test_exif_tags_of_storage_and_old_sizes_are_removed(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", texture(20, 30), metadata={"axes": "YXS"})
    found = Image.Exif()
    found.load(read(tmp_path / "x.tif").metadata.exif)
    assert not {270, 256, 273, 279} & set(found)


def test_large_tiff_files_are_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("liif.images.tiff.BIGTIFF_BYTES", 1000)
    image = texture(300, 270)
    Image.fromarray(image).save(tmp_path / "in.jpg", exif=exif(1), icc_profile=SRGB)
    photo = read(tmp_path / "in.jpg")
    strips = np.split(image, [100, 280])
    write_photo(tmp_path / "x.tif", (300, 270), Layout(3, 8), strips, photo)
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        page = file.pages.first
        assert file.is_bigtiff and page.is_tiled and page.tags[271].value == "Maker"
        assert page.tags[34665].value["DateTimeOriginal"] == "2020:01:01 00:00:00"
        assert np.array_equal(page.asarray(), image) and page.iccprofile == SRGB


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.full((2, 2), 7, np.float32), "floating-point pixels, from 7 to 7"),
        (np.full((2, 2), 70000, np.int32), "beyond the 16-bit range"),
    ],
)
def test_pixels_without_a_known_range_are_errors(tmp_path, samples, said):
    Image.fromarray(samples).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=rf"x\.tif: cannot read the image: .*{said}"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("cut", [0, 3, 4, 20, 200, 1000])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damaged_16_bit_files(tmp_path, suffix, cut):
    path = tmp_path / f"x{suffix}"
    write_photo(path, (20, 37), Layout(3, 16), [DEEP[..., :3]], Photo(DEEP[..., :3]))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="cannot read the image"):
        list(read_photo(path))


def test_bombs_of_16_bit(tmp_path, monkeypatch):
    for name in ("x.tif", "x.png"):
        write_photo(tmp_path / name, (20, 37), Layout(3, 16), [DEEP[..., :3]], Photo(DEEP[..., :3]))
        monkeypatch.setenv("LIIF_MAX_PIXELS", "739")
        with pytest.raises(UserError, match="37×20 px are more than 739"):
            list(read_photo(tmp_path / name))
        monkeypatch.delenv("LIIF_MAX_PIXELS")


def frames(count=3):
    return [Image.fromarray(np.roll(texture(12, 16), 4 * i, axis=1)) for i in range(count)]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_frames_of_animations(tmp_path, suffix, monkeypatch):
    first, *others = frames()
    options = {"lossless": True} if suffix == ".webp" else {}
    path = tmp_path / f"x{suffix}"
    first.save(
        path, save_all=True, append_images=others, duration=[100, 200, 300], loop=2, **options
    )
    photos = list(read_photo(path))
    assert [photo.duration for photo in photos] == [100, 200, 300]
    assert all(photo.frames == 3 and photo.loop == 2 for photo in photos)
    if suffix != ".gif":
        assert all(holds(p, np.asarray(f)) for p, f in zip(photos, frames(), strict=True))
    monkeypatch.setenv("LIIF_MAX_PIXELS", "192")  # a frame counts
    assert len(list(read_photo(path))) == 3


def test_pages_are_read_one_by_one(tmp_path, caplog):
    pages = np.stack([texture(5, 6, seed) for seed in range(2)])
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric="rgb")
    photos = list(read_photo(tmp_path / "x.tif"))
    assert all(holds(photo, page) for photo, page in zip(photos, pages, strict=True))
    assert all(photo.frames == 2 and photo.is_page for photo in photos)
    assert np.array_equal(read_image(tmp_path / "x.tif"), pages[0])
    assert "2 pages; only the first is read" in caplog.text


def test_images_that_are_passed_over_are_said(tmp_path, caplog):
    one = b"P6 2 1 255\n" + bytes(6)
    (tmp_path / "two.ppm").write_bytes(one + one)
    assert len(list(read_photo(tmp_path / "two.ppm"))) == 1
    assert "several images; only the first is read" in caplog.text
    frames = [Image.new("RGB", (4, 3), (i * 50, 0, 0)) for i in range(4)]
    file = tmp_path / "still.png"
    frames[0].save(file, save_all=True, append_images=frames[1:], default_image=True)
    assert len(list(read_photo(file))) == 3
    assert "its still image" in caplog.text
    caplog.clear()
    (tmp_path / "one.ppm").write_bytes(one + b"\n")
    assert len(list(read_photo(tmp_path / "one.ppm"))) == 1 and not caplog.text
