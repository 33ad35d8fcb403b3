"""Initial weights of parts of the model from other models."""

import pytest
import torch
from helpers.training import config, state_of
from pydantic import ValidationError

from liif.core.errors import UserError
from liif.models.build import build_model
from liif.models.checkpoint import save_weights
from liif.training.train import train


@pytest.fixture
def files(learnable, tmp_path):
    """Weights of two models with the same encoder's configuration, and other decoders."""
    files = {}
    for name, hidden in (("same", [16]), ("other", [24])):
        decoder = {"name": "liif", "hidden": hidden}
        encoder = {"name": "edsr-baseline", "blocks": 1, "width": 8}
        model = config(learnable, model={"encoder": encoder, "decoder": decoder}).model
        files[name] = str(tmp_path / f"{name}.safetensors")
        save_weights(
            tmp_path / f"{name}.safetensors", model, build_model(model, seed=7).state_dict()
        )
    return files


def test_a_part_comes_from_another_model(learnable, files):
    fresh = state_of(config(learnable)).model.state_dict()
    both = state_of(config(learnable, init=files["same"])).model.state_dict()
    encoder = state_of(config(learnable, init={"encoder": files["other"]})).model.state_dict()
    decoder = state_of(config(learnable, init={"decoder": files["same"]})).model.state_dict()
    for key in fresh:
        is_encoder = key.startswith("encoder.")
        assert not torch.equal(fresh[key], both[key])
        if is_encoder:
            assert torch.equal(encoder[key], both[key]) and torch.equal(decoder[key], fresh[key])
        else:
            assert torch.equal(encoder[key], fresh[key]) and torch.equal(decoder[key], both[key])


def test_a_part_that_does_not_fit_is_named(learnable, files, tmp_path):
    chosen = config(learnable, init={"encoder": files["same"], "decoder": files["other"]})
    with pytest.raises(UserError, match=r"init\.decoder: .*other.*: its decoder does not fit") as e:
        train(chosen, tmp_path / "run")
    assert "\n" not in str(e.value) and not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"nowhere\.pt"):
        state_of(config(learnable, init={"encoder": str(tmp_path / "nowhere.pt")}))


@pytest.mark.parametrize(
    "init", [3, {}, {"encoder": None}, {"encoder": 3}, {"head": "a.pt"}, ["a"]]
)
def test_values_without_a_meaning(learnable, init):
    with pytest.raises(ValidationError, match="must be a file or name, or one for a part"):
        config(learnable, init=init)


def test_a_resumed_run_names_what_changed(learnable, files, tmp_path):
    assert train(config(learnable, steps=1, valid=None), tmp_path / "a")
    with pytest.raises(UserError, match=r"\(init\.encoder: None -> "):
        train(config(learnable, valid=None, init={"encoder": files["other"]}), tmp_path / "a")
    parts = config(learnable, steps=1, valid=None, init={"encoder": files["other"]})
    assert train(parts, tmp_path / "b")
    assert train(parts.model_copy(update={"steps": 2}), tmp_path / "b")
    with pytest.raises(UserError, match=r"\(init\.encoder: '.*' -> None\)"):
        train(config(learnable, valid=None), tmp_path / "b")
