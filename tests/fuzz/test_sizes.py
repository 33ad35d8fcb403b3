"""Pictures from 1×1 on, any scale: the size that was asked for in finite colours, or ValueError."""

import math

import numpy as np
import pytest
import torch
from helpers.models import TINY
from helpers.small_models import SMALL_DECODERS
from hypothesis import given
from hypothesis import strategies as st

from fuzz.cases import confine, many, within_limits
from liif.cli import main
from liif.images.rgb8 import read_image, write_image
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.timeout(0)  # cases have their own

VARIANTS = [*SMALL_DECODERS.values(), {**TINY["decoder"], "local_ensemble": False}]
MODELS = [
    build_model(ModelConfig.model_validate({**TINY, "decoder": decoder})).eval()
    for decoder in VARIANTS
]
SIDES = st.integers(1, 5) | st.integers(1, 33)
SCALES = st.floats(0.3, 30) | st.integers(1, 30) | st.sampled_from([0.5, 1.5, 2.5, 1 / 3, 29.999])
LARGEST = 20_000  # pixels of a result: a case takes milliseconds


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return confine(tmp_path, monkeypatch)


def picture(height, width):
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(3, height, width, generator=generator)


def shrunk(lr, scale):
    """A scale at which the result stays small, of the same kind."""
    while math.prod(max(1, n * s) for n, s in zip(lr, scale, strict=True)) > LARGEST:
        scale = scale[0] / 1.7, scale[1] / 1.3
    return scale


@many
@given(
    lr=st.tuples(SIDES, SIDES), scale=st.tuples(SCALES, SCALES), model=st.sampled_from(MODELS),
    memory=st.none() | st.integers(1, 10**6),
)  # fmt: skip
def test_any_size_at_any_scale(folder, lr, scale, model, memory):
    scale = shrunk(lr, scale)
    size = tuple(max(1, round(n * s)) for n, s in zip(lr, scale, strict=True))
    with within_limits(folder):
        by_scale = model.upscale(picture(*lr), scale=scale, memory=memory)
        by_size = model.upscale(picture(*lr), size)
    assert by_scale.shape == (3, *size) and by_scale.isfinite().all()
    assert by_scale.min() >= 0 and by_scale.max() <= 1
    assert torch.allclose(by_scale, by_size, atol=1e-4)  # tiles are not seen


NUMBERS = st.floats() | st.integers(-3, 40) | st.just(10**30)
SHAPES = st.lists(st.integers(0, 4), max_size=5)


@many
@given(
    shape=SHAPES | st.just([3, 2, 3]), scale=st.none() | NUMBERS | st.tuples(NUMBERS, NUMBERS),
    size=st.none() | st.tuples(NUMBERS, NUMBERS), memory=st.none() | st.integers(-1, 9),
)  # fmt: skip
def test_what_is_no_size(folder, shape, scale, size, memory):
    lr = torch.zeros(shape)
    if math.prod(wanted(shape, scale, size)) > LARGEST:
        return  # possible, and long
    with within_limits(folder):
        try:
            result = MODELS[0].upscale(lr, size, scale=scale, memory=memory)
        except ValueError:
            return
    assert lr.dim() in (3, 4) and result.isfinite().all()


def wanted(shape, scale, size):
    """The size of the result, roughly; nothing for what must be refused."""
    scale = scale if isinstance(scale, tuple) else (scale, scale)
    sides = size or [n * s for n, s in zip(shape[-2:], scale, strict=False) if s is not None]
    return [n for n in sides if 0 < n < math.inf]


TYPED = st.text("0123456789.,xX-+eE ²½naif", max_size=9) | NUMBERS.map(str)
PAIRS = st.tuples(st.integers(-1, 99), st.integers(-1, 99)).map("{0[0]}x{0[1]}".format)


@many
@given(
    lr=st.tuples(SIDES, SIDES), option=st.sampled_from(["--scale", "--size", "--clip-cell"]),
    text=TYPED | PAIRS | SCALES.map(str), memory=st.none() | TYPED,
)  # fmt: skip
def test_the_command_line(folder, tiny_checkpoint, lr, option, text, memory):
    numbers = [float(n) for n in text.lower().replace("x", ",").split(",") if is_number(n)]
    largest = max(numbers, default=0)
    factor = math.prod(numbers) if option == "--size" else largest * largest
    if factor * (1 if option == "--size" else math.prod(lr)) > LARGEST:
        return  # possible, and long
    given_memory = [] if memory is None else [f"--memory={memory}"]
    write_image(folder / "in.png", (picture(*lr) * 255).byte().permute(1, 2, 0).numpy())
    (folder / "out.png").write_bytes(b"old")
    use = ["--checkpoint", str(tiny_checkpoint), *given_memory]
    to = ("--output", "out.png", "--overwrite")
    with within_limits(folder):
        status = main(["upscale", "in.png", *to, *use, f"{option}={text}"])
    assert status in (0, 1, 2)
    if status == 0:
        assert read_image(folder / "out.png").dtype == np.uint8
    else:
        assert (folder / "out.png").read_bytes() == b"old"


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def test_the_smallest_picture_at_the_largest_scale(tiny_checkpoint):
    result = load_checkpoint(tiny_checkpoint).upscale(picture(1, 1), scale=30)
    assert result.shape == (3, 30, 30) and result.isfinite().all()
