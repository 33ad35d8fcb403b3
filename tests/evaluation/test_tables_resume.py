"""`liif tables` measures no image twice and loses no measurement."""

import json
from pathlib import Path

import pytest
from evaluation.test_tables import measured, result
from helpers.models import TINY
from helpers.pictures import texture

from liif.evaluation.measurements import MeasurementFile
from liif.images.rgb8 import write_image
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import read_checkpoint, save_checkpoint, save_weights


def test_a_second_run_measures_nothing_and_writes_the_same(cli, table):
    cli("tables", "--table", "t")
    first = [Path(f"results/t.{s}").read_bytes() for s in ("md", "csv", "tex", "json")]
    _, _, err = cli("tables", "--table", "t")
    assert measured(err) == (0, 21)
    assert first == [Path(f"results/t.{s}").read_bytes() for s in ("md", "csv", "tex", "json")]


@pytest.mark.parametrize("after", [0, 1, 4, 11, 20])
def test_an_interrupted_table_resumes(cli, table, monkeypatch, after):
    append, added = MeasurementFile.append, []

    def interrupted(self, measurement):
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(measurement["name"])
        append(self, measurement)

    monkeypatch.setattr(MeasurementFile, "append", interrupted)
    status, _, err = cli("tables", "--table", "t")
    assert status == 130 and measured(err) == (21, 0)
    assert sum(c["measured"] for c in result()) == after
    partly = [c for c in result() if 0 < c["measured"] < (c["images"] or 0)]
    assert all(c["difference"] is None for c in partly)
    monkeypatch.setattr(MeasurementFile, "append", append)
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


def test_images_and_models_are_identified_by_content(cli, table, photos):
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
    assert measured(cli(*again, "--precision", "bf16!")[2]) == (12, 6)


def test_the_step_of_an_unfinished_run_is_reported(cli, table):
    config = ModelConfig.model_validate(TINY)
    training = {"step": 250, "config": {"steps": 1000}}
    save_checkpoint(Path("runs/any/last.pt"), config, build_model(config).state_dict(), training)
    _, out, _ = cli("tables", "--table", "t", "--rows", "any", "--scales", "2")
    assert "step 250 of 1,000" in out
