"""A viewer that serves in a thread, and helpers that read what its page shows."""

import base64
import io
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qs

import numpy as np
import torch
from PIL import Image

from liif.core.sizes import Window
from liif.images.convert import to_image, to_tensor
from liif.models.build import ModelConfig, build_model
from liif.view.bicubic import bicubic
from liif.view.pictures import read_picture
from liif.view.render import BICUBIC, Renderer

H, W = 358, 640  # of the canvas


def tiny_model(seed=0):
    """A model whose output varies more than that of a newly initialised one."""
    torch.manual_seed(seed)
    decoder = {"name": "liif", "hidden": [16]}
    config = {"encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8}, "decoder": decoder}
    model = build_model(ModelConfig.model_validate(config)).eval()
    for weight in model.decoder.parameters():
        weight.data *= 2
    return model


@contextmanager
def viewing(path, models=None, **options):
    """(viewer, port) of a server that runs in a thread; the options are those of `Viewer.app`."""
    from liif.view.server import Viewer, make_server

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    viewer = Viewer(
        read_picture(path, path.name), Renderer(models or {"tiny": tiny_model()}, "float32")
    )
    server = make_server(viewer.app(**options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield viewer, port
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


def finished(page):
    page.wait_for_selector("body[data-state=done]", timeout=60_000)


def settled(page):
    """Wait until an action that changes the view is rendered."""
    page.wait_for_selector("body:not([data-state=waiting])", timeout=60_000)
    finished(page)


def address(page):
    return {key: value for key, (value,) in parse_qs(page.url.split("#")[1]).items()}


@contextmanager
def new_entry(page):
    """Wait until the actions inside have changed the address, and return its values."""
    before, found = page.url, {}
    yield found
    for _ in range(200):
        if page.url != before:
            break
        page.wait_for_timeout(50)
    assert page.url != before
    finished(page)
    found |= address(page)


def canvas(page):
    """What is on the canvas, (H, W, 3)."""
    data = page.evaluate("() => document.getElementById('canvas').toDataURL('image/png')")
    return np.array(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB"))


def expected(viewer, method, x, y, scale, size=(H, W)):
    """The view rendered directly; it must lie inside the image."""
    picture = viewer.pictures.first
    window = Window(
        y - size[0] / scale / 2, x - size[1] / scale / 2, size[0] / scale, size[1] / scale
    )
    if method == BICUBIC:
        return bicubic(picture.pixels, window, size, (0, size[0])).astype(int)
    model = viewer.renderer.models[method]
    field = model.encoded(to_tensor(picture.pixels)[None])
    return to_image(model.rendered(field, size, window=window)[0]).astype(int)
