"""`liif plot` in this process, files as it reads them, and what is in a figure."""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liif.commands import plot as command
from liif.commands.arguments import plot as options
from liif.core.errors import UserError

matplotlib = pytest.importorskip("matplotlib", reason="figures need the extra [plot]")


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(message)


def plot(*arguments):
    """`liif plot …` in this process."""
    parser = Parser()
    options.arguments(parser)
    assert command.run(parser.parse_args([str(argument) for argument in arguments])) == 0


def refused(*arguments):
    """The one line of a `liif plot …` that must fail and leave nothing."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError) as caught:
        plot(*arguments)
    assert sorted(Path().rglob("*")) == before and "\n" not in str(caught.value)
    return str(caught.value)


def result_file(file, scale, psnr, **values):
    """A file as `liif test --out` writes it."""
    result = {
        "set": "set5", "scale": scale, "protocol": "benchmark", "psnr": psnr, "ssim": 0.9,
        "psnr_y": psnr, "bicubic": 30 - (scale if isinstance(scale, int) else 1), "images": [],
        "checkpoint": "runs/mine/last.pt", **values,
    }  # fmt: skip
    Path(file).write_text(json.dumps(result))
    return Path(file)


def data(line):
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
