"""The key `loss` of a configuration."""

import pytest
from helpers.configs import TRAIN, mistakes
from helpers.losses import COMPARISONS, small_loss
from helpers.training import config
from pydantic import ValidationError

from liif.core.config_file import load_config
from liif.training.config import TrainConfig


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("[]", "loss: must have at least one term, such as [{name: l1}]"),
        ("[{name: l1}, {name: mse}, {name: l1}]", "loss: l1 is given twice; remove one"),
        ("[{name: l1, weight: -1}]", "loss.0.weight: must be greater than 0, not -1"),
        ("[{name: l1}, {name: mse, weight: 0}]", "loss.1.weight: must be greater than 0, not 0"),
        ("[{name: l1, weight: .nan}]", "loss.0.weight: must be a finite number, not NaN"),
        ("[{name: l1, weight: .inf}]", "loss.0.weight: must be a finite number"),
        ("[{name: charbonier}]", "unknown name 'charbonier'; did you mean 'charbonnier'? choose"),
        ("[{weight: 1}]", "loss.0: name must be given; choose from adversarial, charbonnier"),
        ("[{name: l1, wieght: 1}]", "loss.0.wieght: unknown key; did you mean 'weight'?"),
        ("[{name: ms-ssim, scales: 6}]", "loss.0.scales: must be less than or equal to 5, not 6"),
        ("[3]", "loss.0: must be keys and values, not 3"),
        ("3", "loss: must be a list, not 3"),
        (
            "[{name: l1}, {name: fft}, {name: vgg}]",
            "loss: fft, vgg cannot compare scattered points; set train_data.layout: patch",
        ),
    ],
)
def test_wrong_losses_are_one_line(yaml_file, loss, said):
    message = mistakes(TrainConfig, yaml_file(TRAIN), f"loss={loss}")
    assert said in message and "\n" not in message


@pytest.mark.parametrize("loss", ["charbonnier", "[charbonnier]", "{name: charbonnier}"])
def test_a_name_is_enough(yaml_file, loss):
    path = yaml_file(TRAIN)
    short, long = (
        load_config(TrainConfig, path, [f"loss={each}"]) for each in (loss, "[{name: charbonnier}]")
    )
    assert short == long


@pytest.mark.parametrize("name", COMPARISONS)
def test_losses_that_need_patches_say_how_large(learnable, tmp_path, name):
    loss = small_loss(name, tmp_path)
    data = config(learnable).train_data.model_dump() | {"layout": "patch", "patch": 200}
    side = loss.smallest_patch
    if side:
        points = data | {"layout": "points", "queries": side**2}
        with pytest.raises(ValidationError, match=f"loss: {name} cannot compare scattered points"):
            config(learnable, train_data=points, loss=[loss.model_dump()])
    if side > 1:
        small = data | {"queries": (side - 1) ** 2}
        with pytest.raises(
            ValidationError, match=f"{name} needs patches of at least {side}×{side}"
        ):
            config(learnable, train_data=small, loss=[loss.model_dump()])
    assert config(
        learnable, train_data=data | {"queries": max(side, 1) ** 2}, loss=[loss.model_dump()]
    )
