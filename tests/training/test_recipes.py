"""Every row of every table, end to end: its configuration trains for a few steps on photographs in
the layout of the real sets, and the tables are measured with these models."""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from liif.cli import main
from liif.core.config_file import load_config
from liif.data.paths import data_path
from liif.evaluation.config import TestConfig
from liif.evaluation.table_config import TableConfig, table_cells
from liif.images.resize import matlab_bicubic, pillow_bicubic
from liif.images.rgb8 import list_images, read_image, write_image
from liif.training.config import TrainConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # `runs` trains every configuration

ROOT = Path(__file__).parents[2]


def one_seed(path: Path, folder: Path) -> Path:
    """A table, in a folder with all configurations, with one seed where it has several, whose cells
    all go the same way."""
    configs = folder / "configs"
    (configs / "tables").mkdir(parents=True)
    for each in (ROOT / "configs").iterdir():
        if each.name != "tables":
            (configs / each.name).symlink_to(each)
    file = configs / "tables" / path.name
    file.write_text(re.sub(r"^seeds: .*", "seeds: [0]", path.read_text(), flags=re.MULTILINE))
    return file


def table_of(path: Path) -> TableConfig:
    with tempfile.TemporaryDirectory() as folder:
        return load_config(TableConfig, one_seed(path, Path(folder)))


TABLES = {path: table_of(path) for path in ROOT.glob("configs/tables/*.yaml")}
every_table = pytest.mark.parametrize("path", sorted(TABLES), ids=lambda path: path.stem)
CONFIGS = sorted(
    path.stem for path in (ROOT / "configs").glob("*.yaml") if not path.stem.startswith("test-")
)
RUNS = {(name, None): name for name in CONFIGS}
for path, table in TABLES.items():
    for cell in table_cells(table, path, sets=(), scales=(), rows="", overrides=()):
        if cell.config:
            RUNS[cell.config, cell.seed] = cell.run
"""Names of all runs, by training configuration and seed: of every file, and those of tables."""
SMALL_DATA = {"patch": 8, "queries": 64}
"""Values that shrink a section `train_data` that has such keys."""
STEPS = 4
RUN = {"steps": STEPS, "batch_size": 2, "workers": 0, "valid.every": STEPS, "valid.limit": 1}
CROP = 64
"""Side of the validation images of a training that has no pairs of its own."""


def shrunk(config):
    """Overrides with which a training takes a second. The scale of a network for one scale stays,
    and so does the depth of a decoder's MLP."""
    encoder, decoder = config.model.encoder, config.model.decoder
    values = {f"model.encoder.{key}": value for key, value in encoder.SMALL.items()}
    for key, value in decoder.SMALL.items():
        if key == "hidden" and isinstance(decoder.hidden, tuple):
            value = [16] * len(decoder.hidden)
        if key != "scale":
            values[f"model.decoder.{key}"] = value
    known = type(config.train_data).model_fields
    values |= {f"train_data.{key}": value for key, value in SMALL_DATA.items() if key in known}
    if "patch" in known:
        values["valid.crop"] = CROP
    if config.test is not None:
        values |= {"test.images": "photos/valid", "test.scales": [2]}
    return {**values, **RUN, "train_data.cache": "memory", "warm_up": min(config.warm_up, 2)}


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
    for folder in own_folders(root):
        if not folder.exists():
            for i, photo in enumerate(photos):
                write_image(folder / f"{i}.png", photo[:120, :132])
    return root


def own_folders(root):
    """The folders of photographs that configurations name, of any layout."""
    for name in CONFIGS:
        file = ROOT / "configs" / f"{name}.yaml"
        config = load_config(TrainConfig, file, [f"data_root={root}"])
        yield from (folder for key, folder in config.data_paths() if key.endswith("images"))
    for path, table in TABLES.items():
        for each in table.sets.values():
            test = load_config(TestConfig, path.parent / each.config, ["scale=2"])
            yield data_path(str(root), test.hr)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A folder with runs/ of all configurations, and the exit status of each."""
    folder = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(folder)
    status = {}
    try:
        for (config, seed), name in RUNS.items():
            file = ROOT / "configs" / f"{config}.yaml"
            values = {"data_root": str(data), **shrunk(load_config(TrainConfig, file))}
            values |= {} if seed is None else {"seed": seed}
            options = [f"--set={key}={json.dumps(value)}" for key, value in values.items()]
            command = ["train", "--config", str(file), "--device=cpu", "--name", name, *options]
            status[name] = main(command)
    finally:
        os.chdir(before)
    return folder, status


@pytest.mark.parametrize("name", RUNS.values())
def test_trains_and_validates(runs, name):
    folder, status = runs
    assert status[name] == 0
    lines = (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    kinds = {line["kind"]: line for line in map(json.loads, lines)}
    assert kinds["train"]["step"] == kinds["valid"]["step"] == STEPS
    if "loss/nll" in kinds["train"]:  # a likelihood starts anywhere
        assert math.isfinite(kinds["train"]["loss"])
    else:
        assert 0 < kinds["train"]["loss"] < 2
    assert kinds["valid"]["mean_psnr"] > 3


@pytest.mark.parametrize("base", ["edsr-fixed-scale", "rdn-fixed-scale"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_networks_of_one_scale_learn_from_all_pixels(base, scale):
    name = f"{base.partition('-')[0]}-x{scale}"
    config = load_config(TrainConfig, ROOT / "configs" / f"{name}.yaml")
    assert config.model.decoder.scale == scale
    assert name.endswith(str(scale)) and config.train_data.lr.endswith(f"X{scale}")
    assert config.train_data.queries == (config.train_data.patch * scale) ** 2
    assert config.valid.scales == (scale,)


@every_table
def test_every_cell_is_measured(runs, data, path, tmp_path):
    """All cells of small tables; of large ones, which take minutes, those of one scale."""
    folder, _ = runs
    options = ("--data-root", data, "--runs", folder / "runs", "-o", tmp_path, "--device", "cpu")
    table = TABLES[path]
    file = one_seed(path, tmp_path)
    if len(table.rows) * len(table.scales) > 25:
        options += ("--scales", 4 if 4 in table.scales else table.scales[-1])
    assert main(["tables", "--table", str(file), *map(str, options)]) == 0
    cells = json.loads((tmp_path / f"{path.stem}.json").read_text())["cells"]
    assert all(cell["measured"] == cell["images"] > 0 and cell["psnr"] > 3 for cell in cells)
    assert {cell["missing"] for cell in cells} == {None}
    text = (tmp_path / f"{path.stem}.md").read_text()
    assert "Not measured" not in text and text.count(f"step {STEPS} of {STEPS}") > 0
    if path.stem == "div2k":
        lanczos, own = (
            next(c["psnr"] for c in cells if c["row"] == row and c["scale"] == 4)
            for row in ("EDSR-baseline x4, then Lanczos", "EDSR-baseline, a network for each scale")
        )
        assert lanczos == pytest.approx(own, abs=1e-3)  # at x4 there is nothing left to resample


@every_table
def test_reproduction_in_a_dry_run(path):
    """Every command of scripts/reproduce.sh, in order, with the time that a row takes."""
    folder = Path(sys.executable).parent
    done = subprocess.run(
        [ROOT / "scripts" / "reproduce.sh", "--dry-run", path.stem],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "GPUS": "4"},
    )
    table = TABLES[path]
    is_later = path.stem == "later"
    of_paper = (table.source or "").startswith("Chen et al., CVPR 2021")
    if not of_paper and not is_later:
        assert done.returncode == 1 and "reproduce.sh [--dry-run] div2k|benchmark" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    commands = [line.split() for line in lines if line.startswith("+ ")]
    assert commands[0][1:4] == ["liif", "data", "download"] and commands[-1][1:3] == [
        "liif",
        "tables",
    ]
    trained = [Path(command[-1]).stem for command in commands[1:-1]]
    assert all(line[:2] == ["+", "torchrun"] for line in commands[1:-1])
    assert (
        set(trained) <= set(CONFIGS)
        and len(trained) >= sum(r.config is not None for r in table.rows) - 2
    )
    timed = [line.split()[1].rstrip(":") for line in lines if line.startswith("# ")]
    assert timed == ([name for name in trained if name in timed] if is_later else trained)
    for name in trained:  # a second stage comes after the first, whose weights it starts from
        init = load_config(TrainConfig, ROOT / "configs" / f"{name}.yaml").init
        if init is not None:
            assert Path(init).parent.name in trained[: trained.index(name)]
