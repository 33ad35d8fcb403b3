"""Measure everything on the machine at hand, quiet or busy, in less than ten minutes: one page.

    python benchmarks/all.py [--json FILE]

What is compared runs in turn in one process. A processor with AVX-512 is measured twice, the second
time as one that has AVX2 only (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from decoders import build
from measure import (
    convolution_rate,
    interleaved,
    machine,
    matrix_rate,
    new_file,
    picture,
    precisions,
    table,
)
from recipes import step

from liif.commands.device import select_device
from liif.core.config_file import load_config
from liif.core.threads import available_cores
from liif.evaluation.metrics import ssim
from liif.evaluation.protocols import ScoreProtocol
from liif.images.resize import matlab_bicubic
from liif.images.rgb8 import write_image
from liif.models import reference
from liif.models.build import DECODERS
from liif.models.precision_names import UsedPrecision
from liif.training.config import TrainConfig

Row = dict[str, Any]
CPU = torch.device("cpu")
CONFIGS = Path(__file__).parent.parent / "configs"
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
SIDE, SCALE, ROUNDS = 64, 4, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=new_file, help="also write the results to this file")
    options = parser.parse_args()
    select_device("cpu")  # threads as in every command
    sections = {}
    print(title(), "\n", sep="")  # noqa: T201
    for name, rows in measurements():
        sections[name] = rows
        print(table(name, rows), "\n", sep="", flush=True)  # noqa: T201
    if options.json:
        content = {"title": title(), "sections": sections}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    is_emulated = AVX2.keys() <= os.environ.keys()
    if torch.backends.cpu.get_cpu_capability().startswith("AVX512") and not is_emulated:
        command = [sys.executable, __file__]
        if options.json:
            command += ["--json", str(options.json.with_suffix(".avx2.json"))]
        subprocess.run(command, env={**os.environ, **AVX2}, check=True)


def title() -> str:
    """Return what the figures belong to."""
    units = torch.backends.cpu.get_cpu_capability()
    limits = " ".join(f"{key}={os.environ[key]}" for key in AVX2 if key in os.environ)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    name = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    return (
        f"# {name.partition(':')[2].strip() or machine(CPU)}\n"
        f"{available_cores()} cores, {machine(CPU)}, {units}; load before: {load:.1f}. {limits}"
    )


def measurements() -> Iterator[tuple[str, list[Row]]]:
    """Yield the title and the rows of each table when it is measured."""
    rates: dict[UsedPrecision, float] = {p: convolution_rate(CPU, p) for p in precisions(CPU)}
    yield (
        "Limits of the machine (GFLOP/s)",
        [
            {
                "": name,
                "matrix products": matrix_rate(CPU, name, (4096, 16384)) / 1e9,
                "convolutions": rate / 1e9,
            }
            for name, rate in rates.items()
        ],
    )
    size = SIDE * SCALE
    yield f"A picture, {SIDE}² to {size}², EDSR-baseline, random weights", list(decoders(size))
    yield "A training step of the quick start", [training_step()]
    yield "Scores of an RGB image of 2040 × 1356 px", [scores()]
    yield "Commands (with all that they import)", list(commands())


def decoders(size: int) -> Iterator[Row]:
    """Yield a row for each decoder; the first is LIIF in the published formulation."""
    lr = picture(None, SIDE)
    models = {name: build(name, SCALE).eval() for name in DECODERS}
    fields = {name: model.encoded(lr[None]) for name, model in models.items()}
    whole, query = {}, {}
    whole["published"] = lambda: reference.upscale(models["liif"], lr, (size, size))
    query["published"] = lambda: models["liif"].encoded(lr[None]).codes  # the part to subtract
    for name, model in models.items():
        whole[name] = lambda m=model: m.upscale(lr, (size, size), clamp=False)
        query[name] = lambda m=model, f=fields[name]: m.rendered(f, (size, size))
    seconds = interleaved(whole, ROUNDS, CPU)
    queries = interleaved(query, ROUNDS, CPU)
    queries["published"] = seconds["published"] - queries["published"]
    for name, all_of_it in seconds.items():
        yield {
            "": "liif, published formulation" if name == "published" else name,
            "seconds": all_of_it,
            "times the published one": seconds["published"] / all_of_it,
            "query, seconds": queries[name],
            "query, megapixels/s": size**2 / 1e6 / queries[name],
            "query, times the published one": queries["published"] / queries[name],
        }


def training_step() -> Row:
    """Measure a step of the size of configs/quickstart.yaml, on random samples."""
    update = step(load_config(TrainConfig, CONFIGS / "quickstart.yaml"), CPU)

    def steps() -> None:
        for _ in range(20):
            update()

    return {"": "milliseconds", "a step": 50 * interleaved({"": steps}, ROUNDS, CPU)[""]}


def scores() -> Row:
    """Measure the scores of an evaluation."""
    sr, hr = torch.rand(2, 3, 1356, 2040)
    small = hr[:, ::4, ::4].permute(1, 2, 0).mul(255).byte().numpy()
    run = {
        "SSIM": lambda: ssim(sr, hr, ScoreProtocol(luma=False, border=(0, 0))),
        "MATLAB's bicubic, x4": lambda: matlab_bicubic(small, (1356, 2040)),
    }
    return {"": "seconds", **interleaved(run, ROUNDS, CPU)}


def commands() -> Iterator[Row]:
    """Measure commands in processes of their own, once each."""
    with tempfile.TemporaryDirectory() as folder:
        photo, result = Path(folder, "photo.png"), Path(folder, "photo-x4.png")
        pixels = picture(None, 512).permute(1, 2, 0)
        write_image(photo, (pixels * 255).round().byte().numpy())
        upscale = ["upscale", str(photo), "-o", str(result), "--scale", "4"]
        for words in (["--help"], ["models", "decoders"], upscale):
            begun = time.perf_counter()
            command = [sys.executable, "-m", "liif", *words]
            subprocess.run(command, check=True, capture_output=True)
            seconds = time.perf_counter() - begun
            name = "upscale a photo of 512² to 2048²" if words is upscale else " ".join(words)
            yield {"": f"liif {name}", "seconds": seconds}


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()
