"""`liif test --data`: scores of a folder without any configuration, at one scale or several."""

import json
from pathlib import Path

import pytest
from helpers.pictures import texture

from liif.evaluation.results import read_points
from liif.images.rgb8 import write_image


@pytest.fixture
def score(cli, tiny_checkpoint, photos, folder):
    """`liif test --data photos …`: the result file, and what was printed."""

    def run(*arguments, data="photos", status=0):
        options = ("--checkpoint", tiny_checkpoint, "-o", "r.json", "--overwrite")
        found, out, err = cli("test", "--data", data, *options, *arguments)
        assert found == status, err
        return json.loads(Path("r.json").read_text()), out

    return run


def test_it_is_what_a_configuration_gives(score, cli, scoring):
    result, out = score("--scale", "2")
    assert cli("test", "--config", scoring, "-o", "c.json")[0] == 0
    expected = json.loads(Path("c.json").read_text())
    assert (result.pop("set"), expected.pop("set")) == ("photos", "mine")
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}
    assert out.splitlines()[-3] == "photos, protocol benchmark, PSNR in dB"
    assert out.splitlines()[-1].split()[:2] == ["x2", "3"]
    assert f"{result['psnr_y']:.4f}" in out.splitlines()[-1].split()


def test_defaults(cli, photos, folder):
    """The bundled model at x4, in luma."""
    status, out, err = cli("test", "--data", "photos", "-q")
    assert (status, err) == (0, "") and out.splitlines()[-1].split()[:2] == ["x4", "3"]


@pytest.mark.parametrize(
    "given",
    [["--scale", "2", "--scale", "2.5"], ["-s", "2", "2.5", "2"], ["-s", "2", "-s2.5"]],
)
def test_several_scales(score, given, tiny_checkpoint):
    results, out = score(*given, "--save-images", "sr")
    assert [each["scale"] for each in results] == [2, 2.5]
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["x2", "x2.5"]
    assert out.startswith("a x2 ") and "\na x2.5 " in out
    assert {p.as_posix() for p in Path().glob("sr/*/*")} == {
        f"sr/{s}/{name}.png" for s in ("x2", "x2.5") for name in "abc"
    }
    points = [p for p in read_points([Path("r.json")], "psnr") if p.method != "bicubic"]
    wanted = {(each["scale"],) * 2: each["psnr"] for each in results}
    assert {p.scale: p.value for p in points} == wanted


def test_the_protocol(score):
    luma, _ = score("--scale", "2")
    rgb, _ = score("--scale", "2", "--protocol", "none")
    assert (luma["psnr"], luma["protocol"]) == (luma["psnr_y"], "benchmark")
    assert (rgb["psnr"], rgb["protocol"]) == (rgb["psnr_rgb"], "none")
    assert rgb["psnr_rgb"] != luma["psnr_rgb"], "no border"


def test_low_resolution_images(score, refused, tiny_checkpoint):
    for name, (height, width) in {"a": (20, 30), "b": (22, 25), "c": (24, 24)}.items():
        write_image(Path(f"lr/X2/{name}x2.png"), texture(height, width, 5))
    result, _ = score("--scale", "2", "--lr", "lr/X2")
    assert result["lr"] == str(Path("lr/X2").absolute()) and result["degrade"] is None
    assert score("--scale", "2", "--lr", "lr/X{scale}")[0]["psnr"] == result["psnr"]
    assert score("--scale", "2")[0]["psnr"] != result["psnr"]
    for wrong in (["-s", "2", "3"], ["-s", "2x3"], ["-s", "2", "--set", "degrade=bsrgan"]):
        said = refused("test", "--data", "photos", "--lr", "lr/X2", *wrong)
        assert "see liif test --help" in said


def test_options_replace_what_the_configuration_says(score, scoring):
    write_image(Path("other/d.png"), texture(30, 30))
    result, _ = score("--config", scoring, "--scale", "3", "--protocol", "div2k", data="other")
    assert (result["set"], result["scale"], result["protocol"]) == ("other", 3, "div2k")
    assert [each["name"] for each in result["images"]] == ["d"]
    assert score("--config", scoring, data="other")[0]["scale"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --data FOLDER"),
        (["--scale", "4"], "give --data FOLDER"),
        (["--data", "photos", "--scale", "0.5"], "0.5: must be from 1 to 1000"),
        (["--data", "photos", "--scale", "two"], "two: must be"),
        (["--data", "photos", "-s", "2", "--set", "scale=3"], "--set scale is replaced by --scale"),
        (["--data", "photos", "--set", "hr=p"], "--set hr is replaced by --data"),
        (["--data", "photos", "--protocol", "y"], "invalid choice: 'y'"),
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--data", "photos", "--set", "stepz=3"], "--set stepz: unknown key"),
        (["--data", "photos", "-o", "photos/a.png"], "photos/a.png: is an input"),
        (["--data", "photos", "--save-images", "photos"], "photos/a.png: is an input"),
        (["--data", "photos", "-s", "45"], "a.png: 60×40 px is too small for scale 45"),
        (["--data", "photos", "-s", "4", "20"], "a.png: 60×40 px is too small for the protocol"),
    ],
)
def test_mistakes_are_told_before_the_work(cli, photos, folder, arguments, said):
    status, out, err = cli("test", *arguments)
    assert status in (1, 2) and out == "" and said in err


@pytest.mark.parametrize("name", ["caf\u00e9 \U0001f600", "a b", "50%", "{scale}", "-x", "a=b,c"])
def test_names_of_folders(score, name):
    write_image(Path(name, "d.png"), texture(30, 30))
    assert score("-s", "2", data=f"./{name}")[0]["set"] == name


def test_what_cannot_be_read_is_named_and_the_rest_is_written(score, cli, tiny_checkpoint):
    data = Path("photos/b.png").read_bytes()
    Path("photos/b.png").write_bytes(data[: len(data) * 2 // 3])
    Path("sr").mkdir()
    results, out = score("-s", "2", "3", "--save-images", "sr", status=1)
    for each in results:
        assert [image["name"] for image in each["images"]] == ["a", "c"]
        assert [failed["name"] for failed in each["failed"]] == ["b"]
        assert "photos/b.png: cannot read the image" in each["failed"][0]["reason"]
    assert out.splitlines()[-1].split()[:2] == ["x3", "2"]
    assert len(list(Path("sr").glob("*/*.png"))) == 4
    err = cli("test", "--data", "photos", "-s", "2", "--checkpoint", tiny_checkpoint)[2]
    assert err.startswith("error: 1 of 3 images have no scores: ") and err.count("\n") == 1


def test_nothing_can_be_read(cli, photos, folder, tiny_checkpoint):
    for name in "abc":
        data = Path(f"photos/{name}.png").read_bytes()
        Path(f"photos/{name}.png").write_bytes(data[: len(data) // 2])
    done = cli("test", "--data", "photos", "-s", "2", "--checkpoint", tiny_checkpoint)
    assert done[0] == 1 and done[1] == "" and "3 of 3 images have no scores" in done[2]
