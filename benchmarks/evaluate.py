"""A whole test, image loading and metrics included: the published formulation beside ours. Each has
a process of its own: ours keeps freed memory, as `liif test` does, and that cannot be undone.

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

WAYS = {
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
        found: dict[str, list[tuple[float, int, float]]] = {name: [] for name in WAYS}
        for _ in range(options.rounds):
            for name, way in WAYS.items():
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    run = process.submit(test, options.checkpoint, device, config, way)
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
    checkpoint: Path, device: torch.device, config: TestConfig, way: InferenceOptions
) -> tuple[float, int, float]:
    """Seconds, images and mean PSNR."""
    if way.engine == "fast":
        keep_freed_memory(device)
    model = load_checkpoint(checkpoint, device)
    start = time.perf_counter()
    pairs = config.open_pairs()
    psnrs = [
        s.psnr for s in evaluate(model, pairs, get_protocol(config.protocol, config.scale), way)
    ]
    synchronise(device)
    return time.perf_counter() - start, len(psnrs), mean(psnrs)


if __name__ == "__main__":
    main()
