"""How often the host waits for the device, which then has nothing to do."""

import pytest
import torch
from helpers.gpu import count_waits
from helpers.small_models import every_decoder, small, small_config

from liif.data.loader import Batch
from liif.models import tiling
from liif.training.state import new_state
from liif.training.step import train_step

pytestmark = pytest.mark.gpu


@every_decoder
def test_an_image_waits_for_nothing(decoder, device, monkeypatch):
    """But for the means over all points that some decoders have: two waits each, one to add them up
    in float64 on the host and one to send them back, however many blocks there are."""
    model = small(decoder=decoder).eval().to(device)
    lr = torch.rand(1, 3, 8, 10, device=device)
    monkeypatch.setattr(tiling, "GPU_BLOCK_SIDE", 8)
    model.upscale(lr, (12, 20))
    with count_waits() as waits:
        model.upscale(lr, (12, 20))
    assert len(waits) <= (4 if model.decoder.has_statistics else 0), waits


@every_decoder
def test_a_step_waits_once(decoder, device):
    state = new_state(small_config(decoder=decoder), seed=0, device=device, ema=0.9)
    shapes = (2, 3, 6, 6), (2, 8, 2), (2, 2), (2, 8, 3)
    batch = Batch(*(torch.rand(shape, device=device) for shape in shapes))

    def step():
        train_step(
            state.model, state.optimizer, batch, learning_rate=1e-3, losses=state.losses,
            clip_gradient=0.1, accumulate=2,
        )  # fmt: skip
        state.update_ema()
        state.step += 1

    step()
    step()  # from here on the average moves
    with count_waits() as waits:
        step()
    assert len(waits) == 1, waits
