# pyright: basic
"""Measure how time and memory grow with the pixels of the result and of the input.

python benchmarks/scaling.py [--precision bf16] [--largest 64] [--plot FILE.png]

Exponents are least-squares slopes of log(time) over log(pixels), start-up costs included: 1 is
linear.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import arguments, machine, paper_model, peak_megabytes, picture, report, synchronise

from liif.models.checkpoint import load_checkpoint
from liif.models.model import SRModel
from liif.models.precision_names import Precision

OUTPUTS = (0.25, 1, 4, 16, 64)
"""Megapixels of the result, from an input of 256 × 256."""
INPUTS = (1 / 16, 1 / 4, 1, 4, 16)
"""Megapixels of the input, enlarged x2."""


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(rounds=1)
    parser.add_argument("--checkpoint", type=Path, help="default: random weights")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--largest", type=float, default=64, help="megapixels of the largest one")
    parser.add_argument("--plot", type=Path, help="write a plot to this file")
    options = parser.parse_args()
    device = torch.device(options.device)
    model = load_checkpoint(options.checkpoint) if options.checkpoint else paper_model().eval()
    model.to(device)
    precision: Precision = options.precision
    run(model, picture(None, 64)[None].to(device), 128, precision)  # warm-up

    def side(megapixels: float) -> int:
        return round((megapixels * 2**20) ** 0.5)

    sweeps = {
        "result": [(256, side(m), m) for m in OUTPUTS if m <= options.largest],
        "input": [(side(m), 2 * side(m), m) for m in INPUTS if 4 * m <= options.largest],
    }
    rows: list[dict[str, Any]] = []
    for name, sizes in sweeps.items():
        for small, large, megapixels in sizes:
            seconds: list[float] = []
            lr = picture(None, small)[None].to(device)
            job = partial(timed, seconds, device, partial(run, model, lr, large, precision))
            memory = peak_megabytes(job, device)
            for _ in range(options.rounds - 1):
                job()
            rows.append(
                {
                    "sweep": name,
                    "megapixels": megapixels,
                    "from": f"{small}²",
                    "to": f"{large}²",
                    "seconds": statistics.median(seconds),
                    "peak MB": memory,
                }
            )
    for row in rows:
        row["exponent of time"], row["exponent of memory"] = (
            exponent([r for r in rows if r["sweep"] == row["sweep"]], key)
            for key in ("seconds", "peak MB")
        )
    title = f"cost of enlarging, {options.precision}, {machine(device)}"
    report(title, rows, options.json)
    if options.plot:
        plot(rows, title, options.plot)


def timed(seconds: list[float], device: torch.device, job: Callable[[], None]) -> None:
    """Run the job and append the seconds it took."""
    start = time.perf_counter()
    job()
    synchronise(device)
    seconds.append(time.perf_counter() - start)


def run(model: SRModel, lr: torch.Tensor, large: int, precision: Precision) -> None:
    """Enlarge lr (1, 3, h, w) to large², strip by strip, and keep nothing."""
    for _ in model.strips(lr, (large, large), precision=precision):
        pass


def exponent(rows: list[dict[str, Any]], key: str) -> float:
    """Slope of log(key) over log(megapixels)."""
    pixels, values = np.array([[row["megapixels"], row[key]] for row in rows]).T
    return float(np.polyfit(np.log(pixels), np.log(values), 1)[0])


def plot(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Time and memory over megapixels, each sweep a line."""
    from matplotlib.figure import Figure  # only needed for a plot

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    figure.suptitle(title, fontsize=10)
    for axis, key in zip(axes, ("seconds", "peak MB"), strict=True):
        for name in ("result", "input"):
            part = [row for row in rows if row["sweep"] == name]
            slope = part[0]["exponent of " + {"seconds": "time", "peak MB": "memory"}[key]]
            x, y = [row["megapixels"] for row in part], [row[key] for row in part]
            axis.loglog(x, y, "o-", label=f"{name}: exponent {slope:.2f}")
        axis.set(xlabel="megapixels of the result, or of the input at x2", ylabel=key)
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend()
    axes[1].set_ylim(100, 10_000)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
