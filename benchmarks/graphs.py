"""One training step launched kernel by kernel, and replayed from a CUDA graph (batch 16, 48×48,
2,304 queries, EDSR-baseline with LIIF), in the order of the training loop: each step is read while
the next one runs. Needs an NVIDIA GPU; half a minute.

python benchmarks/graphs.py
"""

import copy
import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from measure import arguments, machine, paper_model, report

from liif.data.loader import Batch
from liif.models.precision_names import UsedPrecision
from liif.training.graph import GraphedStep
from liif.training.losses.pointwise import L1Config
from liif.training.losses.terms import LossTerms
from liif.training.optimizers import OptimizerName, make_optimizer
from liif.training.state import TrainingState
from liif.training.step import StepResult, train_step


class Variant(NamedTuple):
    """What is trained, and how."""

    precision: UsedPrecision
    optimizer: OptimizerName = "adam"
    benchmark: bool = False
    """cudnn.benchmark."""
    channels_last: bool = False
    """Of the weights."""

    def __str__(self) -> str:
        marks = {"cudnn.benchmark": self.benchmark, "channels-last weights": self.channels_last}
        names = [self.precision, self.optimizer, *(name for name, is_on in marks.items() if is_on)]
        return ", ".join(names)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--queries", type=int, default=2304)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type != "cuda":
        raise SystemExit("a CUDA graph needs an NVIDIA GPU: --device cuda")
    B, Q = options.batch_size, options.queries
    torch.manual_seed(0)
    shapes = (B, 3, 48, 48), (B, Q, 2), (B, 2), (B, Q, 3)
    lr, coord, cell, target = (torch.rand(shape, device=device) for shape in shapes)
    batch = Batch(lr, coord * 2 - 1, cell / 20, target)
    start = paper_model().to(device).train()
    variants = [
        *(Variant(p, benchmark=b) for p in ("float32", "tf32", "bf16") for b in (False, True)),
        Variant("bf16", channels_last=True),
        Variant("bf16", channels_last=True, benchmark=True),
        Variant("bf16", "muon"),
    ]
    rows = [measured(start, batch, each, options.steps) for each in variants]
    report(f"training step, {B} × 48², {Q} queries, {machine(device)}", rows, options.json)


def measured(start: torch.nn.Module, batch: Batch, variant: Variant, steps: int) -> dict[str, Any]:
    """Return a row of the table: both kinds of steps from the same weights."""
    torch.backends.cudnn.benchmark = variant.benchmark
    found = dict[str, tuple[float, float, float, float]]()
    is_recorded = False
    for kind in ("eager", "graph"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        state = state_of(copy.deepcopy(start), variant)
        eager = partial(
            train_step,
            state.model,
            state.optimizer,
            losses=state.losses,
            precision=variant.precision,
            clip_gradient=1.0,
        )
        graph = GraphedStep(state, eager, precision=variant.precision, clip_gradient=1.0)
        step: Callable[..., Any] = graph if kind == "graph" else eager
        take(state, step, batch, 8)
        seconds, host, loss = take(state, step, batch, steps)
        found[kind] = seconds, host, loss, torch.cuda.max_memory_reserved() / 2**20
        is_recorded = bool(graph.graphs)
        del state, eager, graph, step
        gc.collect()
    eager_s, _, eager_loss, eager_memory = found["eager"]
    graph_s, launch_s, graph_loss, graph_memory = found["graph"]
    return {
        "": str(variant) + ("" if is_recorded else " (not recorded)"),
        "eager, ms": 1e3 * eager_s,
        "graph, ms": 1e3 * graph_s,
        "times as fast": eager_s / graph_s,
        "host launches a graph in, ms": 1e3 * launch_s,
        "loss, eager": eager_loss,
        "loss, graph": graph_loss,
        "reserved MB, eager": eager_memory,
        "reserved MB, graph": graph_memory,
    }


def state_of(model: Any, variant: Variant) -> TrainingState:  # noqa: ANN401
    if variant.channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, variant.optimizer, 1e-4, bf16=variant.precision == "bf16")
    return TrainingState(model, optimizer, LossTerms([L1Config()], std=model.std), ema_decay=0.999)


def take(
    state: TrainingState, step: Callable[..., Any], batch: Batch, count: int
) -> tuple[float, float, float]:
    """Return seconds a step, seconds in which the host launches one, and the last loss."""
    torch.cuda.synchronize()
    begun, launching, late, loss = time.perf_counter(), 0.0, None, 0.0
    for _ in range(count):
        before = time.perf_counter()
        started = step(batch=batch, learning_rate=1e-4)
        launching += time.perf_counter() - before
        if late is not None:
            loss = late.read().loss
        late = started
        if isinstance(started, StepResult):
            state.update_ema()
        state.step += 1
    loss = late.read().loss if late is not None else loss
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / count, launching / count, loss


if __name__ == "__main__":
    main()
