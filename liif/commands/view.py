"""`liif view`: a picture as the continuous function that it is, in the browser."""

import argparse
import socket
import threading
import webbrowser
from pathlib import Path

import torch

from liif.commands.device import device_argument, keep_freed_memory, select_device
from liif.commands.options import CHECKPOINT
from liif.core.errors import UserError
from liif.hub.catalog import DEFAULT
from liif.hub.pretrained import load, resolve_checkpoint
from liif.models.model import Precision, SRModel

SUMMARY = "Look at a picture at any scale, in the browser."
EXAMPLE = "photo.jpg"

PHOTO = Path(__file__).parent.parent / "photos" / "test" / "kitten.webp"
PORTS = range(8642, 8662)


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "a picture (default: a photograph of ours); more can be dropped on the page"
    parser.add_argument("input", type=Path, nargs="?", default=PHOTO, help=text)
    device_argument(parser)
    text = f"{CHECKPOINT} (default: {DEFAULT}); give it twice to compare two"
    parser.add_argument("--checkpoint", type=Path, action="append", metavar="NAME|FILE", help=text)
    text = "default: bf16 where the machine has units for it (loss < 0.01 dB)"
    parser.add_argument("--precision", choices=("float32", "bf16"), help=text)
    text = f"of this machine, 127.0.0.1 (default: the first free one from {PORTS[0]})"
    parser.add_argument("--port", type=_port, metavar="N", help=text)
    parser.add_argument("--no-browser", action="store_true", help="print the address only")


def run(options: argparse.Namespace) -> int:
    try:
        from liif.view.pictures import read_picture
        from liif.view.render import Renderer
        from liif.view.server import Viewer, server_of
    except ModuleNotFoundError as error:
        needed = f"the viewer needs {error.name}: pip install 'liif[view]'"
        raise UserError(needed) from None
    checkpoints = [resolve_checkpoint(name) for name in options.checkpoint or [None]]
    device = select_device(options.device)
    precision: Precision = options.precision or _fastest(device)
    picture = read_picture(options.input, options.input.name)
    listener = _listener(options.port)
    models = _models(checkpoints, device)
    keep_freed_memory(device)
    viewer = Viewer(picture, Renderer(models, precision))
    port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    print(f"{options.input.name}: {address} (Ctrl-C to stop)", flush=True)
    if not options.no_browser:  # which may wait for a browser in the terminal to end
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server_of(viewer.app(port)).run(sockets=[listener])
    return 0


def _models(checkpoints: list[Path], device: torch.device) -> dict[str, SRModel]:
    """By the names of their files, made different."""
    models: dict[str, SRModel] = {}
    for path in checkpoints:
        name = next(n for i in range(99) if (n := path.stem + i * "′") not in models)
        models[name] = load(path, device)
    return models


def _fastest(device: torch.device) -> Precision:
    """bf16 but on processors that have no units for it."""
    cpu = torch.cpu
    units = cpu._is_avx512_bf16_supported, cpu._is_amx_tile_supported  # pyright: ignore
    return "bf16" if device.type != "cpu" or any(has() for has in units) else "float32"


def _listener(port: int | None) -> socket.socket:
    """A socket of this machine that nobody else can reach."""
    for candidate in PORTS if port is None else (port,):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError:
            continue
    taken = f"{PORTS[0]} to {PORTS[-1]} are all" if port is None else f"{port} is"
    raise UserError(f"--port: {taken} taken; choose another")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text}: must be a number up to 65535")
    return int(text)
