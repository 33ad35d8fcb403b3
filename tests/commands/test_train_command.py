"""`liif train`: a run that can be tested; names and starting points that are none."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("folder")


def test_train_then_test(cli, refused, training, scoring):
    status, _, err = cli("train", "--config", training)
    assert status == 0 and "done: runs/r/last.pt" in err and "step 2/2: loss " in err
    status, out, _ = cli("test", "--config", scoring, "--set", "checkpoint=runs/r/last.pt")
    assert status == 0 and "mean mine x2" in out
    never = refused("train", "--config", training, "--resume", "never")
    assert "runs/r: holds a run already" in never
    assert "steps: 2" in Path("runs/r/config.yaml").read_text()


@pytest.mark.parametrize("name", ["a/b", "..", ".", "/abs", "x" * 300])
def test_names_of_runs_that_are_none(refused, training, name):
    assert name in refused("train", "--config", training, "--name", name)


def test_starting_points_that_are_none(refused, training, tiny_checkpoint):
    train = ("train", "--config", training)
    assert "no.pt: no such checkpoint file" in refused(*train, "--resume", "no.pt")
    assert "no.pt: no such checkpoint file" in refused(*train, "--set", "init=no.pt")
    assert "holds weights only" in refused(*train, "--resume", tiny_checkpoint)
    wider = refused(*train, "--set", f"init={tiny_checkpoint}", "--set", "model.encoder.width=9")
    assert "does not fit the model" in wider and "\n" not in wider.strip()
    assert "encoder.head.0.weight, is 8×3×3×3 there and 9×3×3×3 here" in wider


def test_training_images_that_cannot_be_used_are_told_with_their_key(refused, training, photos):
    train = ("train", "--config", training, "--set")
    missing = refused(*train, "train_data.images=[nowhere]")
    assert missing.startswith("error: train_data.images") and "nowhere: no such file" in missing
    gray = refused(*train, "model.channels={in: 5, out: 5}")
    assert "3 channels, but 5 needed (model.channels); set it to what" in gray
    assert "skip_broken" not in gray and gray.count("\n") == 1


def test_a_folder_without_a_configuration(cli, folder, photos, refused):
    """The small model, in a run of the folder's name; what it was trained on is recorded."""
    few = [f"--set={each}" for each in ("steps=1", "valid=null", "test=null", "batch_size=1",
           "warm_up=0", "cool_down=1", "train_data.patch=4")]  # fmt: skip
    assert cli("train", "--data", "photos", *few)[0] == 0
    text = Path("runs/photos/config.yaml").read_text()
    assert f"images: {photos}" in text and Path("runs/photos/last.safetensors").exists()
    assert cli("train", "--config", "runs/photos/config.yaml", "--name", "photos")[0] == 0
    pairs = "train_data={sampling: pairs, lr: photos, hr: photos}"
    said = refused("train", "--data", "photos", "--set", pairs)
    assert "--data: sampling: pairs needs two folders" in said
