"""The speedrun: its runner on a tiny record, the search for test pictures, what is committed."""

import functools
import importlib
import json
import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from helpers.models import TINY
from helpers.paths import ROOT
from helpers.pictures import texture
from PIL import Image

from liif.cli import main as liif_main
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import list_images, read_image, write_image

SPEEDRUN = ROOT / "speedrun"
NEW = {"scales": [2, 3, 4]}


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the speedrun, whose affinity and environment the test gets back."""
    monkeypatch.syspath_prepend(str(SPEEDRUN))
    return importlib.import_module


# Pictures


def changed(path, image, size, *, quality=60, mirror=False, turn=0):
    """Write a copy that is resized, recompressed, mirrored and turned."""
    copy = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS).rotate(turn, expand=True)
    copy = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else copy
    copy.save(path, quality=quality)
    return path


@pytest.fixture
def package(module):
    leaks = module("leaks")
    return {
        name: leaks.read_pictures(list_images(ROOT / "liif" / "photos" / name))
        for name in ("train", "test")
    }


def test_copies_are_found_and_other_pictures_are_not(module, package, tmp_path):
    leaks = module("leaks")
    assert leaks.find_leaks(package["train"], package["test"]) == []
    originals = package["train"][:3]
    assert [(a.training, a.test) for a in leaks.find_leaks(originals, package["train"])] == [
        (each.path, each.path) for each in originals
    ]
    first, second, third = (read_image(each.path) for each in originals)
    copies = [
        changed(tmp_path / "a.jpg", first, (300, 200)),
        changed(tmp_path / "b.jpg", second, (211, 300), mirror=True),
        changed(tmp_path / "c.jpg", third, (400, 280), turn=90, mirror=True),
    ]
    found = leaks.find_leaks(leaks.read_pictures(copies), package["train"])
    expected = [(c, o.path) for c, o in zip(copies, originals, strict=True)]
    assert [(each.training, each.test) for each in found] == expected
    assert all(0.95 < each.correlation < 1 for each in found)


@pytest.mark.parametrize("cut", ["training", "test"])
def test_a_crop_is_found(module, package, tmp_path, cut):
    leaks = module("leaks")
    original = package["train"][0]
    image = read_image(original.path)
    (height, width), part = image.shape[:2], 0.8
    crop = image[: round(height * part), round(width * (1 - part)) :]
    copy = leaks.read_picture(changed(tmp_path / "crop.jpg", crop, (320, 240)))
    sides = ([copy], package["train"]) if cut == "training" else (package["train"], [copy])
    assert [{a.training, a.test} for a in leaks.find_leaks(*sides)] == [{copy.path, original.path}]


def test_flat_pictures_are_no_copies(module, tmp_path):
    leaks = module("leaks")
    for name, value in (("black", 0), ("white", 255)):
        write_image(tmp_path / f"{name}.png", np.full((64, 64, 3), value, np.uint8))
    write_image(tmp_path / "texture.png", texture(64, 80))
    black, texture_, white = leaks.read_pictures(list_images(tmp_path))
    assert leaks.find_leaks([black, texture_], [white]) == []


TEST_FOLDERS = ("benchmark/Set5/HR", "benchmark/Set14/HR", "benchmark/B100/HR", "photos/valid")
KNOWN = ("302003.jpg", "woman.png")
"""The one picture of BSDS500 that is a test picture; the records exclude it."""


@functools.cache
def of_test_folders(leaks, data):
    folders = [data / name for name in TEST_FOLDERS if (data / name).is_dir()]
    folders.append(ROOT / "liif" / "photos" / "test")
    return leaks.read_pictures(file for folder in folders for file in list_images(folder))


EVERY = pytest.mark.slow
SETS = [("bsds400", 5), pytest.param("bsds400", 1, marks=EVERY), ("photos/train", 25)]
SETS.append(pytest.param("photos/train", 1, marks=EVERY))


@pytest.mark.parametrize(("name", "step"), SETS)
def test_no_test_picture_is_a_training_picture(module, benchmark_data, package, name, step):
    """The quick ones look at a part of the training pictures: all take 12 seconds to decode."""
    leaks = module("leaks")
    if not (benchmark_data / name).is_dir():
        pytest.skip(f"needs {name} in the data root")
    files = list_images(benchmark_data / name)
    first = next((i for i, file in enumerate(files) if file.name == KNOWN[0]), 0) % step
    training = leaks.read_pictures(files[first::step])
    tests = of_test_folders(leaks, benchmark_data)
    found = leaks.find_leaks([*package["train"], *training], tests)
    pairs = {(each.training.name, each.test.name) for each in found}
    assert pairs == ({KNOWN} if name == "bsds400" else set())


# The runner


@pytest.fixture
def data(folder):
    """A data folder with Set5, photos/valid and training photographs, all small."""
    for i in range(2):
        hr = texture(48, 60, seed=10 + i)
        write_image(folder / f"data/benchmark/Set5/HR/s{i}.png", hr)
        for scale in NEW["scales"]:
            lr = matlab_bicubic(hr, (48 // scale, 60 // scale))
            write_image(folder / f"data/benchmark/Set5/LR_bicubic/X{scale}/s{i}x{scale}.png", lr)
    write_image(folder / "data/photos/valid/v.png", texture(66, 72, seed=20))
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        write_image(folder / f"data/photos/train/t{i}.png", noise)
    return folder / "data"


@pytest.fixture
def record(folder):
    """A tiny record of two steps, among records of its own."""
    place = folder / "records" / "07-tiny"
    place.mkdir(parents=True)
    images = [{"path": "photos/train", "weight": 2}]
    train_data = {"sampling": "random-scale", "images": images, "cache": "none", "patch": 8}
    values = {"model": TINY, "train_data": {**train_data, "queries": 16}}
    values |= {"steps": 2, "batch_size": 2, "workers": 0}
    (place / "config.yaml").write_text(yaml.safe_dump(values))
    (place / "README.md").write_text("# 07-tiny: two steps\n")
    return place


@pytest.fixture
def speedrun(module, monkeypatch, record, capsys):
    """Runs the command on the tiny record, with the training in this process: (status, output)."""
    run = module("run")
    monkeypatch.setattr(run, "use_two_cores", lambda: "not restricted")
    score = {"matrix": 100.0, "convolution": 225.0, "score": 150.0}
    monkeypatch.setattr(run, "reference_score", lambda: score)
    monkeypatch.setattr(run, "start", lambda command, environment: liif_main(command[3:]))

    def start(*words):
        status = run.main([*map(str, words), "--records", str(record.parent)])
        out, err = capsys.readouterr()
        return status, out + err

    return start


def lower_targets(module, monkeypatch, psnr):
    targets = module("targets")
    lowered = tuple(each._replace(psnr=psnr) for each in targets.TARGETS)
    for name in ("targets", "run", "records"):
        monkeypatch.setattr(module(name), "TARGETS", lowered)


def log_lines(record):
    return [json.loads(line) for line in (record / "log.jsonl").read_text().splitlines()]


def test_a_record_is_run_tested_and_logged(module, monkeypatch, speedrun, record, data):
    lower_targets(module, monkeypatch, 1.0)
    status, text = speedrun("07", "--seed", 0, 1, "--data", data)
    assert status == 0, text
    assert text.count("pass  Set5 x2") == 2 and "FAIL" not in text
    first, second = log_lines(record)
    assert (first["seed"], second["seed"]) == (0, 1) and first["scores"] != second["scores"]
    assert first["record"] == "07-tiny" and first["passed"] is True and first["steps"] == 2
    assert first["config_sha256"] == module("records").config_hash(record)
    assert first["reference"]["score"] == 150.0 and first["seconds"] > 0
    assert first["reference_seconds"] == pytest.approx(1.5 * first["seconds"], abs=0.11)
    assert set(first["scores"]) == {"set5", "photos"}
    assert set(first["scores"]["set5"]) == {"x2", "x3", "x4"}
    assert {"liif", "torch", "python"} <= first["versions"].keys()
    assert first["data"]["photos/train"]["files"] == 3
    assert {"date", "processor", "cores", "threads", "load", "commit"} <= first.keys()
    assert str(data) not in json.dumps(first)


def test_a_missed_target_is_logged_and_fails(speedrun, record, data, monkeypatch):
    monkeypatch.setenv("LIIF_DATA", str(data))  # as everywhere
    status, text = speedrun("07-tiny")
    assert status == 1
    assert "FAIL  Set5 x2" in text and "pass  photographs" in text
    (line,) = log_lines(record)
    assert line["passed"] is False
    assert "not set yet: 1 trainings" in speedrun("--table")[1]


@pytest.mark.parametrize("source", ["benchmark/Set5/HR/s1.png", "photos/valid/v.png"])
def test_a_test_picture_in_training_is_refused(speedrun, record, data, source):
    with Image.open(data / source) as image:
        small = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        small.save(data / "photos/train/t9.png")
    status, text = speedrun("07-tiny", "--data", data)
    assert status == 1
    assert text.startswith("error: test pictures in training: ") and text.count("\n") == 1
    assert "t9.png is " in text and source in text
    assert not (record / "log.jsonl").exists()
    config = yaml.safe_load((record / "config.yaml").read_text())
    config["train_data"]["images"][0]["exclude"] = ["t9.png"]
    (record / "config.yaml").write_text(yaml.safe_dump(config))
    status, text = speedrun("07-tiny", "--data", data)
    assert status == 1 and "FAIL" in text  # a target is missed
    assert (record / "log.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": "edsr-light"}, "init: must be null: a record starts from random weights"),
        ({"valid": {"images": "photos/valid"}}, "valid: must be null: a record is tested after"),
        ({"step": 3}, "step: unknown key"),
    ],
)
def test_what_is_no_record_is_refused(speedrun, record, data, change, message):
    config = yaml.safe_load((record / "config.yaml").read_text())
    (record / "config.yaml").write_text(yaml.safe_dump({**config, **change}))
    status, text = speedrun("07-tiny", "--data", data)
    assert status == 1 and message in text and text.count("\n") == 1


def test_mistakes_take_one_line(speedrun, record, data):
    assert speedrun("08-none") == (1, "error: 08-none: no such record; choose from 07-tiny\n")
    shutil.rmtree(data / "photos/valid")
    status, text = speedrun("07-tiny", "--data", data)
    assert status == 1 and text.startswith("error: ") and "photos/valid" in text
    assert not (record / "log.jsonl").exists()


def test_the_table_has_means_and_lowest_scores(module, speedrun, record, monkeypatch):
    lower_targets(module, monkeypatch, 20.0)
    lines = [
        {
            "seed": seed, "seconds": 100 + seed, "reference_seconds": 50 + seed, "steps": 2000,
            "processor": "P", "scores": {
                "set5": {"x2": 37 + seed, "x3": 33, "x4": 31},
                "photos": {"x2": 30, "x3": 27, "x4": 24},
            },
        }
        for seed in range(3)
    ]  # fmt: skip
    write = (record / "log.jsonl").write_text
    write("".join(json.dumps(line) + "\n" for line in lines))
    row = speedrun("--table")[1].splitlines()[-1]
    assert "| two steps | 101 | 51 | 2,000 | 37.00 | 31.00 | 27.00 | P |" in row
    missed = {**lines[0], "scores": {**lines[0]["scores"], "set5": dict.fromkeys(["x2", "x4"], 9)}}
    write("".join(json.dumps(line) + "\n" for line in [*lines, missed]))
    assert "not set yet: 4 trainings" in speedrun("--table")[1]


# What is committed


RECORDS = sorted(file.parent for file in (SPEEDRUN / "records").glob("*/config.yaml"))


def test_every_directory_is_a_record():
    assert sorted(path for path in (SPEEDRUN / "records").iterdir() if path.is_dir()) == RECORDS
    numbers = [int(path.name.partition("-")[0]) for path in RECORDS]
    assert numbers == list(range(len(RECORDS)))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_is_complete_and_consistent(module, path):
    records, targets = module("records"), module("targets")
    config = records.load_record(path)
    allowed = {"builtin:train", "photos/train", "bsds400"}
    assert {name for _, name in config.data_folders()} <= allowed
    text = (path / "README.md").read_text()
    assert text.startswith(f"# {path.name}: ") and "\n## Ablation" in text
    for line in records.read_log(path):
        assert line["record"] == path.name and line["steps"] == config.steps
        assert line["config_sha256"] == records.config_hash(path)
        assert line["passed"] == targets.all_met(line["scores"])
        seconds = line["seconds"] * line["reference"]["score"] / 100
        assert line["reference_seconds"] == pytest.approx(seconds, rel=1e-3, abs=0.11)
        assert line["seconds"] > 0 and line["cores"] <= 2
        assert {"date", "processor", "threads", "versions", "commit", "data"} <= line.keys()


def test_bsds_is_used_without_its_test_picture():
    for path in RECORDS:
        for line in (path / "config.yaml").read_text().splitlines():
            assert "bsds400" not in line or f"exclude: [{KNOWN[0]}]" in line, path


def test_the_readme_has_the_table(module):
    assert module("records").table() in (SPEEDRUN / "README.md").read_text()


def test_the_score_is_the_mean_of_two_rates(module, monkeypatch):
    machine = module("machine")
    monkeypatch.setattr(machine, "matrix_rate", lambda device, precision, rows: 100e9)
    monkeypatch.setattr(machine, "convolution_rate", lambda device, precision: 225e9)
    score = {"matrix": 100.0, "convolution": 225.0, "score": 150.0}
    assert machine.reference_score() == score
    assert machine.description()["cores"] in (1, 2) and machine.description()["processor"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_two_physical_cores_are_used_and_two_threads(module, monkeypatch):
    machine = module("machine")
    chosen, threads = [], []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 4, 5, 6})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: chosen.append(cores))
    monkeypatch.setattr(machine, "_siblings", lambda core: {3, 4})
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert machine.use_two_cores() == "restricted to 2 of 4 cores: 3 and 5"
    assert (chosen, threads, os.environ["OMP_NUM_THREADS"]) == ([{3, 5}], [2], "2")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert machine.use_two_cores() == "2 threads on the 2 cores that there are"
    assert len(chosen) == 1


def test_siblings_of_a_core(module):
    assert 0 in module("machine")._siblings(0)
    assert module("machine")._siblings(10**6) == {10**6}
