"""What a measurement on a GPU belongs to: the card, its driver and limits, the libraries, the code;
and the yardstick, the rate of matrix products that are large enough to be bound by computation."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from measure import interleaved, precisions

from liif.models.precision import HALF_TYPES, precision_context

ROOT = Path(__file__).resolve().parents[1]
QUERY = "name,driver_version,power.limit,clocks.max.sm,memory.total,temperature.gpu"
DATA_SHEET = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}
"""FLOP/s of dense bf16 products as NVIDIA publishes them, by a part of the card's name."""
SMALLEST, LARGEST = 512, 16384
"""Sides of the matrices of the yardstick."""
ENOUGH_S = 5e-3
"""Seconds of one product from which it is bound by computation on every GPU known today."""


def environment(device: torch.device) -> dict[str, str]:
    """Return name and value of all that a figure depends on; what cannot be found says why."""
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _commit(),
        "liif": _version("liif"),
        "Python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": f"{_processor()}, {os.cpu_count()} threads",
        "PyTorch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
        "Triton": _version("triton"),
        "device": str(device),
    }
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        found["GPUs"] = str(torch.cuda.device_count())
        found["GPU"] = torch.cuda.get_device_name(device)
        found["compute capability"] = ".".join(map(str, capability))
        found["multiprocessors"] = str(
            torch.cuda.get_device_properties(device).multi_processor_count
        )
        found[f"nvidia-smi ({QUERY})"] = _output(
            "nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"
        )
    names = ("CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "NVIDIA_TF32_OVERRIDE")
    found |= {name: os.environ[name] for name in names if name in os.environ}
    return found


def yardstick(device: torch.device) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the highest FLOP/s of square matrix products by precision, and a table of them. The
    side is doubled until one product takes long enough to be bound by computation."""
    peaks: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for precision in precisions(device):
        n, seconds, rate, side = SMALLEST, 0.0, 0.0, 0
        while seconds < ENOUGH_S and n <= LARGEST:
            dtype = HALF_TYPES.get(precision, torch.float32)
            a, b = (torch.rand(n, n, device=device, dtype=dtype) - 0.5 for _ in range(2))
            with torch.inference_mode(), precision_context(device, precision):
                seconds = interleaved({"": lambda a=a, b=b: a @ b}, 3, device)[""]
            rate, side, n = max(rate, 2 * n**3 / seconds), n, 2 * n
        peaks[precision] = rate
        row = {"products": precision, "largest side": side, "TFLOP/s": rate / 1e12}
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        sheet = next((peak for part, peak in DATA_SHEET.items() if part in name), None)
        row["share of the data sheet's"] = rate / sheet if sheet and precision == "bf16" else ""
        rows.append(row)
    return peaks, rows


def _commit() -> str:
    """Return the commit, and which of its files were changed; files of one's own are no change."""
    git = ("git", "-C", str(ROOT))
    commit = _output(*git, "rev-parse", "--short", "HEAD")
    changed = _output(*git, "diff", "--name-status", "HEAD").replace("\t", " ")
    is_known = not commit.startswith("unknown")
    return f"{commit}, changed: {changed[:300]}" if changed and is_known else commit


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {type(error).__name__}"
    text = "; ".join(done.stdout.split("\n")).strip("; ")
    return text if done.returncode == 0 else f"unknown: {done.stderr.strip()[:100]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
