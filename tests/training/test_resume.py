"""Which configuration continues a run, what is warned about, and branches."""

import json
import re
import shutil

import pytest
import torch
from helpers.pictures import texture
from helpers.training import assert_same_weights, config, metrics, weights
from PIL import Image
from pydantic import ValidationError

from liif.core.errors import UserError
from liif.models.checkpoint import read_checkpoint
from liif.training.config import TrainConfig
from liif.training.schedule import Schedule
from liif.training.train import train


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steps": 10, "warm_up": 11}, "warm_up: 11 is more than steps: 10"),
        ({"schedule": "cosine", "milestones": [10]}, r"milestones: \[10\] have no effect"),
        ({"schedule": "wsd", "steps": 9}, "cool_down: schedule: wsd needs the number of steps"),
        (
            {"schedule": "cosine", "cool_down": 3, "steps": 9},
            r"cool_down: 3 has no effect under schedule: cosine",
        ),
        (
            {"schedule": "wsd", "cool_down": 6, "warm_up": 4, "steps": 9},
            "beside warm_up: 4 are more than steps: 9; lower cool_down to at most 5",
        ),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(learnable, changes, reason):
    with pytest.raises(ValidationError, match=reason):
        config(learnable, **changes)


def test_a_cosine_takes_default_or_no_milestones(learnable):
    default = TrainConfig.model_fields["milestones"].default
    for milestones in ([], default):
        config(learnable, schedule="cosine", milestones=milestones, warm_up=24)


def test_the_rate_is_stable_between_warm_up_and_cool_down():
    schedule = Schedule(2.0, "wsd", steps=10, warm_up=2, cool_down=4)
    assert [schedule.at(step) for step in range(11)] == [1, 2, 2, 2, 2, 2, 2, 1.5, 1, 0.5, 0]


def test_a_run_may_grow_before_its_cool_down(learnable, tmp_path, caplog):
    stable = {"schedule": "wsd", "cool_down": 2, "milestones": [], "valid": None}
    stable |= {"save_every": 3, "keep_every": 3}
    assert train(config(learnable, steps=5, **stable), tmp_path)
    before = tmp_path / "step-00000003.pt"
    assert train(config(learnable, steps=8, **stable), tmp_path / "longer", resume=before)
    assert "learning rate" not in caplog.text
    whole = tmp_path / "whole"
    assert train(config(learnable, steps=8, **stable), whole)
    assert_same_weights(tmp_path / "longer", whole)


def test_a_longer_cosine_warns_of_the_jump(learnable, tmp_path, caplog):
    cosine = {"schedule": "cosine", "milestones": [], "valid": None}
    assert train(config(learnable, steps=4, **cosine), tmp_path)
    assert train(config(learnable, steps=8, **cosine), tmp_path)
    (warning,) = warnings_of(caplog)
    assert re.search(r"steps: 4 -> 8: .* at step 4 from 0 to 0\.0005", warning)


def test_validation_may_be_added_and_changed(learnable, tmp_path):
    assert train(config(learnable, steps=4, valid=None), tmp_path)
    assert train(config(learnable, steps=8), tmp_path)
    assert [line["step"] for line in metrics(tmp_path) if line["kind"] == "valid"] == [8]
    harder = {**config(learnable).valid.model_dump(), "scales": [4]}
    assert train(config(learnable, steps=16, valid=harder), tmp_path)
    # Scores at x4 are not compared with those at x2.
    last = metrics(tmp_path)[-1]
    assert last["kind"] == "valid" and last["step"] == 16 and "x4" in last["psnr"]
    assert read_checkpoint(tmp_path / "best.pt").training["best"] == last["mean_psnr"]


def test_a_key_that_was_removed_is_named(learnable, tmp_path):
    chosen = config(learnable, steps=2, valid=None)
    assert train(chosen, tmp_path)
    content = torch.load(tmp_path / "last.pt")
    content["training"]["config"]["momentum"] = 0.8
    torch.save(content, tmp_path / "last.pt")
    (tmp_path / "previous.pt").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"momentum: 0\.8 -> \(no such key.*--name NEW --resume"):
        train(chosen, tmp_path)


def test_the_same_images_may_move(learnable, tmp_path, caplog):
    assert train(config(learnable, steps=2), tmp_path / "run")
    moved = shutil.copytree(learnable, tmp_path / "elsewhere")
    assert train(config(moved, steps=4), tmp_path / "run")
    assert warnings_of(caplog) == []


def test_other_images_are_refused_and_replaced_ones_warned_about(learnable, tmp_path, caplog):
    photos = shutil.copytree(learnable, tmp_path / "photos")
    other = shutil.copytree(learnable, tmp_path / "other")
    (other / "0.png").unlink()
    assert train(config(photos, steps=2), tmp_path / "run")
    with pytest.raises(UserError, match=r"train_data\.images: .*photos.* -> .*other"):
        train(config(other, steps=4), tmp_path / "run")
    (photos / "0.png").unlink()
    assert train(config(photos, steps=4), tmp_path / "run")
    changed = [text for text in warnings_of(caplog) if "have changed since" in text]
    assert changed[0].startswith("train_data.images: ") and str(photos) in changed[0]


def test_a_branch_continues_with_another_configuration(learnable, tmp_path, caplog):
    caplog.set_level("INFO", "liif")
    run, branch = tmp_path / "run", tmp_path / "branch"
    assert train(config(learnable, steps=8), run)
    hot = config(learnable, steps=16, learning_rate=1e-2, batch_size=4, ema=0.9)
    with pytest.raises(UserError, match=r"learning_rate: .*branch off .*--name NEW --resume"):
        train(hot, run)
    assert not train(hot, branch, resume=run / "last.pt", stopping=lambda: True)
    assert read_checkpoint(branch / "last.pt").training["step"] >= 8
    assert any("branches off" in r.message and "0.001 -> 0.01" in r.message for r in caplog.records)
    assert train(hot, branch)  # the folder has a run of its own from the start
    assert read_checkpoint(run / "last.pt").training["step"] == 8
    lines = [line for line in metrics(branch) if line["kind"] == "train"]
    assert [line["step"] for line in lines] == [10, 15, 16]


def test_a_branch_without_changes_is_the_run(learnable, tmp_path):
    run, branch = tmp_path / "run", tmp_path / "branch"
    assert train(config(learnable, steps=8), run)
    assert train(config(learnable), branch, resume=run / "last.pt")
    assert train(config(learnable), run)
    assert_same_weights(run, branch)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "muon"},
        {"model": {"encoder": {"name": "rdn"}, "decoder": {"name": "liif", "hidden": [16]}}},
    ],
)
def test_a_branch_keeps_model_and_optimizer(learnable, tmp_path, changes):
    assert train(config(learnable, steps=2), tmp_path / "run")
    with pytest.raises(UserError, match=r"a branch keeps model and optimizer.*--set init="):
        train(config(learnable, **changes), tmp_path / "b", resume=tmp_path / "run" / "last.pt")
    assert not (tmp_path / "b" / "last.pt").exists()


def test_the_average_may_be_switched_off_in_a_branch(learnable, tmp_path):
    assert train(config(learnable, steps=4, ema=0.9), tmp_path / "run")
    raw = read_checkpoint(tmp_path / "run" / "last.pt").training["weights"]
    plain = config(learnable, steps=4, ema=None)
    assert train(plain, tmp_path / "plain", resume=tmp_path / "run" / "last.pt")
    for key, value in weights(tmp_path / "plain").items():
        assert torch.equal(value, raw[key])


def test_a_resumed_run_does_not_need_its_init(learnable, tmp_path):
    assert train(config(learnable, steps=2), tmp_path / "first")
    init = tmp_path / "first" / "last.safetensors"
    tuned = config(learnable, steps=2, init=str(init))
    assert train(tuned, tmp_path / "tuned")
    init.unlink()
    assert train(tuned.model_copy(update={"steps": 4}), tmp_path / "tuned")


def test_previous_is_an_older_step_than_last(learnable, tmp_path):
    assert train(config(learnable, steps=24, save_every=7), tmp_path)
    steps = {
        name: read_checkpoint(tmp_path / name).training["step"]
        for name in ("last.pt", "previous.pt")
    }
    assert steps == {"last.pt": 24, "previous.pt": 21}


def test_metrics_are_json(learnable, tmp_path):
    """SSIM of 8 pixels is undefined, PSNR of equal images infinite."""
    valid = {"images": str(learnable), "scales": [1], "crop": 10, "protocol": "none", "every": 2}

    def refuse(constant):
        pytest.fail(f"metrics.jsonl holds {constant}")

    assert train(config(learnable, steps=2, valid=valid), tmp_path)
    lines = [
        json.loads(line, parse_constant=refuse)
        for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    (line,) = [line for line in lines if line["kind"] == "valid"]
    assert line["ssim"] == {"x1": None}


def test_the_command_of_a_branch_also_resumes_it(learnable, tmp_path):
    run, branch = tmp_path / "run", tmp_path / "branch"
    assert train(config(learnable, steps=8), run)
    hot = config(learnable, steps=16, learning_rate=1e-2)
    calls = iter([False] * 2 + [True])
    assert not train(hot, branch, resume=run / "last.pt", stopping=lambda: next(calls))
    stopped = read_checkpoint(branch / "last.pt").training["step"]
    assert train(hot, branch, resume=run / "last.pt")
    assert 8 < stopped < 16
    with pytest.raises(UserError, match=r"holds a run of its own; omit --resume"):
        train(hot, branch, resume=run / "best.pt")


def test_images_replaced_by_others_of_the_same_size_are_warned_about(tmp_path, caplog):
    for name, seed in (("a", 0), ("b", 1)):
        Image.fromarray(texture(60, 70, seed)).save(tmp_path / f"{name}.bmp")
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(tmp_path / "a.bmp", photos / "0.bmp")
    assert train(config(photos, steps=2, valid=None), tmp_path / "run")
    assert train(config(photos, steps=4, valid=None), tmp_path / "run")
    assert warnings_of(caplog) == []
    shutil.copy(tmp_path / "b.bmp", photos / "0.bmp")
    assert train(config(photos, steps=6, valid=None), tmp_path / "run")
    assert any("have changed since" in text for text in warnings_of(caplog))


def test_a_cosine_that_was_all_warm_up_may_grow(learnable, tmp_path):
    cosine = {"schedule": "cosine", "milestones": [], "valid": None, "warm_up": 4}
    assert train(config(learnable, steps=4, **cosine), tmp_path)
    assert train(config(learnable, steps=8, **cosine), tmp_path)


def test_a_deterministic_run_keeps_its_number_of_threads(learnable, tmp_path):
    """Where more threads would add in another order."""
    one, more = tmp_path / "one", tmp_path / "more"
    exact = {"valid": None, "deterministic": True}
    try:
        assert train(config(learnable, steps=6, **exact), one)
        assert train(config(learnable, steps=3, **exact), more)
        torch.set_num_threads(3)
        assert train(config(learnable, steps=6, **exact), more)
        assert torch.get_num_threads() == 1
        assert_same_weights(one, more)
        torch.set_num_threads(3)
        assert train(config(learnable, steps=7, valid=None), more)
        assert torch.get_num_threads() == 3  # not asked for any longer
    finally:
        torch.set_num_threads(1)
    (more / "record.json").write_text("[{}]")  # written by an earlier version
    assert train(config(learnable, steps=8, **exact), more)
