"""Every row of every table, end to end: its configuration trains for a few steps on photographs in
the layout of the real sets, and the tables are measured with these models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from liif.cli import main
from liif.core.config_file import load_config
from liif.evaluation.table_config import TableConfig
from liif.images.resize import matlab_bicubic, pillow_bicubic
from liif.images.rgb8 import list_images, read_image, write_image
from liif.training.config import TrainConfig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TABLES = sorted((ROOT / "configs" / "tables").glob("*.yaml"))
CONFIGS = sorted(
    path.stem
    for path in (ROOT / "configs").glob("*.yaml")
    if not path.stem.startswith("test-") and path.stem != "quickstart"
)
SMALL = {
    "edsr-baseline": {"model.encoder.blocks": 1, "model.encoder.width": 8},
    "rdn": {"model.encoder.configuration": "A", "model.encoder.width": 8},
    "liif": {"model.decoder.hidden": "[16, 16, 16, 16]"},
    "metasr": {"model.decoder.hidden": 8},
    "upsampler": {"model.decoder.width": 8},
    "random-scale": {"train_data.patch": 12, "train_data.queries": 64, "valid.crop": 64},
    "pairs": {"train_data.patch": 8, "train_data.queries": 64, "valid.crop": 64},
    "size-varied": {"train_data.queries": 64},
}
"""What shrinks each part."""
STEPS = 4
RUN = {"steps": STEPS, "batch_size": 2, "workers": 0, "valid.every": STEPS, "valid.limit": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The layout of the real sets, filled with pieces of the package's photographs."""
    root = tmp_path_factory.mktemp("data")
    photos = [read_image(p) for p in list_images(ROOT / "liif" / "photos" / "train")[:3]]

    def fill(folder, names, side, scales):
        for photo, name in zip(photos, names, strict=False):
            hr = photo[:side, : side + 12]
            write_image(root / folder.format("HR") / f"{name}.png", hr)
            for s in scales:
                lr = matlab_bicubic(hr, (hr.shape[0] // s, hr.shape[1] // s))
                write_image(root / folder.format("LR_bicubic") / f"X{s}" / f"{name}x{s}.png", lr)

    fill("DIV2K/DIV2K_train_{}", ["0001", "0002", "0003"], 96, (2, 3, 4))
    fill("DIV2K/DIV2K_valid_{}", ["0801"], 120, (2, 3, 4))
    for name in ("Set5", "Set14", "B100", "Urban100"):
        fill(f"benchmark/{name}/{{}}", ["a"], 72, (2, 3, 4))
    write_image(root / "photos" / "valid" / "p.png", photos[0][:120, :132])
    for i, photo in enumerate(photos):
        part = "test" if i == 0 else "train"
        for side in (256, 128, 64, 32):
            face = pillow_bicubic(photo[:256, :256], (side, side))
            write_image(root / f"CelebAHQ/{side}/{part}/{i}.png", face)
    return root


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A folder with runs/ of all configurations, and the exit status of each."""
    folder = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(folder)
    status = {}
    try:
        for name in CONFIGS:
            file = ROOT / "configs" / f"{name}.yaml"
            config = load_config(TrainConfig, file)
            values = {"data_root": data, "train_data.cache": "memory", **RUN}
            values["warm_up"] = min(config.warm_up, 2)
            for part in (config.model.encoder.name, config.model.decoder.name):
                values |= SMALL[part]
            if name == "edsr-liif-d":
                values["model.decoder.hidden"] = "[16, 16]"
            values |= SMALL[config.train_data.sampling]
            overrides = [f"--set={key}={value}" for key, value in values.items()]
            status[name] = main(["train", "--config", str(file), "--device=cpu", *overrides])
    finally:
        os.chdir(before)
    return folder, status


@pytest.mark.parametrize("name", CONFIGS)
def test_trains_and_validates(runs, name):
    folder, status = runs
    assert status[name] == 0
    lines = (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    kinds = {line["kind"]: line for line in map(json.loads, lines)}
    assert kinds["train"]["step"] == kinds["valid"]["step"] == STEPS
    assert 0 < kinds["train"]["loss"] < 2 and kinds["valid"]["mean_psnr"] > 3


@pytest.mark.parametrize("name", [n for n in CONFIGS if n[:-1] in ("edsr-x", "rdn-x")])
def test_networks_of_one_scale_learn_from_all_pixels(name):
    config = load_config(TrainConfig, ROOT / "configs" / f"{name}.yaml")
    scale = config.model.decoder.scale
    assert name.endswith(str(scale)) and config.train_data.lr.endswith(f"X{scale}")
    assert config.train_data.queries == (config.train_data.patch * scale) ** 2
    assert config.valid.scales == (scale,)


@pytest.mark.parametrize("scales", [4, None])
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_cell_is_measured(runs, data, path, scales, tmp_path):
    folder, _ = runs
    options = ("--data-root", data, "--runs", folder / "runs", "-o", tmp_path, "--device", "cpu")
    if scales and path.stem != "celebahq":  # whose sets have a scale each
        options += ("--scales", scales)
    if scales and path.stem == "benchmark":
        options += ("--sets", "set5")
    assert main(["tables", "--table", str(path), *map(str, options)]) == 0
    cells = json.loads((tmp_path / f"{path.stem}.json").read_text())["cells"]
    assert all(cell["measured"] == cell["images"] == 1 and cell["psnr"] > 3 for cell in cells)
    assert {cell["missing"] for cell in cells} == {None}
    text = (tmp_path / f"{path.stem}.md").read_text()
    assert "Not measured" not in text and text.count(f"step {STEPS} of {STEPS}") > 0
    if path.stem == "div2k":
        lanczos, own = (
            next(c["psnr"] for c in cells if c["row"] == row and c["scale"] == 4)
            for row in ("EDSR-baseline x4, then Lanczos", "EDSR-baseline, a network for each scale")
        )
        assert lanczos == pytest.approx(own, abs=1e-3)  # at x4 there is nothing left to resample


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_reproduction_in_a_dry_run(path):
    """Every command of scripts/reproduce.sh, in order, with the time that a row takes."""
    folder = Path(sys.executable).parent
    done = subprocess.run(
        [ROOT / "scripts" / "reproduce.sh", "--dry-run", path.stem],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "GPUS": "4"},
    )
    if "photos" in path.stem or path.stem == "light":  # not one of the paper's
        assert done.returncode == 1 and "reproduce.sh [--dry-run] div2k|benchmark" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    commands = [line.split() for line in lines if line.startswith("+ ")]
    assert commands[0][1:3] == ["liif", "download"] and commands[-1][1:3] == ["liif", "tables"]
    trained = [Path(command[-1]).stem for command in commands[1:-1]]
    table = load_config(TableConfig, path)
    assert all(line[:2] == ["+", "torchrun"] for line in commands[1:-1])
    assert (
        set(trained) <= set(CONFIGS)
        and len(trained) >= sum(r.config is not None for r in table.rows) - 2
    )
    assert [line.split()[1].rstrip(":") for line in lines if line.startswith("# ")] == trained
