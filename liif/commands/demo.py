"""`liif demo`: a page of Gradio that enlarges a picture, as for a Space of the Hugging Face Hub."""

import argparse
import math
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

from liif.commands.device import keep_freed_memory, select_device
from liif.commands.options import check_is_rgb
from liif.core.errors import UserError
from liif.hub.pretrained import load, resolve_checkpoint
from liif.models.fastest import used_precision
from liif.models.model import SRModel

LARGEST_SCALE = 16
MOST_PIXELS = 2**26
"""Of a result: a page is no place for larger ones, `liif upscale` has no such limit."""


def run(options: argparse.Namespace) -> int:
    try:
        gradio = import_module("gradio")
    except ModuleNotFoundError as error:
        text = f"the demo needs {error.name or 'gradio'}: pip install 'liif[demo]'"
        raise UserError(text) from None
    given: list[tuple[str, Path | None]] = options.checkpoint or [("", None)]
    device = select_device(options.device)
    models: dict[str, SRModel] = {}
    for name, file in given:
        path = resolve_checkpoint(file)
        name = name or path.stem
        if name in models:
            raise UserError(f"--checkpoint {name}: two models have this name; give NAME=FILE")
        models[name] = load(path, device)
        check_is_rgb(models[name], str(path))
    keep_freed_memory(device)
    page = interface(gradio, models, used_precision(device, options.precision))
    page.queue(default_concurrency_limit=1)  # one picture at a time fills all cores
    page.launch(
        server_port=options.port, share=options.share, inbrowser=not options.no_browser,
        quiet=False,
    )  # fmt: skip
    return 0


def interface(gradio: Any, models: dict[str, SRModel], precision: Any) -> Any:  # noqa: ANN401
    """Return the page, made with the module `gradio`: picture, scale and model to a picture."""

    def enlarge(image: Image.Image | None, scale: float, name: str) -> Image.Image:
        if image is None:
            raise gradio.Error("choose a picture first")
        width, height = (round(side * scale) for side in image.size)
        if width * height > MOST_PIXELS:
            largest = math.sqrt(MOST_PIXELS / (image.width * image.height))
            text = f"{width}×{height} px are too many here; use a scale up to {largest:.1f}"
            raise gradio.Error(text)
        try:
            return models[name].upscale(image, size=(height, width), precision=precision)
        except (UserError, RuntimeError) as error:
            raise gradio.Error(str(error)) from None

    names = list(models)
    return gradio.Interface(
        enlarge,
        [
            gradio.Image(type="pil", label="picture"),
            gradio.Slider(1, LARGEST_SCALE, 4, step=0.1, label="scale"),
            gradio.Dropdown(names, value=names[0], label="model"),
        ],
        gradio.Image(type="pil", format="png", label="result"),
        title="Enlarge a picture to any size",
        flagging_mode="never",
    )
