"""`liif tables`: measured numbers beside the published ones, in all four formats."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import liif
from liif.commands import tables as command
from liif.core.config_file import load_config
from liif.core.errors import UserError
from liif.data.pairs import Pair
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import bicubic_score
from liif.evaluation.measurements import MeasurementFile
from liif.evaluation.protocols import get_protocol


def result(name="t"):
    return json.loads(Path(f"results/{name}.json").read_text())["cells"]


def cell(row, scale=2, set_="mine"):
    """The cell of the last result with this row, scale and set."""
    (found,) = [c for c in result() if (c["row"], c["scale"], c["set"]) == (row, scale, set_)]
    return found


def measured(err):
    """(images measured by this command, images measured before) as logged."""
    pattern = r"(\d+) images to measure, (\d+) measured before"
    return tuple(map(int, re.search(pattern, err).groups()))


def test_measured_and_published_numbers_stand_side_by_side(cli, table, photos):
    status, out, err = cli("tables", "--table", "t")
    assert (status, measured(err)) == (0, (3 * (3 + 3 + 1), 0))
    assert cell("Bicubic")["published"] == 20.5 and cell("Bicubic", 3)["published"] is None
    ours = cell("Any scale", 3)
    config = load_config(TestConfig, Path("configs/mine.yaml"), ["scale=3"])
    cli(
        *("test", "--config", "configs/mine.yaml", "--set", "scale=3"),
        *("--checkpoint", "runs/any/last.pt", "--out", "one.json"),
    )
    alone = json.loads(Path("one.json").read_text())
    for key in ("psnr", "psnr_rgb", "psnr_y", "ssim"):
        assert ours[key] == pytest.approx(alone[key], abs=1e-9)
    assert ours["psnr"] == ours["psnr_y"] != ours["psnr_rgb"] and config.protocol == "benchmark"
    assert ours["difference"] == pytest.approx(ours["psnr"] - 29.25)
    assert (ours["images"], ours["measured"], ours["lr"]) == (3, 3, "pillow-bicubic")
    assert ours["checkpoint"] == "runs/any/last.pt" and len(ours["checkpoint_sha256"]) == 64
    assert not ours["trained"] and cell("Any scale")["trained"]
    assert cell("Any scale")["published_source"] == "Somebody 2020"
    lines = out.splitlines()
    shown = f"| Any scale | ours | {cell('Any scale')['psnr']:.2f} | {ours['psnr']:.2f}* |"
    assert shown in lines and "|  | published | 30.00 | 29.25 |" in lines
    assert f"|  | difference | {cell('Any scale')['difference']:+.2f} | " in out
    assert r"\* outside the scales of its training." in lines
    assert ours["badge"] == f"liif-benchmark {ours['data_sha256'][:8]}"
    assert "train it with `liif train --config configs/fixed-x2.yaml`" in out
    assert Path("results/t.md").read_text().strip() == out.strip()


def test_a_model_for_one_scale_has_cells_at_that_scale_only(cli, table):
    cli("tables", "--table", "t")
    found = [(c["set"], c["scale"]) for c in result() if c["row"] == "Fixed"]
    assert found == [("mine", 2), ("faces", 2)]


def test_csv_and_latex(cli, table):
    cli("tables", "--table", "t")
    lines = list(csv.DictReader(Path("results/t.csv").read_text().splitlines()))
    assert [(line["row"], line["set"], float(line["scale"])) for line in lines] == [
        (c["row"], c["set"], c["scale"]) for c in result()
    ]
    assert float(lines[3]["psnr"]) == cell("Any scale")["psnr"] and lines[3]["published"] == "30.0"
    text = Path("results/t.tex").read_text()
    assert text.startswith("% Ours & theirs.")
    ours = cell("Any scale", 3)["psnr"]
    assert (
        rf"Any scale & {cell('Any scale')['psnr']:.2f} (30.00) & {ours:.2f}$^*$ (29.25) \\" in text
    )
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 2


def test_inference_options_are_reported(cli, table):
    cli("tables", "--table", "t", "--rows", "any scale", "--round", "--self-ensemble")
    assert cell("Any scale")["options"] == {"self_ensemble": True, "round": True}
    assert '"self_ensemble": true' in Path("results/t.md").read_text()
    cli("tables", "--table", "t", "--rows", "lanczos")
    assert cell("Then Lanczos")["options"] == {"lanczos_from": 2}


def test_a_model_of_the_package_is_named_without_the_folder_of_the_package(cli, table):
    status, out, err = cli("tables", "--table", "t", "--rows", "any", "--checkpoint", "any=lite")
    assert status == 0, err
    assert cell("Any scale")["checkpoint"] == "liif/weights/lite.safetensors"
    assert str(Path(liif.__file__).parent) not in out


def test_a_row_may_be_the_mean_over_rotations(cli, table):
    cli("tables", "--table", "t", "--rows", "any scale", "--rotation-ensemble")
    asked = cell("Any scale")
    file = Path("configs/tables/t.yaml")
    file.write_text(file.read_text().replace("trained: [1, 2]", "rotation_ensemble: true"))
    cli("tables", "--table", "t", "--self-ensemble")
    assert cell("Any scale")["options"] == asked["options"] == {"rotation_ensemble": True}
    assert cell("Any scale")["psnr"] == asked["psnr"]
    assert cell("Then Lanczos")["options"] == {"self_ensemble": True, "lanczos_from": 2}


def test_a_row_may_state_its_cell_and_another_protocol(cli, table):
    file = Path("configs/tables/t.yaml")
    text = file.read_text().replace("trained: [1, 2]", "clip_cell: 1.5, note: a cell of x1_5")
    file.write_text(text)
    _, out, _ = cli("tables", "--table", "t")
    alone, ours = cell("Then Lanczos"), cell("Any scale")
    assert ours["options"] == {"clip_cell": 1.5} and ours["psnr"] != alone["psnr"]
    assert ours["published_note"] == "a cell of x1_5" and alone["published_note"] is None
    lines = out.splitlines()
    assert (
        "|  | published † | 30.00 | 29.25 |" in lines and "- † Any scale: a cell of x1_5." in lines
    )
    assert out.count("|  | published | 20.50 |") == 1
    latex = Path("results/t.tex").read_text()
    assert r" (30.00$^\dagger$) & " in latex and r"$^\dagger$ Any scale: a cell of x1\_5.}" in latex


def test_sets_scales_and_rows_select_cells(cli, table):
    _, _, err = cli("tables", "--table", "t", "--sets", "mine", "--scales", "x3", "--rows", "BICUB")
    assert measured(err) == (3, 0)
    assert [(c["row"], c["set"], c["scale"]) for c in result()] == [("Bicubic", "mine", 3)]


def test_list_prints_configurations_and_checkpoints(cli, table):
    _, out, _ = cli("tables", "--table", "t", "--list")
    assert out.splitlines() == ["any\truns/any/last.pt", "fixed-x2\tmissing"]
    assert not Path("results").exists()


def test_lpips_is_added_to_the_table(cli, table, monkeypatch):
    monkeypatch.setattr(command, "lpips_score", lambda device: lambda sr, hr, protocol: 0.25)
    _, out, _ = cli("tables", "--table", "t", "--lpips", "--sets", "mine")
    assert "| LPIPS |" in out and cell("Any scale")["lpips"] == cell("Bicubic")["lpips"] == 0.25


def test_names_are_escaped_for_latex(cli, table):
    for file in Path("configs").rglob("*.yaml"):
        text = file.read_text().replace("Any scale", "A_b & 50% ~ x^2")
        file.write_text(text.replace("set: mine", r"set: '#1 {mine}\$'"))
    cli("tables", "--table", "t", "--scales", "2")
    text = Path("results/t.tex").read_text()
    assert r"A\_b \& 50\% \textasciitilde{} x\textasciicircum{}2 & " in text
    assert r"\#1 \{mine\}\textbackslash{}\$ & $\times$2 \\" in text


def test_equal_images_and_small_ones_are_null_in_every_file(cli, table):
    """PSNR is infinite and SSIM is NaN, which JSON does not have."""
    image = Path("faces/f.png")
    Image.new("RGB", (8, 8), "gray").save(image)
    for _ in range(2):  # the second run reads the measurements
        cli("tables", "--table", "t", "--sets", "faces", "--rows", "bicubic")
        face = cell("Bicubic", 2, "faces")
        assert face["measured"] == 1 and face["psnr"] is None and face["ssim"] is None
    (measurements,) = Path("results/measurements").iterdir()
    for text in (Path("results/t.json").read_text(), *measurements.read_text().splitlines()):
        json.loads(text, parse_constant=pytest.fail)


def test_measurements_of_version_0_1_with_nan_are_read(tmp_path):
    file = MeasurementFile(tmp_path, {})
    file.path.write_text('{"version": 1}\n{"hr": "a", "lr": "b", "psnr": Infinity, "ssim": NaN}\n')
    assert file.read() == {("a", "b"): {"hr": "a", "lr": "b", "psnr": None, "ssim": None}}


def test_an_image_too_small_for_the_protocol_is_named():
    pair = Pair("tiny", np.zeros((4, 4, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="tiny: 8×8 px is too small for a border of 8 rows"):
        bicubic_score(pair, (2, 2), get_protocol("div2k", (2, 2)))
