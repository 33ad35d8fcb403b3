"""`liif view`: explore an image at any scale in the browser."""

import argparse
import errno
import logging
import os
import socket
import threading
import webbrowser
from ipaddress import ip_address

import torch

from liif.commands.arguments.shared import NamedCheckpoint
from liif.commands.arguments.view import LOOPBACK, PORTS
from liif.commands.device import keep_freed_memory, select_device
from liif.commands.options import check_is_rgb
from liif.core.errors import UserError
from liif.hub.pretrained import load, resolve_checkpoint
from liif.models.model import SRModel

OPEN = (
    "--host {host}: other machines can reach the viewer; pictures and token pass unencrypted, "
    "so use ssh outside of a container or a trusted network"
)

log = logging.getLogger("liif")


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
    listener = _listener(options.host, options.port)
    models = _models(checkpoints, device)
    keep_freed_memory(device)
    viewer = Viewer(picture, Renderer(models, options.precision))
    port = listener.getsockname()[1]
    is_open = not ip_address(options.host).is_loopback
    shown = LOOPBACK if options.host in ("0.0.0.0", "::") else options.host
    page = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token="
    print(f"{options.input.name}: {page}{viewer.tokens.token} (Ctrl-C to stop)", flush=True)
    if is_open:
        log.warning("%s", OPEN.format(host=options.host))
    if not options.no_browser and _has_browser(port):  # a thread: text browsers return when closed
        address = page + viewer.tokens.single()
        opening = threading.Thread(target=webbrowser.open, args=(address,), name="browser")
        opening.daemon = True
        opening.start()
    app = viewer.app(frozenset(map(str.lower, options.allow_host)), any_address=is_open)
    make_server(app).run(sockets=[listener])
    return 0


def _has_browser(port: int) -> bool:
    """Return whether a browser can be started here; over ssh, tell how to reach the port. Editors
    that forward ports name a browser in BROWSER."""
    here = "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"
    if "SSH_CONNECTION" not in os.environ or any(map(os.environ.get, here)):
        return True
    user, host = os.environ.get("USER", "you"), socket.gethostname()
    print(f"on your own computer: ssh -N -L {port}:127.0.0.1:{port} {user}@{host}", flush=True)
    return False


def _models(checkpoints: list[NamedCheckpoint], device: torch.device) -> dict[str, SRModel]:
    """Load the models by their labels; primes tell equal labels apart."""
    models: dict[str, SRModel] = {}
    for label, path in checkpoints:
        label = label or path.stem
        label = next(n for i in range(99) if (n := label + i * "′") not in models)
        models[label] = load(path, device)
        check_is_rgb(models[label], str(path))
    return models


def _listener(host: str, port: int | None) -> socket.socket:
    """Listen on this address, by default that of the loopback interface, which other machines
    cannot reach."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in PORTS if port is None else (port,):
        try:
            return socket.create_server((host, candidate), family=family)
        except PermissionError:
            raise UserError(
                f"--port: {candidate} is for the administrator; try 1024 or more"
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UserError(f"--host: cannot listen on {host}: {error.strerror}") from None
    taken = f"{PORTS[0]} to {PORTS[-1]} are all" if port is None else f"{port} is"
    raise UserError(f"--port: {taken} taken; choose another port")
