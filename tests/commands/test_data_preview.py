"""`liif data preview`: a sheet of what training sees."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.models import TINY
from helpers.pictures import texture

from liif.data.loader import make_sample, view_sample
from liif.images.rgb8 import read_image, write_image
from liif.training.config import TrainConfig


@pytest.fixture
def files(folder):
    """A configuration, in a folder with its images: high-resolution ones, and at half the size."""
    for i in range(3):
        write_image(folder / "photos" / f"{i}.png", texture(40, 40, i))
        write_image(folder / "small" / f"{i}.png", texture(20, 20, i))
    data = {"sampling": "random-scale", "images": "photos", "patch": 8, "queries": 16}
    data["cache"] = "memory"
    config = {"data_root": str(folder), "model": TINY, "train_data": data, "steps": 2}
    (folder / "t.yaml").write_text(yaml.safe_dump(config))
    return config


PAIRS = {"lr": "small", "hr": "photos", "queries": 16, "cache": "memory"}
KINDS = {
    "random-scale": {},
    "degraded": {"degrade": "real-esrgan"},
    "pairs": {"sampling": "pairs", "patch": 8, **PAIRS},
    "size-varied": {"sampling": "size-varied", "size": [20, 40], **PAIRS},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_sheet(cli, files, kind):
    data = KINDS[kind] if "sampling" in KINDS[kind] else files["train_data"] | KINDS[kind]
    config = TrainConfig.model_validate(files | {"train_data": data})
    text = f"train_data={yaml.safe_dump(data, default_flow_style=True)}"
    status, out, err = cli("data", "preview", "t.yaml", "--samples", "7", "--set", text)
    assert (status, err) == (0, "") and out.startswith("preview.png: 7 samples")
    sheet = read_image(Path("preview.png"))
    source = config.train_data.open_source(config.data_root)
    for number in range(7):
        index, view = view_sample(source, 0, number)
        sample = make_sample(source, 0, number)
        assert np.array_equal(view.lr, sample.lr) and 0 <= index < 3
        row, column = divmod(number, 3)
        y, x = 14 + row * ((sheet.shape[0] - 14) // 3), 14 + column * 496
        side = 240 // max(view.lr.shape)
        tile = sheet[y + side // 2 : y + 240 : side, x + side // 2 : x + 240 : side]
        assert np.array_equal(tile[: view.lr.shape[0], : view.lr.shape[1]], view.lr)
        assert (sheet[y + 240 : y + 270, x : x + 200] < 100).any()  # a caption


def test_mistakes(cli, files):
    status, _, err = cli("data", "preview")
    assert status == 2 and err.endswith("required: CONFIG\nsee liif data preview --help\n")
    status, _, err = cli("data", "preview", "t.yaml", "--samples", "0")
    assert status == 2 and "--samples: must be from 1 to 1000, not 0" in err
    for arguments, said in [
        (["-o", "t.yaml"], "t.yaml: is an input"),
        (["-o", "."], ".: is a folder"),
        (["-o", "photos/0.png"], "photos/0.png: is in the folder of train_data.images"),
        (["-o", "photos/new/sheet.png"], "is in the folder of train_data.images"),
        (["--set", "train_data.degrade=bsrgn"], "did you mean 'bsrgan'?"),
        (["--set", "train_data.images=nowhere"], "nowhere"),
    ]:
        status, out, err = cli("data", "preview", "t.yaml", *arguments)
        assert (status, out) == (1, "") and said in err and err.count("\n") == 1, err


def test_samples_of_damaged_images_are_named_and_the_others_drawn(cli, files):
    for name in ("photos/1.png", "photos/2.png"):
        data = Path(name).read_bytes()
        Path(name).write_bytes(data[: len(data) * 2 // 3])
    preview = ("data", "preview", "t.yaml", "--set", "train_data.cache=none", "--samples", "6")
    status, out, err = cli(*preview)
    assert (status, out.split(",")[0]) == (1, "preview.png: 2 samples")
    assert "error: 4 of 6 samples cannot be drawn:" in err and err.count("photos/1.png: ") == 1
    assert read_image(Path("preview.png")).shape[0] > 200
