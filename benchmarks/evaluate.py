"""Measure whole tests, including image loading and metrics: the published formulation and ours.

Each runs in its own process: ours keeps freed memory, as `liif test` does, irrevocably. A second
table shows the time of a test outside the model, and the parts of a test, each alone: reading,
scores and bicubic are hidden behind the model as far as they do not wait for each other.

python benchmarks/evaluate.py --checkpoint FILE --config configs/test-set14-x4.yaml [--config …]
                              [--set KEY=VALUE] [--variant "ours float32"]
"""

import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import arguments, machine, report, synchronise

from liif.commands.device import keep_freed_memory
from liif.core.config_file import load_config
from liif.evaluation import evaluate as evaluation
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import mean
from liif.evaluation.metrics import psnr, ssim
from liif.evaluation.protocols import get_protocol
from liif.images.convert import to_tensor
from liif.images.resize import matlab_bicubic
from liif.inference.predict import InferenceOptions, predict
from liif.models.checkpoint import load_checkpoint

VARIANTS = {
    "published": InferenceOptions(engine="reference"),
    "ours float32": InferenceOptions(),
    "ours bf16": InferenceOptions(precision="bf16"),
}


PARTS: tuple[str, ...] = ("model", "reading", "scores", "bicubic")


class Run(NamedTuple):
    """Seconds of a whole test, and of its parts, each alone."""

    seconds: float
    outside: float
    """Seconds that are not spent waiting for the model."""
    parts: dict[str, float]
    images: int
    psnr: float


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(rounds=1)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="default: all")
    options = parser.parse_args()
    device = torch.device(options.device)
    variants = options.variant or list(VARIANTS)
    rows: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    for file in options.config:
        config = load_config(TestConfig, file, options.set)
        found: dict[str, list[Run]] = {name: [] for name in variants}
        for _ in range(options.rounds):
            for name in variants:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    run = process.submit(test, options.checkpoint, device, config, VARIANTS[name])
                    found[name].append(run.result())
        first = min(run.seconds for run in found[variants[0]])
        for name, runs in found.items():
            title = f"{config.set} x{config.scale[0]:g}, {name}"
            seconds, outside = min((run.seconds, run.outside) for run in runs)
            parts = {part: min(run.parts[part] for run in runs) for part in PARTS}
            rows.append(
                {
                    "": title,
                    "seconds": seconds,
                    "times as fast": first / seconds,
                    "images/s": runs[0].images / seconds,
                    "PSNR": f"{runs[0].psnr:.4f}",
                    "difference": runs[0].psnr - found[variants[0]][0].psnr,
                }
            )
            share = f"{outside / seconds:.1%}"
            shares.append({"": title, "test": seconds, "outside the model": share, **parts})
    report(f"whole tests, {machine(device)}", rows, options.json)
    shares_file = options.json and options.json.with_stem(f"{options.json.stem}-shares")
    report(f"\nparts of a test alone, s, least of {options.rounds}", shares, shares_file)


def test(
    checkpoint: Path, device: torch.device, config: TestConfig, options: InferenceOptions
) -> Run:
    """Measure a test, then its parts one after the other."""
    if options.engine == "fast":
        keep_freed_memory(device)
    parts = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def timed(part: str) -> Generator[None]:
        start = time.perf_counter()
        yield
        synchronise(device)
        parts[part] += time.perf_counter() - start

    def timed_predict(*arguments: Any) -> torch.Tensor:  # noqa: ANN401
        with timed("model"):
            return predict(*arguments)

    evaluation.predict = timed_predict  # in this process only
    model = load_checkpoint(checkpoint, device)
    start = time.perf_counter()
    pairs, protocol = config.open_pairs(), get_protocol(config.protocol, config.scale)
    psnrs = [scores.psnr for scores in evaluation.evaluate(model, pairs, protocol, options)]
    seconds = time.perf_counter() - start
    outside = seconds - parts["model"]

    parts["model"] = 0.0
    source = iter(pairs)
    for _ in range(len(pairs)):
        with timed("reading"):
            pair = next(source)
        size = pair.hr.shape[0], pair.hr.shape[1]
        with timed("model"):
            sr = predict(model, to_tensor(pair.lr).to(device), size, options).clamp(0, 1)
        with timed("scores"):
            hr = to_tensor(pair.hr).to(device)
            ssim(sr, hr, protocol)
            for luma in (False, True):
                psnr(sr, hr, replace(protocol, luma=luma))
        with timed("bicubic"):
            psnr(to_tensor(matlab_bicubic(pair.lr, size)), to_tensor(pair.hr), protocol)
    return Run(seconds, outside, parts, len(psnrs), mean(psnrs))


if __name__ == "__main__":
    main()
