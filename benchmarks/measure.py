"""Shared parts of the benchmarks: options, interleaved timing without warm-up, tables and JSON."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from liif.core.errors import UserError
from liif.core.outputs import check_output
from liif.images.convert import to_tensor
from liif.images.resize import pillow_bicubic
from liif.images.rgb8 import read_image
from liif.models.build import ModelConfig, build_model
from liif.models.fastest import fastest_precision
from liif.models.model import SRModel
from liif.models.precision import HALF_TYPES, precision_context
from liif.models.precision_names import UsedPrecision

Candidates = Mapping[str, Callable[[], Any]]


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each candidate")
    parser.add_argument("--json", type=new_file, help="also write the results to this file")
    return parser


def new_file(text: str) -> Path:
    """Parse the name of a file to write, which must not exist."""
    try:
        check_output(Path(text), overwrite=False)
    except UserError as error:
        reason = str(error).replace("--overwrite replaces it", "choose another name")
        raise argparse.ArgumentTypeError(reason) from None
    return Path(text)


def interleaved(candidates: Candidates, rounds: int, device: torch.device) -> dict[str, float]:
    """Return the median seconds of each candidate: an untimed run, then `rounds` in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, run in candidates.items():
            synchronise(device)
            start = time.perf_counter()
            run()
            synchronise(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def peak_megabytes(run: Callable[[], Any], device: torch.device) -> float:
    """Return the peak memory during a run: of the process, or allocated on the GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak
    run()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def matrix_rate(
    device: torch.device, precision: UsedPrecision, row_counts: Sequence[int] = (4096, 16384, 65536)
) -> float:
    """Return the highest FLOP/s of matrix products of the decoder's shape (rows × 256 × 256)."""
    best, dtype = 0.0, HALF_TYPES.get(precision, torch.float32)
    weight = torch.randn(256, 256, device=device, dtype=dtype)
    for rows in row_counts:
        x = torch.randn(rows, 256, device=device, dtype=dtype)
        image = x.view(1, 1, rows, 256).permute(0, 3, 1, 2)
        products: Candidates = {
            "linear": lambda x=x: [F.linear(x, weight) for _ in range(8)],
            "convolution": lambda image=image: [
                F.conv2d(image, weight[:, :, None, None]) for _ in range(8)
            ],
        }
        with precision_context(device, precision):
            times = interleaved(products, 5, device)
        best = max(best, 8 * 2 * rows * 256 * 256 / min(times.values()))
    return best


def convolution_rate(device: torch.device, precision: UsedPrecision) -> float:
    """Return the FLOP/s of the encoder's convolutions, 64 channels of 128²."""
    dtype = HALF_TYPES.get(precision, torch.float32)
    x = torch.randn(1, 64, 128, 128, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, device=device, dtype=dtype)
    with torch.inference_mode():
        run = {"": lambda: [F.conv2d(x, weight, padding=1) for _ in range(8)]}
        seconds = interleaved(run, 5, device)[""]
    return 8 * 2 * 9 * 64 * 64 * 128**2 / seconds


def precisions(device: torch.device) -> list[UsedPrecision]:
    """Return float32, on NVIDIA GPUs TF32, and bf16 or fp16 where it is faster: on many CPUs it is
    hundreds of times slower."""
    fastest = fastest_precision(device)
    exact: list[UsedPrecision] = ["float32", "tf32"] if device.type == "cuda" else ["float32"]
    return exact if fastest == "float32" else [*exact, fastest]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def paper_model(seed: int = 0) -> SRModel:
    """Return EDSR-baseline-LIIF with random weights."""
    config = ModelConfig(
        encoder={"name": "edsr-baseline"},  # pyright: ignore[reportCallIssue, reportArgumentType]
        decoder={"name": "liif"},  # pyright: ignore[reportArgumentType]
    )
    return build_model(config, seed=seed)


def picture(path: Path | None, side: int) -> torch.Tensor:
    """Return the centre square of an image, reduced by bicubic: (3, side, side) in [0, 1]."""
    photos = Path(__file__).parent.parent / "liif" / "photos"
    image = read_image(path or photos / "test" / "kitten.webp")
    edge = min(image.shape[:2])
    top, left = (image.shape[0] - edge) // 2, (image.shape[1] - edge) // 2
    square = image[top : top + edge, left : left + edge]
    return to_tensor(pillow_bicubic(square, (side, side)))


def machine(device: torch.device) -> str:
    """Return the name of the device and the version of PyTorch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None) -> None:
    """Print a table as Markdown, and write it to path as JSON."""
    print(table(title, rows))  # noqa: T201
    if path is not None:
        path.write_text(json.dumps({"title": title, "rows": rows}, indent=1) + "\n")


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with the keys of all rows as its columns."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [title, "", f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
    for row in rows:
        lines.append(f"| {' | '.join(_cell(row.get(key, '')) for key in keys)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4g}" if isinstance(value, float) else str(value)
