"""The paper's tables: nothing measured twice, nothing lost, ours beside the published."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, texture
from PIL import Image

from liif.checkpoint import load, read_checkpoint, save_checkpoint, save_weights
from liif.commands import tables as command
from liif.config import TestConfig
from liif.configfile import load_config
from liif.data.images import write_image
from liif.data.pairs import Pair, open_pairs
from liif.data.resize import matlab_bicubic
from liif.evaluate import Means, bicubic_scores, scores, strips
from liif.geometry import grid_coord, pixel_centres
from liif.measurements import Measurements
from liif.metrics import protocol
from liif.models.build import ModelConfig, build_model
from liif.models.sr import SRModel
from liif.tableconfig import TableConfig

ROOT = Path(__file__).parent.parent
TABLES = sorted((ROOT / "configs" / "tables").glob("*.yaml"))

TABLE = """\
title: Ours & theirs
source: Somebody 2020
sets: {mine: {config: ../mine.yaml}, faces: {config: ../faces.yaml, scales: [2]}}
scales: [2, 3]
rows:
  - {name: Bicubic, published: {mine: [20.5, null]}}
  - {name: Any scale, config: any, trained: [1, 2], published: {mine: [30, 29.25]}}
  - {name: Fixed, config: "fixed-x{scale}", source: Another 2021}
  - {name: Then Lanczos, config: any, lanczos_from: 2}
"""


@pytest.fixture
def table(tmp_path, monkeypatch, photos, tiny_checkpoint) -> Path:
    """A folder with a table of two sets, whose rows `any` and `fixed-x2` have configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIIF_DATA", raising=False)
    faces = tmp_path / "faces"
    write_image(faces / "f.png", texture(24, 24))
    files = {
        "configs/tables/t.yaml": TABLE,
        "configs/mine.yaml": f"set: mine\nhr: {photos}\nprotocol: benchmark\n",
        "configs/faces.yaml": f"set: faces\nhr: {faces}\nprotocol: none\n",
        "configs/any.yaml": "",
        "configs/fixed-x2.yaml": "",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("runs/any").mkdir(parents=True)
    Path("runs/any/last.pt").write_bytes(tiny_checkpoint.read_bytes())
    return tmp_path


def result(name="t"):
    return json.loads(Path(f"results/{name}.json").read_text())["cells"]


def cell(row, scale=2, set_="mine"):
    """The one cell of the last result that this names."""
    (found,) = [c for c in result() if (c["row"], c["scale"], c["set"]) == (row, scale, set_)]
    return found


def measured(err):
    """Images that a run measured and those that it knew, by its own account."""
    return tuple(map(int, re.search(r"(\d+) images to measure, (\d+) known", err).groups()))


# What is measured, and what it says


def test_ours_beside_the_published(cli, table, photos):
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
    assert "train it with `python scripts/train.py --config configs/fixed-x2.yaml`" in out
    assert Path("results/t.md").read_text().strip() == out.strip()


def test_a_network_of_one_scale_has_cells_at_its_own_only(cli, table):
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
    assert r"Ours \& theirs" in text or text.startswith("% Ours & theirs")
    ours = cell("Any scale", 3)["psnr"]
    assert (
        rf"Any scale & {cell('Any scale')['psnr']:.2f} (30.00) & {ours:.2f}$^*$ (29.25) \\" in text
    )
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 2


def test_the_means_are_said(cli, table):
    cli("tables", "--table", "t", "--rows", "any scale", "--round", "--self-ensemble")
    assert cell("Any scale")["options"] == {"self_ensemble": True, "round": True}
    assert '"self_ensemble": true' in Path("results/t.md").read_text()
    cli("tables", "--table", "t", "--rows", "lanczos")
    assert cell("Then Lanczos")["options"] == {"lanczos_from": 2}


def test_only_what_is_asked_for(cli, table):
    _, _, err = cli("tables", "--table", "t", "--sets", "mine", "--scales", "x3", "--rows", "BICUB")
    assert measured(err) == (3, 0)
    assert [(c["row"], c["set"], c["scale"]) for c in result()] == [("Bicubic", "mine", 3)]


def test_listing(cli, table):
    _, out, _ = cli("tables", "--table", "t", "--list")
    assert out.splitlines() == ["any\truns/any/last.pt", "fixed-x2\tmissing"]
    assert not Path("results").exists()


# Nothing twice, nothing lost


def test_a_second_run_measures_nothing_and_writes_the_same(cli, table):
    cli("tables", "--table", "t")
    first = [Path(f"results/t.{s}").read_bytes() for s in ("md", "csv", "tex", "json")]
    _, _, err = cli("tables", "--table", "t")
    assert measured(err) == (0, 21)
    assert first == [Path(f"results/t.{s}").read_bytes() for s in ("md", "csv", "tex", "json")]


@pytest.mark.parametrize("after", [0, 1, 4, 11, 20])
def test_interrupted_anywhere_it_goes_on(cli, table, monkeypatch, after):
    whole, add, added = None, Measurements.add, []

    def interrupted(self, record):
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(record["name"])
        add(self, record)

    monkeypatch.setattr(Measurements, "add", interrupted)
    status, _, err = cli("tables", "--table", "t")
    assert status == 130 and measured(err) == (21, 0)
    assert sum(c["measured"] for c in result()) == after
    partly = [c for c in result() if 0 < c["measured"] < (c["images"] or 0)]
    assert all(c["difference"] is None for c in partly)
    monkeypatch.setattr(Measurements, "add", add)
    status, _, err = cli("tables", "--table", "t")
    assert (status, measured(err)) == (0, (21 - after, after))
    whole = result()
    cli("tables", "--table", "t", "--out", "other")
    assert whole == json.loads(Path("other/t.json").read_text())["cells"]


def test_a_line_cut_off_by_a_crash_is_measured_again(cli, table):
    cli("tables", "--table", "t")
    before = result()
    file = sorted(Path("results/measurements").glob("*.jsonl"))[0]
    content = file.read_bytes()
    lost = 0
    for cut in (1, 2, 30, len(content) // 2, len(content) - 5, len(content)):
        file.write_bytes(content[:-cut])
        status, _, err = cli("tables", "--table", "t")
        assert status == 0 and measured(err)[0] >= lost
        lost = measured(err)[0]
        assert result() == before
    assert lost > 0


def test_known_by_content_and_not_by_name(cli, table, photos):
    cli("tables", "--table", "t", "--sets", "mine")
    (photos / "a.png").rename(photos / "z.png")
    model = read_checkpoint(Path("runs/any/last.pt"))
    save_weights(Path("w.safetensors"), model.model, model.weights)
    again = ("tables", "--table", "t", "--sets", "mine", "--checkpoint", "any=w.safetensors")
    assert measured(cli(*again)[2]) == (0, 18)
    write_image(photos / "b.png", texture(44, 50, 7))
    assert measured(cli(*again)[2]) == (6, 12)
    other = build_model(model.model, seed=1).state_dict()
    save_weights(Path("w.safetensors"), model.model, other)
    assert measured(cli(*again)[2]) == (12, 6)  # all but bicubic's
    assert measured(cli(*again, "--precision", "bf16")[2]) == (12, 6)


def test_an_unfinished_run_is_said_to_be_one(cli, table):
    config = ModelConfig.model_validate(TINY)
    training = {"step": 250, "config": {"steps": 1000}}
    save_checkpoint(Path("runs/any/last.pt"), config, build_model(config).state_dict(), training)
    _, out, _ = cli("tables", "--table", "t", "--rows", "any", "--scales", "2")
    assert "step 250 of 1,000" in out


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--table", "u"], "--table u: no such table; known are t"),
        (["--table", "no.yaml"], "--table no.yaml: no such table"),
        (
            ["--table", "t", "--sets", "set5"],
            "--sets set5: not in this table, which has mine, faces",
        ),
        (["--table", "t", "--scales", "4"], "--scales 4: not in this table, which has 2, 3"),
        (["--table", "t", "--scales", "two"], "--scales two: must be numbers"),
        (
            ["--table", "t", "--rows", "edsr"],
            "--rows edsr: no row is called so; there are: Bicubic;",
        ),
        (["--table", "t", "--sets", "faces", "--scales", "3"], "nothing of the table is left"),
        (["--table", "t", "--checkpoint", "x"], "--checkpoint x: must be CONFIG=FILE"),
        (["--table", "t", "--checkpoint", "any=x"], "--checkpoint any=x: no such file"),
        (
            ["--table", "t", "--checkpoint", "a=configs/any.yaml"],
            "--checkpoint a: not in this table",
        ),
        (["--table", "t", "--out", "configs/any.yaml"], "cannot be written"),
        (["--table", "t", "--clip-cell", "0.5"], "must be a number from 1 to 1000"),
    ],
)
def test_mistakes(refused, table, options, said):
    assert said in refused("tables", *options)


def test_tables_that_are_wrong(refused, table):
    for text, said in [
        ("scales: [2]", "title: must be given"),
        (TABLE + "extra: 1\n", "extra: unknown key"),
        (TABLE.replace("[1, 2]", "1"), "rows.1.trained: must be a list"),
        (TABLE.replace("{mine: [20.5", "{yours: [20.5"), "there is no set 'yours'"),
        (TABLE.replace("[20.5, null]", "[20.5, 3, 4]"), "more numbers for 'mine' than scales"),
    ]:
        Path("configs/tables/t.yaml").write_text(text)
        assert said in refused("tables", "--table", "t")


def test_a_set_that_is_not_there(cli, refused, table):
    (table / "faces" / "f.png").unlink()
    status, out, _ = cli("tables", "--table", "t")
    assert status == 0 and "faces: no images" in out
    assert cell("Bicubic", 2, "faces")["missing"] and cell("Bicubic")["psnr"] > 0
    assert "faces: no images" in refused("tables", "--table", "t", "--sets", "faces")


def test_nothing_at_all_is_no_success(cli, table):
    status, out, err = cli("tables", "--table", "t", "--rows", "fixed")
    assert status == 1 and "nothing could be measured" in err and "configs/fixed-x2.yaml" in out


def test_lpips_where_it_is_not_installed(refused, table, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    assert 'pip install "liif[metrics]"' in refused("tables", "--table", "t", "--lpips")


def test_a_further_score(cli, table, monkeypatch):
    monkeypatch.setattr(command, "lpips_score", lambda device: lambda sr, hr, how: 0.25)
    _, out, _ = cli("tables", "--table", "t", "--lpips", "--sets", "mine")
    assert "| LPIPS |" in out and cell("Any scale")["lpips"] == cell("Bicubic")["lpips"] == 0.25


# The tables that come with the project


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_has_its_configurations_and_numbers(path):
    table = load_config(TableConfig, path)
    assert f"liif tables --table {path.stem}" in path.read_text()
    for row in table.rows:
        assert row.published.keys() <= table.sets.keys()
        for name, each in table.sets.items():
            scales = each.scales or table.scales
            assert len(row.published.get(name, ())) <= len(scales)
            load_config(TestConfig, path.parent / each.config, [f"scale={scales[0]}"])
            configs = {row.config and row.config.format(set=name, scale=f"{s:g}") for s in scales}
            there = {c for c in configs if c and (ROOT / "configs" / f"{c}.yaml").exists()}
            assert row.config is None or there


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_published_numbers_are_those_of_the_papers(path, shared):
    """Every row of numbers stands in the collection of published tables, digit for digit."""
    numbers = [re.findall(r"\d+\.\d\d(?!\d)", line) for line in
               (shared / "paper.md").read_text().splitlines()]  # fmt: skip
    for row in load_config(TableConfig, path).rows:
        for name, published in row.published.items():
            if row.config is None and name != "div2k":
                continue  # bicubic of the benchmark sets is measured below
            own = [f"{n:.2f}" for n in published]
            joined = " ".join(own)
            assert any(joined in " ".join(line) for line in numbers), (row.name, name)


# Bicubic as the literature has it


def test_bicubic_of_set5_is_the_published_one(shared):
    folder = shared / "data" / "benchmark" / "Set5"
    for scale, published in ((2, 33.66), (3, 30.39), (4, 28.42)):
        pairs = open_pairs(folder / "HR", scale=(scale, scale), lr=folder / f"LR_bicubic/X{scale}")
        how = protocol("benchmark", (scale, scale))
        found = [bicubic_scores(pair, (scale, scale), how)["psnr"] for pair in pairs]
        assert round(sum(found) / len(found), 2) == published


def test_bicubic_scores_under_an_rgb_protocol():
    hr = texture(24, 30)
    pair = Pair("p", matlab_bicubic(hr, (12, 15)), hr)
    found = bicubic_scores(pair, (2, 2), protocol("none", (2, 2)))
    error = (matlab_bicubic(pair.lr, (24, 30)).astype(float) - hr) / 255
    assert found["psnr"] == found["psnr_rgb"] == pytest.approx(-10 * np.log10((error**2).mean()))
    assert found["lpips"] is None


# The official weights


@pytest.mark.parametrize(("scale", "expected"), [(4, 32.2394), (8, 26.9824)])
def test_the_official_weights_in_the_table(cli, shared, tmp_path, monkeypatch, scale, expected):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LIIF_DATA", str(shared / "data"))
    status, _, _ = cli(
        *("tables", "--table", "benchmark", "--sets", "set5", "--scales", scale, "--rows", "liif"),
        *("--checkpoint", f"edsr-liif={shared / 'weights' / 'edsr-baseline-liif.pth'}"),
        *("--out", tmp_path),
    )
    cells = json.loads((tmp_path / "benchmark.json").read_text())["cells"]
    (ours,) = [c for c in cells if c["row"] == "EDSR-baseline-LIIF"]
    assert status == 0 and abs(ours["psnr"] - expected) < 0.0005
    assert ours["trained"] == (scale == 4) and abs(ours["difference"]) < 0.01


# Ways of testing that are off by default


@pytest.fixture
def model(tiny_checkpoint) -> SRModel:
    return load(tiny_checkpoint)


def enlarged(model, lr, size, **by):
    return torch.cat(list(strips(model, lr, size, Means(**by))), dim=1)


def image(h=9, w=12, seed=0):
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed))


def test_self_ensemble_is_the_mean_over_flips_and_transpositions(model):
    lr, size = image(), (20, 31)
    found = enlarged(model, lr, size, self_ensemble=True)
    total = torch.zeros(3, *size)
    for transpose in (False, True):
        for quarter in range(4):
            turned = torch.rot90(lr.transpose(1, 2) if transpose else lr, quarter, (1, 2))
            flat = (quarter + transpose) % 2
            out = enlarged(model, turned, size[::-1] if flat else size)
            out = torch.rot90(out, -quarter, (1, 2))
            total += out.transpose(1, 2) if transpose else out
    assert (found - total / 8).abs().max() < 1e-5
    mirrored = enlarged(model, lr.flip(2), size, self_ensemble=True)
    assert (mirrored.flip(2) - found).abs().max() < 1e-5
    assert (enlarged(model, lr, size) - found).abs().max() > 1e-3


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_clipped_cells(model, engine):
    lr, size = image(), (45, 60)
    plain = enlarged(model, lr, size, engine=engine)
    assert torch.equal(enlarged(model, lr, size, engine=engine, clip_cell=5.0), plain)
    clipped = enlarged(model, lr, size, engine=engine, clip_cell=2.0)
    assert (clipped - plain).abs().max() > 1e-4
    other = enlarged(model, lr, size, clip_cell=2.0)
    assert (clipped - other).abs().max() < 1e-5
    # Point by point, with the cell of an enlargement by 2.
    coord = grid_coord(*(pixel_centres(n, lr) for n in size))[None]
    cell_ = torch.tensor([[[2 / 18, 2 / 24]]])
    with torch.inference_mode():
        points = model.query(model.encode(lr[None]), coord, cell_)
    assert (points[0].T.view(3, *size) - clipped).abs().max() < 1e-4


def test_lanczos_from_a_first_enlargement(model):
    lr = image()
    first = enlarged(model, lr, (18, 24))
    found = enlarged(model, lr, (50, 37), lanczos_from=2)
    for channel, ours in zip(first, found, strict=True):
        expected = Image.fromarray(channel.numpy()).resize((37, 50), Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(expected), ours.numpy())
    assert torch.allclose(enlarged(model, lr, (18, 24), lanczos_from=2), first, atol=1e-6)


def test_rounding_before_scoring(model):
    pair = Pair("p", texture(12, 12), texture(24, 24))
    how = protocol("none", (2, 2))
    (plain,) = scores(model, [pair], how)
    (rounded,) = scores(model, [pair], how, Means(round=True))
    steps = rounded.sr * 255
    assert (steps - steps.round()).abs().max() < 1e-4
    assert (rounded.sr - plain.sr).abs().max() <= 0.5 / 255 + 1e-6
    assert rounded.psnr != plain.psnr
