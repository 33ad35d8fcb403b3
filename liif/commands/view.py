"""`liif view`: explore an image at any scale in the browser."""

import argparse
import socket
import threading
import webbrowser

import torch

from liif.commands.arguments.shared import NamedCheckpoint
from liif.commands.arguments.view import PORTS
from liif.commands.device import keep_freed_memory, select_device
from liif.commands.options import check_is_rgb
from liif.core.errors import UserError
from liif.hub.pretrained import load, resolve_checkpoint
from liif.models.model import SRModel


def run(options: argparse.Namespace) -> int:
    try:
        from liif.view.pictures import read_picture
        from liif.view.render import Renderer
        from liif.view.server import Viewer, make_server
    except ModuleNotFoundError as error:
        needed = f"the viewer needs {error.name}: pip install 'liif[view]'"
        raise UserError(needed) from None
    given = options.checkpoint or [("", None)]
    checkpoints = [NamedCheckpoint(name, resolve_checkpoint(file)) for name, file in given]
    device = select_device(options.device)
    picture = read_picture(options.input, options.input.name)
    listener = _listener(options.port)
    models = _models(checkpoints, device)
    keep_freed_memory(device)
    viewer = Viewer(picture, Renderer(models, options.precision))
    port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    print(f"{options.input.name}: {address} (Ctrl-C to stop)", flush=True)
    if not options.no_browser:  # a thread: a text browser returns only when it is closed
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    make_server(viewer.app(port)).run(sockets=[listener])
    return 0


def _models(checkpoints: list[NamedCheckpoint], device: torch.device) -> dict[str, SRModel]:
    """Load the models by their labels; primes tell equal labels apart."""
    models: dict[str, SRModel] = {}
    for label, path in checkpoints:
        label = label or path.stem
        label = next(n for i in range(99) if (n := label + i * "′") not in models)
        models[label] = load(path, device)
        check_is_rgb(models[label], str(path))
    return models


def _listener(port: int | None) -> socket.socket:
    """Listen on the loopback interface, which other machines cannot reach."""
    for candidate in PORTS if port is None else (port,):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError:
            continue
    taken = f"{PORTS[0]} to {PORTS[-1]} are all" if port is None else f"{port} is"
    raise UserError(f"--port: {taken} taken; choose another port")
