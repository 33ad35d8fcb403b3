"""Values that are no image in [0, 1] are refused at every door of the Python interface."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.paths import ROOT
from PIL import Image

import liif
from liif.inference.predict import InferenceOptions, predict
from liif.models.build import ModelConfig, build_model

UNIT = torch.linspace(0, 1, 126).view(6, 7, 3).permute(2, 0, 1).contiguous()
SIZE = (9, 11)
POINT = torch.zeros(1, 1, 2)
REFERENCE, ENSEMBLE = InferenceOptions(engine="reference"), InferenceOptions(self_ensemble=True)


@pytest.fixture(scope="module")
def model():
    return build_model(ModelConfig.model_validate(TINY)).eval()


DOORS = {
    "upscale": lambda model, x: model.upscale(x, scale=1.5),
    "upscale of a batch": lambda model, x: model.upscale(x[None], SIZE),
    "upscale of an array": lambda model, x: model.upscale(x.permute(1, 2, 0).numpy(), SIZE),
    "upscale of gray": lambda model, x: model.upscale(x[0].numpy(), SIZE),
    "upscale of 16 bits": lambda model, x: model.upscale(x.half(), SIZE),
    "upscale of an image": lambda model, x: model.upscale(Image.fromarray(x[0].numpy()), SIZE),
    "strips": lambda model, x: list(model.strips(x[None], SIZE)),
    "encode": lambda model, x: model.encode(x[None]),
    "encoded": lambda model, x: model.encoded(x[None]),
    "forward": lambda model, x: model(x[None], POINT, POINT + 0.1),
    "predict": lambda model, x: predict(model, x, SIZE, InferenceOptions()),
    "predict, reference": lambda model, x: predict(model, x, SIZE, REFERENCE),
    "predict, ensemble": lambda model, x: predict(model, x, SIZE, ENSEMBLE),
}


@pytest.mark.parametrize("door", DOORS)
def test_other_ranges_are_refused_with_what_to_do(model, door):
    DOORS[door](model, UNIT)
    DOORS[door](model, UNIT * 1.4 - 0.2)  # overshoot of a filter
    for values, words in (
        (UNIT * 255, r"must have values in \[0, 1\], not from .*: divide by its white, e\.g\. 255"),
        (UNIT * 2 - 1, r"must have values in \[0, 1\], .*: of values in \[-1, 1\] give \(x \+ 1\)"),
        (UNIT / 0 * 0, r"must have values in \[0, 1\], not NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            DOORS[door](model, values)


def test_loaded_models_and_those_of_torch_hub_refuse_them(tiny_checkpoint):
    hub = runpy.run_path(str(Path(ROOT, "hubconf.py")))
    for model in (liif.load(tiny_checkpoint), hub["liif"](tiny_checkpoint)):
        with pytest.raises(ValueError, match="divide by its white"):
            model.upscale(UNIT * 255, scale=2)


def test_in_training_nothing_waits_for_the_values():
    model = build_model(ModelConfig.model_validate(TINY)).train()
    assert model(UNIT[None] * 255, POINT, POINT + 0.1).isfinite().all()


def test_integers_and_dark_images_are_images(model):
    assert model.upscale((UNIT * 255).byte(), scale=2).dtype == torch.uint8
    assert model.upscale(np.zeros((4, 4), np.float64), scale=2).shape == (8, 8)
    with pytest.raises(ValueError, match=r"not torch\.int32"):
        model.upscale((UNIT * 255).int(), scale=2)
