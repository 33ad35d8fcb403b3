"""Measure the viewer: from an event of the mouse wheel until the whole window is drawn.

    python benchmarks/viewer.py [--checkpoint FILE] [--decoders fourier lm-liif] [--image FILE]

The page runs in headless Chromium if playwright is installed; otherwise its requests are sent
without a browser. The models are the bundled one, or --checkpoint, and light decoders with random
weights behind an EDSR of four blocks. The image is encoded before; every step shows a new scale.
"""

import contextlib
import http.client
import os
import platform
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import torch
from measure import arguments, machine, report

from liif.commands.device import select_device
from liif.hub.pretrained import load
from liif.models.build import DECODERS, ModelConfig, build_model
from liif.models.model import SRModel
from liif.view.pictures import read_picture
from liif.view.render import BICUBIC, Renderer
from liif.view.server import Viewer, make_server

PHOTO = Path(__file__).parent.parent / "liif" / "photos" / "test" / "kitten.webp"
CHROMIUM = "chromium", "chromium-browser", "google-chrome"
FIRST_SCALE = 4
WHEEL = -100
"""Pixels that the wheel turns at each step; the page zooms by e^(1/5) for them."""
PAUSE_S = 0.04
"""Time after an event for which the page waits for another one (scene.js)."""
WATCH = """() => {
  let start = null;
  window.times = [];
  addEventListener("wheel", () => { start ??= performance.now(); }, { capture: true });
  const watch = () => {
    if (document.body.dataset.state !== "done" || start === null) return;
    const begun = start;
    start = null;
    requestAnimationFrame(() => requestAnimationFrame(() => times.push(performance.now() - begun)));
  };
  new MutationObserver(watch).observe(document.body, { attributeFilter: ["data-state"] });
}"""
"""Appends the milliseconds from each event to the frame that shows the finished window."""

Zoom = Callable[[str], list[float]]
"""Milliseconds of each step with this model."""


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--checkpoint", type=Path, help="default: the bundled model")
    parser.add_argument("--decoders", nargs="*", choices=list(DECODERS), default=["fourier"])
    parser.add_argument("--image", type=Path, default=PHOTO, help="default: a bundled photograph")
    parser.add_argument("--window", type=int, nargs=2, default=(1280, 800), help="WIDTH HEIGHT")
    parser.add_argument("--precision", default="auto", help="as of liif view")
    options = parser.parse_args()
    device = select_device(options.device)
    models = {options.checkpoint or "bundled": load(options.checkpoint, device)}
    models |= {name: light_model(name).to(device) for name in options.decoders}
    viewer = Viewer(
        read_picture(options.image, options.image.name), Renderer(models, options.precision)
    )
    width, height = options.window
    with serving(viewer) as port:
        try:
            from playwright.sync_api import ViewportSize, sync_playwright
        except ModuleNotFoundError:
            kind = "requests without a browser (playwright is not installed)"
            zoom = partial(zoom_by_requests, viewer, port, (width, height), options.rounds)
            rows = [row(str(name), zoom(name)) for name in models]
        else:
            kind = "headless Chromium"
            with sync_playwright() as playwright:
                path = next(filter(None, map(shutil.which, CHROMIUM)), None)
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
                size: ViewportSize = {"width": width, "height": height}
                page = browser.new_page(viewport=size, bypass_csp=True)
                zoom = partial(zoom_in_page, page, viewer, port, options.rounds)
                rows = [row(str(name), zoom(name)) for name in models]
                browser.close()
    title = f"From the wheel to the full window of {width}×{height}: {kind}; "
    report(f"{title}{processor()}, {machine(device)}", rows, options.json)


def processor() -> str:
    """Return the processor's name, and how busy it was."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return f"{names[0]} (load {os.getloadavg()[0]:.1f})"
    return platform.processor()


def light_model(decoder: str) -> SRModel:
    encoder = {"name": "edsr-baseline", "blocks": 4, "width": 32}
    config = {"encoder": encoder, "decoder": {"name": decoder}}
    return build_model(ModelConfig.model_validate(config), seed=0).eval()


def row(name: str, times: list[float]) -> dict[str, Any]:
    median = statistics.median(times)
    return {"": name, "median ms": median, "fastest ms": min(times), "slowest ms": max(times)}


@contextlib.contextmanager
def serving(viewer: Viewer) -> Generator[int]:
    """Run the server in a thread; the value is its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(viewer.app())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def zoom_in_page(page: Any, viewer: Viewer, port: int, rounds: int, name: str) -> list[float]:  # noqa: ANN401
    h, w = viewer.pictures.first.size
    view = {"x": w / 2, "y": h / 2, "scale": FIRST_SCALE, "split": 0, "left": BICUBIC}
    token = viewer.tokens.token
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{port}/?token={token}#{urlencode(view | {'right': name})}")
    page.wait_for_selector("body[data-state=done]", timeout=600_000)
    page.evaluate(WATCH)
    size = page.viewport_size
    page.mouse.move(size["width"] / 2, size["height"] / 2)
    for step in range(rounds):
        page.mouse.wheel(0, WHEEL)
        page.wait_for_function(f"times.length > {step}", timeout=600_000)
    return page.evaluate("times")


def zoom_by_requests(
    viewer: Viewer, port: int, size: tuple[int, int], rounds: int, name: str
) -> list[float]:
    picture, (cols, rows), times = viewer.pictures.first, size, []
    h, w = picture.size

    def ask(method: str, scale: float) -> None:
        width, height = min(w, cols / scale), min(h, rows / scale)
        shown = {"left": (w - width) / 2, "top": (h - height) / 2, "width": width, "height": height}
        window = {"cols": round(width * scale), "rows": round(height * scale)}
        query = {"picture": picture.id, "method": method, "token": viewer.tokens.token}
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", f"/render?{urlencode(query | shown | window)}")
        answer = connection.getresponse()
        assert len(answer.read()) > 4 * window["cols"] * window["rows"], answer.status
        connection.close()

    with ThreadPoolExecutor() as pool:
        for step in range(-1, rounds):  # the first one encodes the image
            start = time.perf_counter()
            scale = FIRST_SCALE * 1.2 ** (step + 1)
            list(pool.map(partial(ask, scale=scale), (BICUBIC, name)))
            times.append(1000 * (time.perf_counter() - start + PAUSE_S))
    return times[1:]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
