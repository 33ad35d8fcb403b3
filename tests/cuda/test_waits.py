"""A training step waits for the device once. That no model waits at all is in test_models.py."""

import pytest
import torch
from helpers.gpu import count_waits
from helpers.pictures import texture
from helpers.small_models import SMALL_DECODERS, small_config
from helpers.training import config

from liif.data.gpu import DeviceSampler
from liif.data.loader import Batch, batches
from liif.images.rgb8 import write_image
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


@pytest.mark.parametrize("decoder", SMALL_DECODERS)
def test_a_step_with_whole_crops_waits_once(decoder, device):
    """The pixels of a grid are found without asking the device where they lie."""
    state = new_state(small_config(decoder=decoder), seed=0, device=device)
    centre = (torch.arange(9, device=device) * 2 + 1) / 9 - 1
    coord = torch.stack(torch.meshgrid(centre, centre, indexing="ij"), dim=-1).view(1, -1, 2)
    lr, target = torch.rand(2, 3, 6, 6, device=device), torch.rand(2, 81, 3, device=device)
    cell = torch.full((2, 2), 2 / 9, device=device)
    batch = Batch(lr, coord.expand(2, -1, -1), cell, target, is_crop=True)
    with count_waits() as waits:
        train_step(state.model, state.optimizer, batch, learning_rate=1e-3, losses=state.losses)
    assert len(waits) == 1, waits


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Training samples of one photograph."""
    folder = tmp_path_factory.mktemp("photos")
    write_image(folder / "0.png", texture(60, 64))
    return config(folder).train_data.open_source(None)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_copied_without_waiting(workers, source, device):
    options = {"batch_size": 4, "start": 0, "stop": 2, "workers": workers, "pin_memory": True}
    for batch in batches(source, seed=0, **options):
        with count_waits() as waits:
            there = batch.to(device)
        assert not waits
        assert torch.equal(there.coord.cpu(), batch.coord)


def test_samples_are_made_on_the_device_without_waiting(source, device):
    options = {"batch_size": 4, "start": 0, "stop": 3, "pin_memory": True}
    supply = batches(source, seed=0, **options, device_sampler=DeviceSampler(source, device))
    next(supply)
    with count_waits() as waits:
        batch = next(supply).to(device)
    assert not waits and batch.lr.device == device
