"""Measure exported graphs in other engines beside PyTorch: a picture of 64² enlarged to 256².

    pip install "liif[export]" openvino
    python benchmarks/engines.py [--decoders liif fourier] [--side 64] [--scale 4]

Every engine uses the same number of threads. PyTorch runs `SRModel.upscale`; the graphs decode the
pixels of the result as points, in one call. Weights are random, the encoder is EDSR-baseline.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from decoders import build
from measure import arguments, interleaved, machine, picture, report

from liif.commands.device import select_device
from liif.core.errors import UserError
from liif.hub.export import FORMATS, graphs
from liif.models.geometry import grid_coord, pixel_centres

Run = Callable[..., Any]
DECODERS = ["liif", "lte", "lm-liif", "linf", "thera", "fourier", "bilinear", "metasr"]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--decoders", nargs="+", default=DECODERS)
    parser.add_argument("--side", type=int, default=64, help="side of the low-resolution image")
    parser.add_argument("--scale", type=int, default=4)
    options = parser.parse_args()
    select_device("cpu")  # threads as in every command
    lr = picture(None, options.side)
    rows = []
    for name in options.decoders:
        try:
            rows.append(measured(name, lr, options.scale, options.rounds))
        except UserError as error:
            rows.append({"": f"{name}: {error}"})
        print(rows[-1], file=sys.stderr, flush=True)  # noqa: T201
    threads = f"{torch.get_num_threads()} threads"
    title = f"{options.side}² x{options.scale}, float32, {threads}, {machine(lr.device)}"
    report(title, rows, options.json)


def measured(name: str, lr: torch.Tensor, scale: int, rounds: int) -> dict[str, Any]:
    """Return the row of one decoder: seconds of each engine and its difference from PyTorch."""
    model = build(name, scale).eval()
    side = lr.shape[1] * scale
    engines: dict[str, Callable[[], Any]] = {
        "PyTorch": lambda: model.upscale(lr, (side, side), clamp=False)
    }
    files = {part: FORMATS["onnx"][1](graph) for part, graph in graphs(model).items()}
    image, centres = lr[None].numpy(), pixel_centres(side, lr)
    coord = grid_coord(centres, centres).numpy()
    cell = np.full((1, 2), 2 / side, np.float32)
    for engine, loaded in (("onnxruntime", onnxruntime_session), ("OpenVINO", openvino_model)):
        try:
            runs = {part: loaded(content) for part, content in files.items()}
        except ModuleNotFoundError:
            continue
        engines[engine] = lambda runs=runs: enlarged(runs, image, coord, cell)
    expected = engines["PyTorch"]().permute(1, 2, 0).reshape(-1, 3).numpy()
    seconds = interleaved(engines, rounds, lr.device)
    row: dict[str, Any] = {"": name}
    for engine, taken in seconds.items():
        row[f"{engine}, s"] = taken
        if engine != "PyTorch":
            row[f"{engine}, times as fast"] = seconds["PyTorch"] / taken
            row[f"{engine}, difference"] = float(np.abs(engines[engine]() - expected).max())
    return row


def enlarged(runs: dict[str, Run], image: Any, coord: Any, cell: Any) -> Any:  # noqa: ANN401
    """Return the colours (Q, 3) of the points, from one pass through the graphs."""
    field = runs["encoder"](image)
    if "binder" in runs:
        field = runs["binder"](*field, cell)
    return runs["decoder"](*field, coord, cell)[0]


def onnxruntime_session(content: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = _names(content)
    used = {each.name for each in session.get_inputs()}  # without those that change nothing
    return lambda *inputs: session.run(None, _named(names, inputs, used))


def openvino_model(content: bytes) -> Run:
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    names = _names(content)
    used = {each.any_name for each in compiled.inputs}  # without those that change nothing
    return lambda *inputs: list(compiled(_named(names, inputs, used)).values())


def _names(content: bytes) -> list[str]:
    """Return the names of a graph's inputs, in order."""
    return [each.name for each in onnx.load_from_string(content).graph.input]


def _named(names: list[str], inputs: Sequence[Any], used: set[str]) -> dict[str, Any]:
    given = zip(names, inputs, strict=True)
    return {name: value for name, value in given if name in used}


if __name__ == "__main__":
    main()
