"""`liif data check`: folders present, missing, incomplete or damaged; what is usable."""

import functools
from pathlib import Path

import pytest
import yaml
from helpers.models import TINY
from helpers.pictures import texture

from liif.images.rgb8 import write_image


@pytest.fixture
def check(cli, folder):
    """`liif data check …` in an empty folder: (status, standard output, error)."""
    return functools.partial(cli, "data", "check")


def config(name, **values):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(yaml.safe_dump(values))
    return name


@pytest.fixture
def set5(check, tmp_path):
    """A Set5 of small pictures, complete, and a test on its published pictures at x2."""
    root = tmp_path / "datasets" / "benchmark" / "Set5"
    for i in range(5):
        write_image(root / "HR" / f"{i}.png", texture(16, 20, i))
        write_image(root / "LR_bicubic" / "X2" / f"{i}x2.png", texture(8, 10, i))
    base = {"set": "set5", "hr": "benchmark/Set5/HR", "protocol": "benchmark"}
    base["lr"] = "benchmark/Set5/LR_bicubic/X{scale}"
    Path("configs").mkdir()
    config("configs/base/set5.yaml", **base)
    config("configs/test-set5-x2.yaml", base="base/set5.yaml", scale=2)
    return root


def training(name, images, **more):
    data = {"sampling": "random-scale", "images": images, "patch": 4, "queries": 4}
    return config(name, model=TINY, train_data=data, **more)


def test_all_is_there(check, set5):
    status, out, err = check()
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "datasets/benchmark/Set5/HR                   present (5 images)",
        "datasets/benchmark/Set5/LR_bicubic/X2        present (5 images)",
        "usable: 1 of 1 configurations",
        "  configs/test-set5-x2.yaml",
    ]
    assert check("--deep")[1] == out


def test_nothing_is_there(check):
    Path("configs").mkdir()
    training("configs/a.yaml", "DIV2K/DIV2K_train_HR", valid={"images": "builtin:test"})
    training("configs/b.yaml", "my photos")
    status, out, _ = check()
    assert status == 1
    lines = out.splitlines()
    assert lines[0].startswith("datasets/DIV2K/DIV2K_train_HR ")
    assert lines[0].endswith(" missing: `liif data download div2k-train-hr`")
    assert lines[1].split() == ["builtin:test", "present", "(2", "images)"]
    assert lines[2].startswith("datasets/my photos ") and "data_root" in lines[2]
    assert lines[3:] == [
        "usable: 0 of 2 configurations",
        "not usable:",
        "  configs/a.yaml: DIV2K/DIV2K_train_HR",
        "  configs/b.yaml: my photos",
    ]
    assert (
        "`liif data download div2k-train-hr --data-root '/my data'`"
        in (check("configs/a.yaml", "--data-root", "/my data")[1])
    )


def test_builtin_photographs_need_nothing(check):
    Path("configs").mkdir()
    training("configs/q.yaml", "builtin:train", valid={"images": "builtin:test"})
    status, out, _ = check()
    assert status == 0 and "builtin:train" in out and "usable: 1 of 1" in out


def test_incomplete(check, set5):
    (set5 / "HR" / "3.png").unlink()
    status, out, _ = check()
    assert status == 1
    assert "incomplete (4 of 5 images): `liif data download benchmark`" in out
    assert "  configs/test-set5-x2.yaml: benchmark/Set5/HR" in out
    (set5 / "HR" / "3.png").mkdir()
    assert "incomplete (4 of 5 images)" in check()[1]


def test_an_empty_folder_is_missing(check, set5):
    for file in (set5 / "HR").iterdir():
        file.unlink()
    assert "Set5/HR                   missing: `liif data download benchmark`" in check()[1]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("harm", ["cut", "empty", "text"])
def test_damaged(check, tmp_path, suffix, harm):
    for i in range(3):
        write_image(tmp_path / "photos" / f"{i}{suffix}", texture(60, 60, i))
    Path("configs").mkdir()
    training("configs/a.yaml", str(tmp_path / "photos"))
    assert check()[0] == 0
    file = tmp_path / "photos" / f"1{suffix}"
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) * 2 // 3], "empty": b"", "text": b"hello"}[harm])
    deep = ["--deep"] if suffix in (".webp", ".bmp") else []
    status, out, _ = check(*deep)
    assert status == 1 and "damaged (1 of 3 images): " in out
    assert f"photos/1{suffix}: cannot read the image: " in out


def test_damage_inside_a_file_is_found_by_decoding(check, set5):
    file = set5 / "HR" / "2.png"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    assert check()[0] == 0, "the header and the end are whole"
    status, out, _ = check("--deep")
    assert status == 1 and "HR/2.png: cannot read the image" in out
    assert "; delete them, then `liif data download benchmark`" in out


def test_bytes_after_the_end_are_no_damage(check, set5):
    with (set5 / "HR" / "2.png").open("ab") as file:
        file.write(bytes(5000))
    assert check()[0] == 0


def test_many_damaged_files_are_not_all_named(check, tmp_path):
    for i in range(9):
        write_image(tmp_path / "photos" / f"{i}.png", texture(8, 8))
        (tmp_path / "photos" / f"{i}.png").write_bytes(b"")
    Path("configs").mkdir()
    training("configs/a.yaml", str(tmp_path / "photos"))
    out = check()[1]
    assert "damaged (9 of 9 images)" in out and "/4.png" in out and "/5.png" not in out


def test_pictures_that_do_not_belong_together(check, set5):
    write_image(set5 / "LR_bicubic" / "X2" / "1x2.png", texture(8, 9))
    status, out, _ = check()
    assert status == 1 and out.count("present (5 images)") == 2
    assert "1x2.png is 9×8 px, but " in out[out.index("not usable:") :]


def test_one_more_than_published(check, set5):
    write_image(set5 / "HR" / "mine.png", texture(16, 20))
    status, out, _ = check()
    assert status == 1 and "present (6 images, 1 more than published)" in out
    assert "without a partner" in out


def test_configurations_that_are_wrong(check, set5):
    config("configs/typo.yaml", base="base/set5.yaml", scale=2, protocoll="none")
    status, out, _ = check()
    assert status == 1 and "usable: 1 of 2 configurations" in out
    assert "  configs/typo.yaml: " in out and "protocoll" in out and "train_data" not in out
    training("configs/typo.yaml", "builtin:train", stepz=3)
    wrong = check("configs/typo.yaml", "none.yaml")[1]
    assert "stepz" in wrong and "protocol" not in wrong
    assert "none.yaml: no such configuration file" in wrong


def test_wrong_usage(cli, folder):
    assert cli("data")[0] == 2 and cli("data", "chekc")[0] == 2


def test_all_shipped_configurations_are_known(check):
    """Each names published folders or photographs of the package, and is of a known kind."""
    files = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    status, out, _ = check(*map(str, files), "--data-root", "none")
    assert status == 1
    places, usable = out.split("usable: ", 1)
    for line in places.splitlines():
        assert "missing: `liif data download " in line or line.startswith("builtin:"), line
    assert "quickstart.yaml" in usable[: usable.index("not usable:")]
