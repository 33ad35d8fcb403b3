"""Measure whole tests, including image loading and metrics: the published formulation and ours.

Each runs in its own process: ours keeps freed memory, as `liif test` does, irrevocably.

python benchmarks/evaluate.py --checkpoint FILE --config configs/test-set14-x4.yaml [--config …]
                              [--set KEY=VALUE]
"""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from measure import arguments, machine, report, synchronise

from liif.commands.device import keep_freed_memory
from liif.core.config_file import load_config
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import evaluate, mean
from liif.evaluation.protocols import get_protocol
from liif.inference.predict import InferenceOptions
from liif.models.checkpoint import load_checkpoint

VARIANTS = {
    "published": InferenceOptions(engine="reference"),
    "ours float32": InferenceOptions(),
    "ours bf16": InferenceOptions(precision="bf16"),
}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.set_defaults(rounds=1)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    device = torch.device(options.device)
    rows: list[dict[str, Any]] = []
    for file in options.config:
        config = load_config(TestConfig, file, options.set)
        found: dict[str, list[tuple[float, int, float]]] = {name: [] for name in VARIANTS}
        for _ in range(options.rounds):
            for name, variant in VARIANTS.items():
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    run = process.submit(test, options.checkpoint, device, config, variant)
                    found[name].append(run.result())
        seconds = {name: min(run[0] for run in runs) for name, runs in found.items()}
        rows += [
            {
                "": f"{config.set} x{config.scale[0]:g}, {name}",
                "seconds": seconds[name],
                "times as fast": seconds["published"] / seconds[name],
                "images/s": runs[0][1] / seconds[name],
                "PSNR": f"{runs[0][2]:.4f}",
                "difference": runs[0][2] - found["published"][0][2],
            }
            for name, runs in found.items()
        ]
    report(f"whole tests, {machine(device)}", rows, options.json)


def test(
    checkpoint: Path, device: torch.device, config: TestConfig, options: InferenceOptions
) -> tuple[float, int, float]:
    """Return seconds, number of images and mean PSNR."""
    if options.engine == "fast":
        keep_freed_memory(device)
    model = load_checkpoint(checkpoint, device)
    start = time.perf_counter()
    pairs, protocol = config.open_pairs(), get_protocol(config.protocol, config.scale)
    psnrs = [scores.psnr for scores in evaluate(model, pairs, protocol, options)]
    synchronise(device)
    return time.perf_counter() - start, len(psnrs), mean(psnrs)


if __name__ == "__main__":
    main()
