"""A training step waits for the device once. That no model waits at all is in test_models.py."""

import pytest
import torch
from helpers.gpu import count_waits
from helpers.small_models import small_config

from liif.data.loader import Batch
from liif.training.state import new_state
from liif.training.step import train_step

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_a_step_waits_once(optimizer, precision, device):
    """For the loss and the norm of the gradient."""
    state = new_state(
        small_config(), seed=0, device=device, ema=0.9, optimizer=optimizer, precision=precision
    )
    shapes = (2, 3, 6, 6), (2, 8, 2), (2, 2), (2, 8, 3)
    batch = Batch(*(torch.rand(shape, device=device) for shape in shapes))
    state.update_ema()  # from the second time on it is an average
    with count_waits() as waits:
        train_step(
            state.model, state.optimizer, batch, learning_rate=1e-3, losses=state.losses,
            precision=precision, scaler=state.scaler, clip_gradient=0.1, accumulate=2,
        )  # fmt: skip
        state.update_ema()
    assert len(waits) == 1, waits
