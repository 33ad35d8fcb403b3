"""Inference options that are off by default: self-ensemble, clipped cells, Lanczos, rounding."""

import numpy as np
import pytest
import torch
from helpers.pictures import texture
from PIL import Image

from liif.core.distributed import Team
from liif.data.pairs import Pair
from liif.evaluation.evaluate import evaluate
from liif.evaluation.protocols import get_protocol
from liif.inference.predict import InferenceOptions, predict, predict_strips
from liif.models.checkpoint import load_checkpoint
from liif.models.geometry import grid_coord, pixel_centres
from liif.models.model import SRModel


@pytest.fixture
def model(tiny_checkpoint) -> SRModel:
    return load_checkpoint(tiny_checkpoint)


def enlarged(model, lr, size, **options):
    return predict(model, lr, size, InferenceOptions(**options))


def image(h=9, w=12, seed=0):
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed))


def test_self_ensemble_is_the_mean_over_flips_and_transpositions(model):
    lr, size = image(), (20, 31)
    found = enlarged(model, lr, size, self_ensemble=True)
    total = torch.zeros(3, *size)
    for transpose in (False, True):
        for quarter in range(4):
            turned = torch.rot90(lr.transpose(1, 2) if transpose else lr, quarter, (1, 2))
            flat = (quarter + transpose) % 2
            out = enlarged(model, turned, size[::-1] if flat else size)
            out = torch.rot90(out, -quarter, (1, 2))
            total += out.transpose(1, 2) if transpose else out
    assert (found - total / 8).abs().max() < 1e-5
    mirrored = enlarged(model, lr.flip(2), size, self_ensemble=True)
    assert (mirrored.flip(2) - found).abs().max() < 1e-5
    assert (enlarged(model, lr, size) - found).abs().max() > 1e-3


def test_rotation_ensemble_is_the_mean_over_four_rotations(model):
    lr, size = image(), (20, 31)
    found = enlarged(model, lr, size, rotation_ensemble=True)
    outputs = []
    for quarter in range(4):
        turned = torch.from_numpy(np.rot90(lr.numpy(), quarter, (1, 2)).copy())
        out = enlarged(model, turned, size[::-1] if quarter % 2 else size)
        outputs.append(np.rot90(out.numpy(), -quarter, (1, 2)))
    assert np.abs(found.numpy() - np.mean(outputs, axis=0)).max() < 1e-5
    assert (enlarged(model, lr, size, self_ensemble=True) - found).abs().max() > 1e-3


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_clipped_cells(model, engine):
    lr, size = image(), (45, 60)
    plain = enlarged(model, lr, size, engine=engine)
    assert torch.equal(enlarged(model, lr, size, engine=engine, clip_cell=5.0), plain)
    clipped = enlarged(model, lr, size, engine=engine, clip_cell=2.0)
    assert (clipped - plain).abs().max() > 1e-4
    other = enlarged(model, lr, size, clip_cell=2.0)
    assert (clipped - other).abs().max() < 1e-5
    # Point by point, with the cell of an enlargement by 2.
    coord = grid_coord(*(pixel_centres(n, lr) for n in size))[None]
    cell_ = torch.tensor([[[2 / 18, 2 / 24]]])
    with torch.inference_mode():
        points = model.query(model.encode(lr[None]), coord, cell_)
    assert (points[0].T.view(3, *size) - clipped).abs().max() < 1e-4


def test_lanczos_from_a_first_enlargement(model):
    lr = image()
    first = enlarged(model, lr, (18, 24))
    found = enlarged(model, lr, (50, 37), lanczos_from=2)
    for channel, ours in zip(first, found, strict=True):
        expected = Image.fromarray(channel.numpy()).resize((37, 50), Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(expected), ours.numpy())
    assert torch.allclose(enlarged(model, lr, (18, 24), lanczos_from=2), first, atol=1e-6)


def test_rounding_before_scoring(model):
    pair = Pair("p", texture(12, 12), texture(24, 24))
    protocol = get_protocol("none", (2, 2))
    (plain,) = evaluate(model, [pair], protocol)
    (rounded,) = evaluate(model, [pair], protocol, InferenceOptions(round=True))
    steps = rounded.sr * 255
    assert (steps - steps.round()).abs().max() < 1e-4
    assert (rounded.sr - plain.sr).abs().max() <= 0.5 / 255 + 1e-6
    assert rounded.psnr != plain.psnr


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_team_with_more_processes_than_rows(model, height):
    sent = {}

    class Peer(Team):
        def send(self, tensor):
            sent[self.rank] = tensor

        def receive(self, shape, rank):
            assert sent[rank].shape == shape
            return sent.pop(rank)

    lr, size = image(4, 5), (height, 13)
    for rank in (1, 2, 0):
        strips = list(predict_strips(model, lr, size, team=Peer(rank, 3)))
    assert torch.equal(torch.cat(strips, dim=1), predict(model, lr, size, InferenceOptions()))
    assert not sent
