"""The decoder's kernel beside the plain decoder, in Triton's interpreter: in a process of its own,
because Triton reads TRITON_INTERPRET once."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from liif.models.decoders.liif import Liif, LiifConfig
from liif.models.geometry import cell_of, pixel_centres
from liif.models.kernels import fused
from liif.models.kernels.fused import Launch
from liif.models.model import SRModel

pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch for CUDA)")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_in_the_interpreter")
SMALL = Launch(rows=256, warps=4, stages=1)


@pytest.fixture(autouse=True)
def bfloat16(monkeypatch):
    """The interpreter multiplies the bits of bfloat16 as if they were integers, and does not round
    to it but cut."""
    if not INTERPRETED:
        return
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, tl

    multiply = InterpreterBuilder.create_dot

    def widened(x):
        if x.dtype != tl.bfloat16:
            return x
        return TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self, a, b, *rest):
        return multiply(self, widened(a), widened(b), *rest)

    cast = InterpreterBuilder.cast_impl

    def cast_impl(self, x, to):
        if (x.dtype.scalar, to.scalar) != (tl.float32, tl.bfloat16):
            return cast(self, x, to)
        bits = torch.from_numpy(np.array(x.data)).to(torch.bfloat16).view(torch.int16)
        return TensorHandle(bits.numpy().view(np.uint16), tl.bfloat16)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
    monkeypatch.setattr(InterpreterBuilder, "cast_impl", cast_impl)


def case(size=(7, 9), batch=1, width=3, **switches):
    """A decoder and the field of a random map, with every weight large enough to be missed."""
    torch.manual_seed(0)
    decoder = Liif(width, LiifConfig(**switches)).eval()
    for parameter in decoder.parameters():
        parameter.data.uniform_(-1, 1).mul_(2 / parameter.shape[-1] ** 0.5)
    feat = torch.randn(batch, width, *size)
    return decoder, decoder.prepare(feat, feat)


def both(decoder, field, y, x, cell, launch=SMALL):
    """Colours of the plain decoder, and of the same one when it takes its kernel."""
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        plain = decoder.query_grid(field, y, x, cell)
        patch.setattr(fused, "launch_for", lambda *_, **__: launch)
        return plain, decoder.query_grid(field, y, x, cell)


def assert_alike(decoder, field, size, launch=SMALL, rows=slice(None), cols=slice(None)):
    y, x = (pixel_centres(n, torch.ones(())) for n in size)
    y, x = y[rows], x[cols]
    plain, found = both(decoder, field, y, x, cell_of(size, y), launch)
    assert found.shape == (len(field.codes), len(y), len(x), 3) and found.dtype == torch.float32
    assert plain.std() > 0.05
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_in_the_interpreter():
    """All tests of this file that need it."""
    if INTERPRETED:
        pytest.skip("this is it")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-x", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@interpreted
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"local_ensemble": False},
        {"cell_decode": False},
        {"feature_unfold": False},
        {"local_ensemble": False, "cell_decode": False, "feature_unfold": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(5, 31), (7, 9), (1, 1)])
def test_switches_and_odd_sizes(switches, size):
    decoder, field = case(hidden=(16, 16), **switches)
    assert_alike(decoder, field, size)


@interpreted
@pytest.mark.parametrize(
    "hidden",
    [(16,), (3,), (16, 16, 16, 16), (5, 20, 9), (64, 64), (128, 40), (256, 256, 256), (256, 16)],
    ids=str,
)
def test_widths_and_depths(hidden):
    decoder, field = case(size=(3, 4), hidden=hidden)
    assert_alike(decoder, field, (5, 7), SMALL._replace(stages=2))


@interpreted
@pytest.mark.parametrize("rows", [16, 128])
def test_blocks_of_any_size_and_several_images(rows):
    decoder, field = case(size=(5, 4), batch=3, hidden=(16, 16))
    assert_alike(decoder, field, (11, 6), Launch(rows, 4, 1))


@interpreted
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1)])
def test_images_of_one_row_or_column(shape):
    decoder, field = case(size=shape, hidden=(16, 16))
    assert_alike(decoder, field, (5, 8))


@interpreted
def test_windows():
    """Codes of a part only, which are no tensor of their own, and a whole that is larger."""
    decoder, field = case(size=(12, 14), batch=2, hidden=(16, 16))
    size = (36, 45)
    part = field.window((3, 6), (4, 9))
    assert part.origin == (1, 2) and not part.codes.is_contiguous()
    rows, cols = slice(9, 18), slice(13, 29)
    assert_alike(decoder, part, size, rows=rows, cols=cols)
    y, x = (pixel_centres(n, torch.ones(())) for n in size)
    cell = cell_of(size, y)
    whole, _ = both(decoder, field, y, x, cell)
    _, found = both(decoder, part, y[rows], x[cols], cell)
    torch.testing.assert_close(found, whole[:, rows, cols], atol=1e-5, rtol=1e-5)


@interpreted
def test_the_same_codes_are_taken_on_the_line_between_two():
    """Pixels of an even scale lie half-way between codes, where a rounding decides."""
    decoder, field = case(size=(8, 8), hidden=(16,))
    for scale in (2, 3, 4):
        assert_alike(decoder, field, (8 * scale, 8 * scale))
    at = torch.linspace(-1, 1, 33)
    plain, found = both(decoder, field, at, at, torch.full((1, 2), 0.1))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


@interpreted
@pytest.mark.parametrize("hidden", [(16, 16), (256, 256)], ids=str)
def test_bfloat16(hidden):
    """As near to the decoder in float32 as the plain one is in bfloat16, or nearer."""
    decoder, _ = case(size=(3, 4), hidden=hidden)
    y, x = (pixel_centres(n, torch.ones(())) for n in (6, 9))
    cell = cell_of((6, 9), y)
    with torch.inference_mode():
        feat = torch.randn(1, 3, 3, 4)
        exact = decoder.prepare(feat, feat)
        with torch.autocast("cpu", torch.bfloat16):
            field = decoder.prepare(feat, feat)
    assert field.codes.dtype == torch.bfloat16
    expected, _ = both(decoder, exact, y, x, cell)
    plain, found = both(decoder, field, y, x, cell)
    error, usual = ((rgb - expected).square().mean().sqrt() for rgb in (found, plain))
    assert 0 < error < usual < 0.03


def rounded(x):
    """To the 11 significant bits of TF32, halves away from zero."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    whole = np.trunc(mantissa * 2**11 + np.copysign(0.5, mantissa))
    return np.ldexp(whole, exponent - 11).astype(np.float32)


def test_numbers_of_tf32():
    """With 10 bits after the leading one, 1 + 2⁻¹⁰ follows 1."""
    cases = {1.0: 1, 1 + 2**-11: 1 + 2**-10, 1 + 2**-12: 1, -1 - 2**-11: -1 - 2**-10, 0.0: 0}
    cases |= {2 - 2**-12: 2, 3e38: float(np.float32(2**117 * 1806)), float("inf"): float("inf")}
    found = fused.nearest_tf32(torch.tensor([*cases]))
    assert found.tolist() == [*cases.values()]
    noise = torch.randn(10_000) * 2.0 ** torch.randint(-30, 30, (10_000,))
    assert np.array_equal(fused.nearest_tf32(noise).numpy(), rounded(noise.numpy()))


@interpreted
@pytest.mark.parametrize("hidden", [(16, 16, 16), (256, 256)], ids=str)
def test_tf32_is_rounded_to_nearest(hidden, monkeypatch):
    """All that is multiplied, and nothing else: beside a decoder that rounds it before float32
    products. The interpreter's products round nothing themselves."""
    decoder, field = case(size=(3, 4), hidden=hidden)
    y, x = (pixel_centres(n, torch.ones(())) for n in (5, 7))
    exact, _ = both(decoder, field, y, x, cell_of((5, 7), y))
    monkeypatch.setattr(fused, "matmul_uses_tf32", lambda: True)
    _, found = both(decoder, field, y, x, cell_of((5, 7), y))

    def product(hidden, layers):
        for weight, bias in layers:
            operands = (rounded(x.numpy()) for x in (hidden.relu(), weight))
            hidden = torch.nn.functional.linear(*map(torch.from_numpy, operands), bias)
        return hidden

    monkeypatch.setattr(fused, "after_first", product)
    expected, _ = both(decoder, field, y, x, cell_of((5, 7), y))
    error, usual = ((rgb - expected).square().mean().sqrt() for rgb in (found, exact))
    assert usual > 1e-4 and error < 0.1 * usual


@interpreted
def test_an_image_through_the_kernel():
    class Encoder(torch.nn.Conv2d):
        width, radius, peak_channels, window = 4, 1, 4, 1

    torch.manual_seed(0)
    decoder = Liif(4, LiifConfig(hidden=(16, 16)))
    model = SRModel(Encoder(3, 4, 3, padding=1), decoder).eval()
    lr = torch.rand(3, 9, 11)
    plain = model.upscale(lr, (20, 31))
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "launch_for", lambda *_, **__: calls.append(1) or SMALL)
        found = model.upscale(lr, (20, 31))
        calls_made = len(calls)
        decoder.fuse = False
        assert torch.equal(model.upscale(lr, (20, 31)), plain)
    assert calls_made == len(calls) == 1
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)


@pytest.fixture
def trial(monkeypatch):
    """What is asked of a GPU that is the interpreter: device, type, widths, inputs."""
    monkeypatch.setattr(fused, "candidates", lambda *_: (SMALL,))
    fused._fastest.cache_clear()
    yield torch.device("cpu"), torch.float32, (16, 8, 3), 4
    fused._fastest.cache_clear()


@interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_kernel_that_errs_is_not_used(trial, monkeypatch, caplog, dtype):
    """As a compiler might make it: here by a layer's bias that is left out."""
    device, _, *asked = trial
    generator = torch.get_rng_state()
    with torch.inference_mode():
        for ensemble in (True, False):
            assert fused._fastest(device, dtype, *asked, ensemble) == SMALL
        assert not caplog.records
        stacked = fused._stacked
        monkeypatch.setattr(fused, "_stacked", lambda *of: (stacked(*of)[0], 0 * stacked(*of)[1]))
        fused._fastest.cache_clear()
        assert fused._fastest(device, dtype, *asked, True) is None
    assert "it errs here" in caplog.text
    assert torch.equal(generator, torch.get_rng_state())


@interpreted
def test_the_fastest_of_those_that_are_right_is_used(trial, monkeypatch, caplog):
    """The fastest of all is wrong, and the one that cannot be launched is no reason to stop."""
    slow, fast, wrong = (SMALL._replace(stages=n) for n in (1, 2, 3))
    failing = SMALL._replace(rows=3)
    monkeypatch.setattr(fused, "candidates", lambda *_: (failing, wrong, slow, fast))
    decode, times = fused.decode, {slow: 2.0, fast: 1.0, wrong: 0.5}

    def faulty(field, at, bias, launch):
        return decode(field, at, bias, launch) + (launch == wrong)

    monkeypatch.setattr(fused, "decode", faulty)
    monkeypatch.setattr(fused, "_seconds", lambda field, at, launch: times[launch])
    units = SimpleNamespace(multi_processor_count=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: units)
    with torch.inference_mode():
        assert fused._fastest(*trial, True) == fast
    assert "it fails here" in caplog.text and "it errs here" in caplog.text
