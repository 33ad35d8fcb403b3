"""Commands and the viewer on a GPU: the files and pictures of a CPU."""

import asyncio
import json

import numpy as np
import pytest
import torch
from helpers.pictures import texture
from helpers.small_models import small, small_config

from liif.core.sizes import Window
from liif.images.rgb8 import read_image, write_image
from liif.models.checkpoint import read_checkpoint, save_checkpoint
from liif.view.pictures import Picture
from liif.view.render import Renderer, View
from liif.view.worker import Worker

pytestmark = pytest.mark.gpu


@pytest.fixture
def checkpoint(folder):
    """The file of a small model of LIIF."""
    save_checkpoint(folder / "m.pt", small_config(), small().state_dict())
    return folder / "m.pt"


def assert_same_picture(one, other):
    """Colours may be rounded to the other side."""
    apart = np.abs(one.astype(int) - other.astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("precision", "options"), [("float32", ()), ("float32", ["--self-ensemble"]), ("auto", ())]
)
def test_upscale(precision, options, checkpoint, folder, cli):
    write_image(folder / "a.png", texture(20, 24))
    found = {}
    for device in ("cpu", "cuda"):
        asked = ["upscale", "a.png", "-o", f"{device}.png", "--scale", 2.5, "--checkpoint"]
        status, _, err = cli(
            *asked, checkpoint, "--device", device, "--precision", precision, *options
        )
        assert status == 0, err
        found[device] = read_image(folder / f"{device}.png")
    if precision == "auto":
        assert np.abs(found["cuda"].astype(int) - found["cpu"]).max() <= 3
    else:
        assert_same_picture(found["cuda"], found["cpu"])


def test_train_and_test(training, scoring, folder, cli):
    for device in ("cpu", "cuda"):
        run = ["train", "--config", training, "--name", device, "--device", device]
        status, _, err = cli(*run)
        assert status == 0, err
    there, here = (
        read_checkpoint(folder / "runs" / d / "last.pt").weights for d in ("cuda", "cpu")
    )
    for name, weight in here.items():
        torch.testing.assert_close(there[name], weight, rtol=0, atol=1e-4)
    scores = []
    for device in ("cpu", "cuda"):
        asked = ["test", "--config", scoring, "--device", device, "-o", f"{device}.json"]
        status, _, err = cli(*asked, "--checkpoint", "runs/cpu/last.pt")
        assert status == 0, err
        scores.append(json.loads((folder / f"{device}.json").read_text()))
    for key in ("psnr", "psnr_rgb", "ssim"):
        assert scores[1][key] == pytest.approx(scores[0][key], abs=1e-3)


def test_a_dry_run(training, cli):
    status, _, err = cli("train", "--config", training, "--dry-run", "--device", "cuda")
    assert status == 0 and "GPU" in err


def test_a_device_that_is_not_there(training, refused):
    count = torch.cuda.device_count()
    message = refused("train", "--config", training, "--device", f"cuda:{count}")
    assert f"--device cuda:{count}: no such GPU; this machine has" in message


@pytest.mark.parametrize(
    ("decoder", "precision"), [("liif", "float32"), ("liif", "auto"), ("srno", "float32")]
)
def test_views_come_from_a_thread_of_their_own(decoder, precision, device):
    """As the viewer's server asks for them."""
    picture = Picture("p", "p.png", texture(24, 30))
    view = View("p", "m", Window(4.5, 6.25, 12, 16), (48, 64))

    async def rendered(model):
        renderer = Renderer({"m": model}, precision)
        list(renderer.prepare(picture))
        rows = {}
        async for part in Worker().run(
            first.to_bytes(4, "big") + pixels.tobytes()
            for first, pixels in renderer.strips(picture, view)
        ):
            rows[int.from_bytes(part[:4], "big")] = part[4:]
        data = b"".join(rows[first] for first in sorted(rows))
        return np.frombuffer(data, np.uint8).reshape(48, 64, 3)

    expected = asyncio.run(rendered(small(decoder=decoder).eval()))
    found = asyncio.run(rendered(small(decoder=decoder).eval().to(device)))
    if precision == "auto":
        assert np.abs(found.astype(int) - expected).max() <= 3
    else:
        assert_same_picture(found, expected)


def test_the_device_of_a_command_is_the_current_one(checkpoint, folder, cli):
    """Or a process would also open a context on the first GPU."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    write_image(folder / "a.png", texture(8, 9))
    try:
        asked = ["upscale", "a.png", "-o", "b.png", "--scale", 2, "--checkpoint", checkpoint]
        status, _, err = cli(*asked, "--device", "cuda:1")
        assert status == 0, err
        assert torch.cuda.current_device() == 1
    finally:
        torch.cuda.set_device(0)
