"""One training step (Chen et al. 2021, sec. 4 and 5)."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from liif.core.distributed import ALONE, Team
from liif.data.loader import Batch
from liif.models.model import SRModel
from liif.training.config import TrainConfig
from liif.training.losses import l1_loss


class DivergedError(ArithmeticError):
    """The loss or the gradient is not finite; the weights were not touched."""


def train_step(
    model: SRModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    learning_rate: float,
    forward: Callable[..., Tensor] | None = None,
    bf16: bool = False,
    clip_gradient: float | None = None,
    accumulate: int = 1,
    team: Team = ALONE,
    batch_size: int | None = None,
) -> tuple[float, float]:
    """One update; returns the loss before it and the gradient's norm.

    Args:
        batch: the samples of this process.
        accumulate: work through them in so many parts, for less memory and the same gradient.
        team: with several processes `forward` is a DistributedDataParallel model.
        batch_size: samples of all processes.

    Raises:
        DivergedError: before the update, in every process, if one of them is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    apply: Callable[..., Tensor] = model if forward is None else forward
    share = torch.zeros((), device=batch.lr.device)
    parts = batch.split(accumulate)
    for i, part in enumerate(parts):
        # Only the last part's backward pass sums the gradients over the processes.
        is_last = i == len(parts) - 1
        shared = forward if isinstance(forward, DistributedDataParallel) else None
        with nullcontext() if shared is None or is_last else shared.no_sync():
            # Convolutions in bf16 are a tenth faster so; in float32 not, and they round otherwise.
            lr = part.lr.contiguous(memory_format=torch.channels_last) if bf16 else part.lr
            with torch.autocast(lr.device.type, torch.bfloat16, enabled=bf16):
                rgb = apply(lr, part.coord, part.cell)
            loss = l1_loss(model, rgb.float(), part.target)
            weight = len(part.lr) / (batch_size or len(batch.lr))
            # The processes' gradients are averaged, but their losses are shares of one mean.
            (loss if weight == 1 else loss * (weight * team.size)).backward()
            share += loss.detach() * weight
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    # The host waits for the device here, and only here.
    share_of_loss, norm_of_all = torch.stack([share, norm.to(share)]).tolist()
    values = team.total(share_of_loss), norm_of_all
    if not all(map(math.isfinite, values)):
        raise DivergedError(f"loss {values[0]}, gradient norm {values[1]}")
    if clip_gradient is not None:
        clip_grads_with_norm_(parameters, clip_gradient, norm)
    optimizer.step()
    return values


def forward_of(model: SRModel, config: TrainConfig, team: Team) -> Callable[..., Tensor] | None:
    """What a step calls in place of the model: one that sums gradients over the processes, a
    compiled one, or both."""
    forward = model if team.size == 1 else DistributedDataParallel(model)
    if config.compile == "max-autotune":
        # Captured graphs own the gradients, which the next part of a batch would find overwritten.
        graphs = "" if config.accumulate == 1 else "-no-cudagraphs"
        return torch.compile(forward, mode=f"max-autotune{graphs}")
    if config.compile:
        return torch.compile(forward)
    return None if forward is model else forward
