"""Figures and sheets by suffix: SVG and PDF beside PNG, from every command that draws."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from commands.test_data_preview import files
from helpers.pictures import texture
from helpers.plotting import plot, refused, result_file
from PIL import Image

from liif.core.errors import UserError
from liif.figures.sheets import write_sheet
from liif.images.rgb8 import read_image

assert files, "a fixture"
SVG = "{http://www.w3.org/2000/svg}"


def figures(tmp_path, photos, tiny_checkpoint):
    Path("run").mkdir()
    line = '{"kind": "train", "step": %d, "loss": 0.5, "learning_rate": 1e-4}\n'
    Path("run/metrics.jsonl").write_text("".join(line % step for step in (1, 2)))
    yield "psnr", result_file("a.json", 2, 38.0)
    yield "curves", "run"
    checkpoint = ("--checkpoint", f"m={tiny_checkpoint}", "--box", "2,2,8,8", "--scales", "2")
    yield "crops", "--image", photos / "a.png", *checkpoint


def test_every_plot(folder, photos, tiny_checkpoint):
    for draw in figures(folder, photos, tiny_checkpoint):
        plot(*draw, "-o", "a.svg", "-o", "a.PDF", "--overwrite")
        first = Path("a.svg").read_bytes()
        root = ET.fromstring(first)
        assert root.tag == f"{SVG}svg" and len(list(root.iter(f"{SVG}path"))) > 5
        assert Path("a.PDF").read_bytes().startswith(b"%PDF")
        plot(*draw, "-o", "a.svg", "--overwrite")
        assert Path("a.svg").read_bytes() == first, "no time, no random names"
        assert b"<dc:date>" not in first


def test_a_sheet(tmp_path):
    image = texture(20, 30)
    write_sheet(tmp_path / "a.svg", image)
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert (root.get("width"), root.get("height")) == ("30", "20")
    data = root[0].get("href").removeprefix("data:image/png;base64,")
    assert np.array_equal(Image.open(io.BytesIO(base64.b64decode(data))), image)
    write_sheet(tmp_path / "a.pdf", image)
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"CreationDate" not in content
    start = content.index(b"\xff\xd8")
    shown = np.asarray(Image.open(io.BytesIO(content[start:])).convert("RGB")).astype(int)
    assert shown.shape == image.shape and abs(shown - image).mean() < 6
    write_sheet(tmp_path / "a.png", image)
    assert np.array_equal(read_image(tmp_path / "a.png"), image)
    with pytest.raises(UserError, match=r"a\.eps: cannot write this format; use one of \.png"):
        write_sheet(tmp_path / "a.eps", image)


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_sheets_of_commands(cli, files, tiny_checkpoint, suffix):
    sheet = Path(f"sheet{suffix}")
    assert cli("data", "preview", "t.yaml", "--samples", "2", "-o", sheet)[0] == 0
    before = sheet.read_bytes()
    compare = ("compare", "photos/0.png", "-s", "2", "--checkpoint", tiny_checkpoint)
    assert cli(*compare, "-o", sheet, "--overwrite")[0] == 0
    assert sheet.read_bytes()[:4] == before[:4] and sheet.read_bytes() != before


def test_an_image_that_cannot_be_read_is_not_drawn(folder, photos, tiny_checkpoint):
    data = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(data[: len(data) * 2 // 3])
    draw = ("crops", "--checkpoint", f"m={tiny_checkpoint}", "--scales", "2", "--image")
    with pytest.raises(UserError, match=re.escape("1 of 2 images are not drawn:\n")) as caught:
        plot(*draw, photos / "a.png", photos / "b.png", "-o", "o.png")
    assert "photos/b.png: cannot read the image" in str(caught.value)
    assert Path("o.png").stat().st_size > 1000
    assert "b.png: cannot read the image" in refused(*draw, photos / "b.png", "-o", "p.png")
