"""Scoring in the background of the model: the same scores in order, nothing lost, bicubic once."""

from dataclasses import replace

import pytest
import torch
from helpers.pictures import texture

from liif.core.parallel import _start_workers
from liif.data.pairs import Pair
from liif.evaluation import evaluate as module
from liif.evaluation.evaluate import evaluate
from liif.evaluation.metrics import psnr, ssim
from liif.evaluation.protocols import get_protocol
from liif.images.convert import to_tensor
from liif.images.resize import matlab_bicubic, pillow_bicubic
from liif.inference.predict import predict
from liif.models.checkpoint import load_checkpoint

PROTOCOL = get_protocol("benchmark", (2, 2))


@pytest.fixture
def model(tiny_checkpoint):
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(params=[1, 3])
def threads(request):
    _start_workers.cache_clear()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.fixture
def pairs() -> list[Pair]:
    found = []
    for i, side in enumerate((40, 24, 32, 28, 36)):
        hr = texture(side, side + 4, i)
        found.append(Pair(f"{i}", pillow_bicubic(hr, (side // 2, side // 2 + 2)), hr))
    return found


def test_the_scores_are_those_of_one_thread(model, pairs, threads):
    known = {}
    scores = list(evaluate(model, pairs, PROTOCOL, bicubic=known))
    torch.set_num_threads(1)
    for pair, score in zip(pairs, scores, strict=True):
        hr, size = to_tensor(pair.hr), pair.hr.shape[:2]
        assert score.name == pair.name and score.pair is pair
        assert score.psnr == score.psnr_y == psnr(score.sr, hr, PROTOCOL)
        assert score.psnr_rgb == psnr(score.sr, hr, replace(PROTOCOL, luma=False))
        assert score.ssim == ssim(score.sr, hr, PROTOCOL)
        assert score.bicubic == psnr(to_tensor(matlab_bicubic(pair.lr, size)), hr, PROTOCOL)
    assert known == {score.name: score.bicubic for score in scores}


def test_scores_before_an_interruption_are_not_lost(model, pairs, threads, monkeypatch):
    """Also where they were computed while the image was enlarged that was interrupted."""
    enlarged = []

    def interrupted(*arguments, **settings):
        enlarged.append(1)
        if len(enlarged) == 4:
            raise KeyboardInterrupt
        return predict(*arguments)

    monkeypatch.setattr(module, "predict", interrupted)
    scores = evaluate(model, pairs, PROTOCOL)
    assert [next(scores).name for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(KeyboardInterrupt):
        next(scores)


def test_bicubic_is_computed_once_for_several_evaluations(model, pairs, threads, monkeypatch):
    sizes = []

    def counted(lr, size, **settings):
        sizes.append(size)
        return matlab_bicubic(lr, size)

    monkeypatch.setattr(module, "matlab_bicubic", counted)
    known = {}
    first, second = (
        [score.bicubic for score in evaluate(model, pairs[:n], PROTOCOL, bicubic=known)]
        for n in (3, 5)
    )
    assert second[:3] == first and len(set(second)) == 5
    assert sorted(sizes) == sorted(pair.hr.shape[:2] for pair in pairs)
