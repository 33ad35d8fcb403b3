"""`liif compare`: sizes, the reference, and inputs that are kept."""

import os
from pathlib import Path

import pytest
from helpers.pictures import texture
from PIL import Image

from liif.images.rgb8 import read_image, write_image


@pytest.fixture
def pictures(folder):
    write_image(Path("lr.png"), texture(20, 30))
    write_image(Path("hr.png"), texture(60, 90))
    return folder


@pytest.fixture
def compare(cli, tiny_checkpoint, pictures):
    return lambda *options: cli("compare", *options, "--checkpoint", tiny_checkpoint)


def test_a_reference_sets_the_size_and_is_scored(compare):
    status, _, err = compare("lr.png", "--reference", "hr.png", "--box", "3,4,10,8")
    assert status == 0 and "lr-compared.png: lr.png, ×3: PSNR of the whole" in err
    assert sorted(os.listdir()) == ["hr.png", "lr-compared.png", "lr.png"]
    assert read_image(Path("lr-compared.png")).std() > 10


def test_the_default_scale_is_four_and_the_output_is_chosen(compare):
    status, _, err = compare("lr.png", "-o", "new/sheet.jpg")
    assert status == 0 and "new/sheet.jpg: lr.png, ×4" in err
    with Image.open("new/sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["lr.png", "-o", "lr.png", "--overwrite"], "lr.png: is an input"),
        (["lr.png", "-o", "x/../lr.png", "--overwrite"], "is an input"),
        (["lr.png", "-o", "hr.png", "--reference", "hr.png", "--overwrite"], "hr.png: is an input"),
        (["lr.png", "-o", "LR.png", "--overwrite"], "of the input lr.png"),
        (["lr.png", "-o", "hr.png"], "hr.png: exists already; --overwrite replaces it"),
        (["lr.png", "-o", "sheet.xcf"], "sheet.xcf: cannot write this format"),
        (["lr.png", "--reference", "hr.png", "-s", "2"], "--reference has 90×60 px, but"),
        (["no.png"], "no.png: cannot read the image"),
        (["lr.png", "-s", "2", "--width", "9"], "give one of --scale, --size, --width"),
    ],
)
def test_what_cannot_be(refused, tiny_checkpoint, pictures, options, said):
    before = {name: Path(name).read_bytes() for name in os.listdir() if Path(name).is_file()}
    assert said in refused("compare", *options, "--checkpoint", tiny_checkpoint)
    after = {name: Path(name).read_bytes() for name in os.listdir() if Path(name).is_file()}
    assert after == before
