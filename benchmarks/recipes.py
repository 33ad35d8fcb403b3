"""Measure the time of every training configuration on this machine: per step, and extrapolated.

python benchmarks/recipes.py [--config configs/edsr-liif.yaml …]
"""

from pathlib import Path
from typing import Any

import torch
from measure import arguments, interleaved, machine, precisions, report

from liif.commands.device import keep_freed_memory
from liif.core.config_file import load_config
from liif.data.loader import Batch
from liif.models.build import build_model
from liif.models.geometry import grid_coord, pixel_centres
from liif.models.precision_names import UsedPrecision
from liif.training.config import TrainConfig
from liif.training.optimizers import make_optimizer
from liif.training.step import train_step


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--config", type=Path, action="append", default=[])
    options = parser.parse_args()
    device = torch.device(options.device)
    keep_freed_memory(device)
    files = options.config or [
        path
        for path in sorted(Path("configs").glob("*.yaml"))
        if not path.stem.startswith("test-") and path.stem != "quickstart"
    ]
    rows: list[dict[str, Any]] = []
    for file in files:
        config = load_config(TrainConfig, file)
        steps = {p: step(config, device, precision=p) for p in precisions(device)}
        seconds = interleaved(steps, options.rounds, device)
        row: dict[str, Any] = {"": file.stem, "steps": config.steps}
        for name, each in seconds.items():
            row[f"{name}, s a step"] = each
            row[f"{name}, hours in all"] = each * config.steps / 3600
        rows.append(row)
        print(row, flush=True)  # noqa: T201
    report(f"training, {machine(device)}", rows, options.json)


def step(  # noqa: ANN201
    config: TrainConfig, device: torch.device, *, precision: UsedPrecision = "float32"
):
    """Return a function that updates a model once, on random data of the configured shapes."""
    data, B = config.train_data, config.batch_size
    side = data.size[0] if data.sampling == "size-varied" else data.patch
    lr = torch.rand(B, 3, side, side, device=device)
    if data.layout == "crop":
        low, high = data.scale
        size = round(side * (low + (high - low) / (data.scale_power + 1)))  # of the mean scale
        line = pixel_centres(size, lr)
        coord, count = grid_coord(line, line).expand(B, -1, -1), size**2
        cell = torch.full((B, 2), 2 / size, device=device)
    else:
        count = data.queries
        coord = torch.rand(B, count, 2, device=device) * 2 - 1
        cell = torch.rand(B, 2, device=device) / 20
    target = torch.rand(B, count, 3, device=device)
    batch = Batch(lr, coord, cell, target, is_crop=data.layout == "crop")
    model = build_model(config.model).to(device).train()
    optimizer = make_optimizer(model, config.optimizer, config.learning_rate)

    def run() -> None:
        train_step(model, optimizer, batch, learning_rate=1e-6, precision=precision)

    return run


if __name__ == "__main__":
    main()
