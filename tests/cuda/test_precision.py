"""Precision on a GPU: float32 is IEEE's, and 16 bits are those that the card computes with."""

import pytest
import torch
from helpers.gpu import assert_alike
from helpers.pictures import texture
from helpers.pretend import IS_PRETEND
from helpers.pretend_tensor import gpu
from helpers.small_models import small
from helpers.training import config, state_of

from liif.core.sizes import Window
from liif.data.loader import batches
from liif.images.rgb8 import write_image
from liif.models import fastest
from liif.models.fastest import used_precision
from liif.models.precision import matmul_uses_tf32
from liif.training import optimizers
from liif.training.step import train_step
from liif.view.pictures import read_picture
from liif.view.render import Renderer, View

pytestmark = pytest.mark.gpu
HAS_NEW_INTERFACE = hasattr(torch.backends.cuda.matmul, "fp32_precision")


def uses_tf32():
    return matmul_uses_tf32() or torch.backends.cudnn.allow_tf32


@pytest.fixture(params=["flags", "interface"])
def users_settings(request):
    """A user has switched TF32 on, by either of PyTorch's interfaces; the settings are the same
    after the test."""
    if request.param == "interface" and not HAS_NEW_INTERFACE:
        pytest.skip("needs PyTorch 2.9")
    owners = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
    owners = owners if HAS_NEW_INTERFACE else []
    if request.param == "flags":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    else:
        for owner in owners:
            owner.fp32_precision = "tf32"
    before = [owner.fp32_precision for owner in owners]
    yield
    after = matmul_uses_tf32(), [owner.fp32_precision for owner in owners]
    for owner in owners:
        owner.fp32_precision = "none"
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    if HAS_NEW_INTERFACE:
        torch.backends.cuda.matmul.fp32_precision = "none"
    assert after == (True, before)


@pytest.fixture
def seen(monkeypatch):
    """Whether TF32 could be used, at each of several places of the package."""
    places = {}

    def note(owner, name, place):
        original = getattr(owner, name)

        def noted(*args, **options):
            places.setdefault(place, set()).add(uses_tf32())
            return original(*args, **options)

        monkeypatch.setattr(owner, name, noted)

    places["note"] = note
    return places


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_an_image_in_float32_is_exact(precision, users_settings, seen, device):
    note = seen.pop("note")
    model, lr = small(decoder="lm-liif").eval().to(device), torch.rand(1, 3, 9, 11).to(device)
    note(model, "encode_frame", "encoder")
    note(model.decoder, "bind", "bind")
    note(model.decoder, "query_grid", "decoder")
    model.upscale(lr, (25, 31), precision=precision)
    model.rendered(model.encoded(lr, precision=precision), (20, 22), precision=precision)
    assert seen == {key: {precision == "tf32"} for key in ("encoder", "bind", "decoder")}


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_view_is_in_the_precision_that_was_asked_for(precision, seen, device, tmp_path):
    note = seen.pop("note")
    write_image(tmp_path / "p.png", texture(20, 24))
    model, picture = (
        small(decoder="lm-liif").eval().to(device),
        read_picture(tmp_path / "p.png", "p"),
    )
    note(model, "encode_frame", "encoder")
    note(model.decoder, "bind", "bind")
    note(model.decoder, "query_grid", "decoder")
    view = View(picture.id, "m", Window(0, 0, 20, 24), (40, 48))
    list(Renderer({"m": model}, precision).strips(picture, view))
    assert seen == {key: {precision == "tf32"} for key in ("encoder", "bind", "decoder")}


@pytest.fixture
def photos(tmp_path):
    write_image(tmp_path / "photos" / "0.png", texture(60, 64))
    return tmp_path / "photos"


def test_a_step_in_float32_is_exact(users_settings, seen, photos, device, monkeypatch):
    note = seen.pop("note")
    chosen = config(photos, optimizer="muon")
    state = state_of(chosen, device)
    (batch,) = batches(chosen.train_data.open_source(None), seed=0, batch_size=2, start=0, stop=1)
    note(state.model, "forward", "forward")
    note(state.losses, "forward", "losses")
    note(optimizers, "orthogonal", "update")
    state.model.decoder.mlp.register_full_backward_hook(
        lambda *_: seen.setdefault("backward", set()).add(uses_tf32())
    )
    weight = next(state.model.parameters())
    weight.register_post_accumulate_grad_hook(
        lambda _: seen.setdefault("backward", set()).add(uses_tf32())
    )
    train_step(
        state.model, state.optimizer, batch.to(device), learning_rate=1e-3, losses=state.losses
    )
    assert seen == {key: {False} for key in ("forward", "losses", "update", "backward")}


@pytest.fixture
def forgotten():
    """What was found out about devices holds for one card."""
    fastest.half_is_faster.cache_clear()
    yield
    fastest.half_is_faster.cache_clear()


@pytest.mark.parametrize("capability", [(6, 1), (7, 5), (8, 0)])
@pytest.mark.parametrize("decoder", ["liif", "lm-liif", "lte"])
def test_the_viewer_has_16_bits_that_the_card_has(capability, decoder, device, tmp_path, forgotten):
    if IS_PRETEND:
        gpu.capability = capability
    elif torch.cuda.get_device_capability(device) != capability:
        pytest.skip("is another card")
    expected = {6: "float32", 7: "fp16", 8: "bf16"}[capability[0]]
    assert used_precision(device, "auto") == expected
    write_image(tmp_path / "p.png", texture(20, 24))
    picture, model = read_picture(tmp_path / "p.png", "p"), small(decoder=decoder).eval().to(device)
    seen, bind = [], model.bind

    def noted(field, cell):
        seen.append(str(field.codes.dtype))
        return bind(field, cell)

    model.bind = noted
    view = View(picture.id, "m", Window(0, 0, 20, 24), (40, 48))
    strips = list(Renderer({"m": model}, "auto").strips(picture, view))
    assert sum(len(pixels) for _, pixels in strips) == 40
    types = {"float32": "float32", "fp16": "float16", "bf16": "bfloat16"}
    assert set(seen) == {f"torch.{types[expected]}"}
    exact = torch.cat([torch.from_numpy(p).float() for _, p in sorted(strips, key=lambda s: s[0])])
    reference = list(Renderer({"m": model}, "float32").strips(picture, view))
    reference = [torch.from_numpy(p).float() for _, p in sorted(reference, key=lambda s: s[0])]
    assert_alike(exact, torch.cat(reference), scale=255.0, limit=0.03)
