"""Evaluation pairs: matching names, sizes, and error messages."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import texture
from PIL import Image

from liif.core.errors import UserError
from liif.data.pairs import (
    check_pairs,
    match_pairs,
    open_pairs,
    pair_key,
    pair_scale,
    reduced_size,
)
from liif.data.paths import data_path
from liif.images.rgb8 import write_image


def pictures(folder, **sizes):
    """NAME=(height, width) …; each picture has its own texture."""
    for seed, (name, (height, width)) in enumerate(sizes.items()):
        write_image(folder / f"{name}.png", texture(height, width, seed))
    return folder


def match(lr, hr, **options):
    found = match_pairs([f"{n}.png" for n in lr], [f"{n}.png" for n in hr], Path("L"), Path("H"),
                        **options)  # fmt: skip
    return [(lr[i], hr[j]) for i, j in found]


def refused(call, *parts):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert all(part in message for part in parts), message
    return message


# Names


@pytest.mark.parametrize(
    ("lr", "hr"),
    [
        (["babyx2", "birdx2"], ["baby", "bird"]),
        (["baby", "bird"], ["baby", "bird"]),
        (["baby", "birdx4"], ["baby", "bird"]),
        (["babyx2.5"], ["baby"]),
        (["0801x30"], ["0801"]),
        (["phoenix2"], ["phoenix2"]),  # an x2 of its own
        (["phoenix2x4"], ["phoenix2"]),
        (["sub/babyx2"], ["sub/baby"]),
        (["a.bx2"], ["a.b"]),
        (["x2x2"], ["x2"]),
    ],
)
def test_names_that_match(lr, hr):
    assert match(lr, hr) == list(zip(lr, hr, strict=True))


def test_pairs_do_not_depend_on_the_order_of_names():
    hr = sorted(["30", "3096", "302008", "3", "30x"])
    lr = sorted(f"{name}x4" for name in hr)
    assert [name.removesuffix("x4") for name in lr] != hr  # position would pair the wrong ones
    assert match(lr, hr) == [(f"{name}x4", name) for name in hr]
    assert match(lr[::-1], hr) == [(f"{name}x4", name) for name in hr]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".PNG"])
def test_file_suffixes_do_not_matter(suffix):
    assert match_pairs([f"ax2{suffix}"], ["a.bmp"], Path("L"), Path("H")) == [(0, 0)]


def test_keys():
    assert pair_key("babyx2.png", set()) == pair_key("baby.png", set()) == "baby"
    assert pair_key("maxx.png", set()) == "maxx"


def test_images_without_a_partner_are_named_on_both_sides():
    refused(
        lambda: match(["ax2", "bx2", "dx2"], ["a", "c"]),
        "in L and high-resolution images in H do not match",
        "1 without a partner: H/c.png",
        "2 without a partner: L/bx2.png, L/dx2.png",
    )
    assert match(["ax2", "bx2"], ["a", "c"], complete=False) == [("ax2", "a")]


def test_a_long_list_of_images_without_a_partner_is_shortened():
    message = refused(lambda: match(["a"], ["a", *(f"n{i}" for i in range(9))]), "9 without")
    assert message.count("H/n") == 3 and ", …; a pattern such as lr_name" in message


@pytest.mark.parametrize("complete", [True, False])
def test_several_images_of_one_picture(complete):
    refused(
        lambda: match(["ax2", "ax3", "b"], ["a", "b"], complete=complete),
        "L: several images have the same name without suffix and scale: ax2.png, ax3.png",
    )
    with pytest.raises(UserError, match=r"H: several images .*: a\.png, a\.jpg; remove"):
        match_pairs(["a.png"], ["a.png", "a.jpg"], Path("L"), Path("H"), complete=complete)


# Sizes


@pytest.mark.parametrize(
    ("hr", "scale", "lr", "covered"),
    [
        ((40, 60), (2, 2), (20, 30), (40, 60)),
        ((41, 61), (2, 2), (20, 30), (40, 60)),
        ((44, 50), (2.5, 2.5), (17, 20), (42, 50)),  # 17 · 2.5 = 42.5, to the even one
        ((110, 110), (1.1, 1.1), (100, 100), (110, 110)),  # 110 / 1.1 = 99.99… in floats
        ((110, 121), (1.1, 1.1), (100, 110), (110, 121)),
        ((40, 60), (2, 3.5), (20, 17), (40, 60)),  # 17 · 3.5 = 59.5
        ((40, 60), (40, 60), (1, 1), (40, 60)),
        ((40, 60), (1, 1), (40, 60), (40, 60)),
        ((344, 228), (3, 3), (114, 76), (342, 228)),
    ],
)
def test_sizes_at_any_scale(hr, scale, lr, covered):
    assert reduced_size(hr, scale) == (lr, covered)


@pytest.mark.parametrize("scale", [(2, 2), (2.5, 2.5), (2, 3.5), (7.3, 7.3)])
def test_pairs_are_made_by_pillow_from_the_part_they_cover(tmp_path, scale):
    folder = pictures(tmp_path, a=(40, 60), b=(44, 50))
    pairs = open_pairs(folder, scale=scale)
    assert len(pairs) == 2 and [pair.name for pair in pairs] == ["a", "b"]
    for seed, pair in enumerate(pairs):
        full = texture(*[(40, 60), (44, 50)][seed], seed)
        (h, w), (H, W) = reduced_size(full.shape[:2], scale)
        assert np.array_equal(pair.hr, full[:H, :W])
        small = Image.fromarray(full[:H, :W]).resize((w, h), Image.Resampling.BICUBIC)
        assert np.array_equal(pair.lr, np.asarray(small))


def test_an_image_smaller_than_the_scale_is_named(tmp_path):
    folder = pictures(tmp_path, a=(40, 60))
    assert next(iter(open_pairs(folder, scale=(40, 60)))).lr.shape == (1, 1, 3)
    refused(
        lambda: list(open_pairs(folder, scale=(41, 41))),
        "a.png: 60×40 px is too small for scale 41; lower the scale",
    )


def test_published_images_are_read_and_the_rest_is_cropped(tmp_path):
    hr = pictures(tmp_path / "hr", a=(41, 61), b=(44, 50))
    lr = pictures(tmp_path / "lr", ax2=(20, 30), bx2=(22, 25))
    pairs = list(open_pairs(hr, scale=(2, 2), lr=lr))
    assert [pair.hr.shape for pair in pairs] == [(40, 60, 3), (44, 50, 3)]
    assert np.array_equal(pairs[0].lr, texture(20, 30, 0))
    assert np.array_equal(pairs[1].lr, texture(22, 25, 1))
    assert np.array_equal(pairs[0].hr, texture(41, 61, 0)[:40, :60])


@pytest.mark.parametrize("size", [(22, 30), (20, 32), (19, 30), (30, 20), (10, 15)])
def test_published_images_of_another_size_are_named_on_both_sides(tmp_path, size):
    hr = pictures(tmp_path / "hr", a=(41, 61))
    lr = pictures(tmp_path / "lr", ax2=size)
    refused(
        lambda: open_pairs(hr, scale=(2, 2), lr=lr),
        f"{lr / 'ax2.png'} is {size[1]}×{size[0]} px",
        f"{hr / 'a.png'} (61×41 px)",
        "needs 30×20 px",
    )


def test_one_file_instead_of_a_folder(tmp_path):
    sizes = {"30": (40, 60), "302008": (24, 20), "3096": (44, 50)}
    hr = pictures(tmp_path / "hr", **sizes)
    lr = pictures(tmp_path / "lr", **{f"{n}x2": (h // 2, w // 2) for n, (h, w) in sizes.items()})
    for name, (height, width) in sizes.items():
        (pair,) = open_pairs(hr / f"{name}.png", scale=(2, 2), lr=lr)
        assert pair.name == name and pair.hr.shape == (height, width, 3)
        assert pair.lr.shape == (height // 2, width // 2, 3)
    (made,) = open_pairs(hr / "30.png", scale=(4, 4))
    assert made.name == "30" and made.lr.shape == (10, 15, 3)
    (both,) = open_pairs(hr / "30.png", scale=(2, 2), lr=lr / "30x2.png")
    assert both.lr.shape == (20, 30, 3)
    refused(
        lambda: open_pairs(hr / "30.png", scale=(2, 2), lr=lr / "3096x2.png"),
        f"1 without a partner: {hr / '30.png'}",
    )


def test_names_tell_sub_folders_and_suffixes_apart(tmp_path):
    pictures(tmp_path / "one", a=(8, 9))
    pictures(tmp_path / "two", a=(9, 8))
    write_image(tmp_path / "b.png", texture(8, 8))
    write_image(tmp_path / "b.bmp", texture(8, 8))
    names = [pair.name for pair in open_pairs(tmp_path, scale=(2, 2))]
    assert names == ["b.bmp", "b.png", "one/a", "two/a"]


def test_limit_and_crop(tmp_path):
    folder = pictures(tmp_path, a=(40, 60), b=(44, 51), c=(48, 48))
    pairs = open_pairs(folder, scale=(2, 2), crop=20, limit=2)
    assert len(pairs) == 2
    found = list(pairs)
    assert np.array_equal(found[0].hr, texture(40, 60, 0)[10:30, 20:40])
    assert np.array_equal(found[1].hr, texture(44, 51, 1)[12:32, 15:35])
    refused(
        lambda: list(open_pairs(folder, scale=(2, 2), crop=41)),
        "a.png: 60×40 px is too small for crop 41; lower valid.crop (null for",
    )


# The check from headers


@pytest.mark.parametrize(
    ("crop", "scale", "border", "message"),
    [
        (None, (2, 2), (8, 8), None),
        (None, (2, 2), (19, 19), None),  # 40 rows: two are left
        (None, (2, 2), (20, 0), "a.png: 60×40 px is too small for the protocol at scale 2, which "
         "drops 20 rows and 0 columns at each side; lower the scale, use protocol: none or remove"),
        (None, (2, 2), (0, 25), "b.png: 50×44 px is too small for the protocol at scale 2"),
        (None, (41, 41), (0, 0), "a.png: 60×40 px is too small for scale 41"),
        (None, (2, 51), (0, 0), "b.png: 50×44 px is too small for scale 2, 51"),
        (40, (40, 40), (0, 0), None),
        (41, (2, 2), (0, 0), "a.png: 60×40 px is too small for crop 41; lower valid.crop"),
        (20, (21, 21), (0, 0), "a.png: a crop of 20×20 px is too small for scale 21"),
        (20, (3, 3), (9, 9), "a.png: 60×40 px, of which 18×18 px are used, is too small for "
         "the protocol at scale 3, which drops 9 rows and 9 columns at each side; lower the scale, "
         "use protocol: none or raise valid.crop"),
    ],
)  # fmt: skip
def test_images_too_small_for_an_evaluation_are_found_from_headers(
    photos, monkeypatch, crop, scale, border, message
):
    monkeypatch.setattr("liif.data.pairs.read_pixels", None)  # nothing may be decoded
    pairs = open_pairs(photos, scale=scale, crop=crop)
    if message is None:
        check_pairs(pairs, border=border)
    else:
        refused(lambda: check_pairs(pairs, border=border), message)


def test_the_check_covers_published_images_and_unreadable_files(tmp_path):
    hr = pictures(tmp_path / "hr", a=(41, 61))
    lr = pictures(tmp_path / "lr", ax2=(20, 30))
    pairs = open_pairs(hr, scale=(2, 2), lr=lr)
    check_pairs(pairs, border=(19, 29))
    refused(lambda: check_pairs(pairs, border=(20, 20)), "a.png: 61×41 px, of which 60×40 px")
    (hr / "b.png").write_bytes(b"not an image")
    refused(lambda: check_pairs(open_pairs(hr, scale=(2, 2))), "b.png: cannot read the image")


def test_the_bundled_test_images_are_too_small_for_scale_200():
    folder = data_path(None, "builtin:test")
    check_pairs(open_pairs(folder, scale=(12, 12)), border=(18, 18))
    refused(
        lambda: check_pairs(open_pairs(folder, scale=(200, 200)), border=(206, 206)),
        ".webp: 512×384 px, of which 400×200 px are used, is too small for the protocol at scale "
        "200, which drops 206 rows and 206 columns at each side; lower the scale",
    )


def test_a_set_can_be_iterated_twice(photos):
    pairs = open_pairs(photos, scale=(2, 2))
    assert [pair.name for pair in pairs] == [pair.name for pair in pairs] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("lr", "hr", "scale"), [((10, 12), (20, 24), 2), ((10, 12), (31, 38), 3), ((5, 5), (5, 5), 1)]
)
def test_integer_scales(lr, hr, scale):
    assert pair_scale(lr, hr, Path("l"), Path("h")) == scale


@pytest.mark.parametrize("hr", [(20, 36), (9, 12), (20, 26), (5, 6)])
def test_sizes_without_an_integer_scale(hr):
    refused(
        lambda: pair_scale((10, 12), hr, Path("l"), Path("h")),
        "l (12×10 px)",
        f"h ({hr[1]}×{hr[0]} px)",
    )


def test_missing_and_empty_folders(tmp_path):
    refused(lambda: open_pairs(tmp_path / "x", scale=(2, 2)), str(tmp_path / "x"), "datasets/READ")
    refused(lambda: open_pairs(tmp_path, scale=(2, 2)), str(tmp_path), "no images here")
    hr = pictures(tmp_path / "hr", a=(8, 8))
    refused(lambda: open_pairs(hr, scale=(2, 2), lr=tmp_path / "y"), str(tmp_path / "y"))


def test_real_sets_match(benchmark_data):
    for name, count in (("Set5", 5), ("Set14", 14), ("B100", 100)):
        folder = benchmark_data / "benchmark" / name
        for scale in (2, 3, 4):
            pairs = open_pairs(
                folder / "HR", scale=(scale, scale), lr=folder / f"LR_bicubic/X{scale}"
            )
            assert len(pairs) == count
