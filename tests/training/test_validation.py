"""Validation and final test: checked before the first step, nothing lost, shared by processes."""

import shutil

import pytest
from helpers.training import CPU, config, metrics, state_of

import liif.evaluation.evaluate
import liif.training.validation
from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.images.resize import matlab_bicubic
from liif.models.checkpoint import read_checkpoint
from liif.training.config import FinalTestConfig
from liif.training.train import train
from liif.training.validation import FinalTest


@pytest.mark.parametrize("crop", [None, 48])
@pytest.mark.parametrize("section", ["valid", "test"])
def test_images_too_small_for_a_scale_are_refused_before_step_1(
    learnable, tmp_path, section, crop, monkeypatch
):
    def never(*args, **options):
        pytest.fail("a step was taken")

    monkeypatch.setattr(liif.training.train, "train_step", never)
    sets = {"images": str(learnable), "scales": [2, 200]}
    if section == "valid":
        sets |= {"crop": crop, "every": 3}
    with pytest.raises(UserError, match=rf"{section}\.images: .*0\.png: .*too small"):
        train(config(learnable, **{section: sets}), tmp_path / "run")


def test_a_crop_larger_than_an_image_is_refused(learnable, tmp_path):
    valid = {"images": str(learnable), "scales": [2], "crop": 65}
    with pytest.raises(UserError, match=r"valid\.images: .*0\.png: .*too small for crop"):
        train(config(learnable, valid=valid), tmp_path / "run")


def test_a_validation_that_fails_loses_no_step(learnable, tmp_path):
    photos = shutil.copytree(learnable, tmp_path / "photos")
    valid = {"images": str(photos), "scales": [2], "crop": None, "every": 3}
    whole = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(whole[:300])  # its header is good
    settings = config(learnable, steps=5, valid=valid, save_every=1000)
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"validation of step 3: .*1\.png(.|\n)*The run is saved"
        ):
            train(settings, tmp_path / "run")
        assert read_checkpoint(tmp_path / "run" / "last.pt").training["step"] == 3
    (photos / "1.png").write_bytes(whole)
    assert train(settings, tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "last.pt").training["validated"] == 5


def test_all_processes_take_part_in_the_final_test(learnable, tmp_path, monkeypatch):
    seen = []
    single = liif.training.validation.evaluate

    def shared(model, pairs, protocol, team, perceptual, bicubic, failures):
        seen.append((team.rank, len(pairs)))
        return single(model, pairs, protocol)

    monkeypatch.setattr(liif.training.validation, "evaluate", shared)
    monkeypatch.setattr(Team, "any", lambda self, flag: flag)
    test = FinalTest(FinalTestConfig(images=str(learnable), scales=(2, 3)), None)
    for rank in (0, 1):
        model, folder = state_of(config(learnable)).model, tmp_path / str(rank)
        assert test.run(model, folder, lambda: False, Team(rank, 2, CPU))
    assert seen == [(0, 6), (0, 6), (1, 6), (1, 6)]
    assert (tmp_path / "0" / "test.json").exists() and not (tmp_path / "1").exists()


@pytest.mark.parametrize("crop", [None, 48])
def test_bicubic_is_enlarged_once_for_all_validations(learnable, tmp_path, crop, monkeypatch):
    """Once for each image's score, and once for the picture of the first image, at each scale; the
    recorded numbers are those that a first validation finds."""
    sizes = []

    def counted(lr, size, **settings):
        sizes.append((lr.shape[:2], size))
        return matlab_bicubic(lr, size)

    monkeypatch.setattr(liif.evaluation.evaluate, "matlab_bicubic", counted)
    monkeypatch.setattr(liif.training.validation, "matlab_bicubic", counted)
    valid = {"images": str(learnable), "scales": [2, 3], "crop": crop, "every": 2, "limit": 4}
    train(config(learnable, steps=6, valid=valid), tmp_path / "run")
    assert len(sizes) == 2 * (4 + 1)
    found = [line for line in metrics(tmp_path / "run") if line["kind"] == "valid"]
    assert len(found) == 3 and found[0]["bicubic"] == found[1]["bicubic"] == found[2]["bicubic"]
    assert set(found[0]["bicubic"]) == {"x2", "x3"}


def test_a_final_test_can_be_stopped_and_is_repeated(learnable, tmp_path):
    settings = config(
        learnable, steps=2, valid=None, test={"images": str(learnable), "scales": [2, 3]}
    )
    assert not train(settings, tmp_path, stopping=(tmp_path / "last.safetensors").exists)
    assert not (tmp_path / "test.json").exists()
    assert train(settings, tmp_path)
    assert (tmp_path / "test.json").exists()
