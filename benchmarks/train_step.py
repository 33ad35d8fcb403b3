"""One training step (batch 16, 48×48, 2,304 queries): the published formulation beside ours.

python benchmarks/train_step.py
"""

import copy

import torch
from measure import arguments, interleaved, machine, paper_model, peak_megabytes, precisions, report

from liif.commands.device import keep_freed_memory
from liif.data.loader import Batch
from liif.models import reference
from liif.models.precision_names import UsedPrecision
from liif.training.step import train_step


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--queries", type=int, default=2304)
    options = parser.parse_args()
    device = torch.device(options.device)
    keep_freed_memory(device)  # as `liif train` does; it also speeds up the published step
    B, Q = options.batch_size, options.queries
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator).to(device)

    batch = Batch(random(B, 3, 48, 48), random(B, Q, 2) * 2 - 1, random(B, 2) / 20, random(B, Q, 3))
    start = paper_model().to(device).train()
    losses: dict[str, list[float]] = {}

    def candidate(  # noqa: ANN202
        name: str, *, published: bool = False, precision: UsedPrecision = "float32"
    ):
        model = copy.deepcopy(start)
        optimizer = torch.optim.Adam(model.parameters())
        losses[name] = []

        def forward(lr: torch.Tensor, coord: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
            return reference.forward(model, lr, coord, cell[:, None].expand(-1, Q, -1))

        def run() -> None:
            result = train_step(
                model,
                optimizer,
                batch,
                learning_rate=1e-4,
                forward=forward if published else None,
                precision=precision,
            )
            losses[name].append(result.loss)

        return run

    candidates = {
        "published": candidate("published", published=True),
        **{f"ours {p}": candidate(f"ours {p}", precision=p) for p in precisions(device)},
    }
    seconds = interleaved(candidates, options.rounds, device)
    steps = list(zip(*losses.values(), strict=True))
    rows = [
        {
            "": name,
            "seconds": seconds[name],
            "times as fast": seconds["published"] / seconds[name],
            "images/s": B / seconds[name],
            "peak MB": peak_megabytes(run, device),
            "largest difference of a loss": max(
                abs(losses[name][i] - s[0]) for i, s in enumerate(steps)
            ),
        }
        for name, run in candidates.items()
    ]
    report(f"training step, {B} × 48², {Q} queries, {machine(device)}", rows, options.json)


if __name__ == "__main__":
    main()
