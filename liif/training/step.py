"""One training step (Chen et al. 2021, sec. 4 and 5)."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from inspect import signature
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.data.loader import Batch
from liif.models.model import SRModel
from liif.models.precision import autocast, tf32_context
from liif.models.precision_names import UsedPrecision
from liif.training.losses.pointwise import L1Config
from liif.training.losses.terms import LossTerms


class DivergedError(ArithmeticError):
    """The loss or the gradient is not finite; the weights are unchanged."""


class HalfUpdatedError(Exception):
    """Memory ran out while the weights were updated: they must not be saved."""


class StepResult(NamedTuple):
    """What one step reports."""

    loss: float
    """Before the update."""
    gradient_norm: float
    """Before clipping; not finite if the step was skipped."""
    stop: bool
    """Whether any process was told to stop."""
    terms: dict[str, float]
    """The values that the loss is the weighted sum of, and what losses with parameters of their own
    minimise (NAME/own)."""

    @property
    def is_skipped(self) -> bool:
        """Whether the weights were left as they are, as fp16 does where a gradient overflows."""
        return not math.isfinite(self.gradient_norm)

    def read(self) -> "StepResult":
        """Return this: the step is finished, unlike one of a `GraphedStep`."""
        return self


def train_step(
    model: SRModel,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    learning_rate: float,
    losses: LossTerms | None = None,
    forward: Callable[..., Tensor] | None = None,
    precision: UsedPrecision = "float32",
    scaler: torch.amp.GradScaler | None = None,
    clip_gradient: float | None = None,
    accumulate: int = 1,
    team: Team = ALONE,
    batch_size: int | None = None,
    stop: bool = False,
) -> StepResult:
    """Update the weights once, and those of losses that have any.

    Args:
        batch: the samples of this process, on the model's device.
        learning_rate: of the parameters whose group has no factor of its own.
        losses: the terms to minimise; by default the published one.
        forward: called in place of the model: see `forward_of`.
        scaler: multiplies the loss under fp16. If the gradient overflows, it skips the step and
            halves its factor (Micikevicius et al., Mixed Precision Training, ICLR 2018, sec. 3.2).
        clip_gradient: maximum norm of the gradient.
        accumulate: micro-batches to split the batch into: less memory, the same gradient.
        team: the processes of the run; with several, `forward` sums gradients over them.
        batch_size: samples of all processes together.
        stop: whether this process was told to stop.

    Raises:
        DivergedError: before the update, in every process, if loss or gradient is not finite.
        HalfUpdatedError: the update failed on the way.
    """
    losses = losses or LossTerms([L1Config()], std=model.std)
    optimizers = (optimizer, *losses.optimizers.values())
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("factor", 1.0)
    losses.set_learning_rate(learning_rate)
    gradients = compute_gradients(
        model,
        optimizer,
        losses,
        batch,
        forward=forward,
        precision=precision,
        scaler=scaler,
        accumulate=accumulate,
        team=team,
        batch_size=batch_size,
        stop=stop,
    )
    # The only point at which the host waits for the device.
    result = result_of(gradients.numbers.tolist(), losses)
    # A factor below 1 would not help: the gradient itself is too large.
    may_skip = scaler is not None and result.is_skipped and scaler.get_scale() > 1
    check_finite(result, may_skip=may_skip)
    if not result.is_skipped:
        if clip_gradient is not None:
            clip_grads_with_norm_(gradients.parameters, clip_gradient, gradients.norm)
        update(optimizers)
    if scaler is not None:
        scaler.update()
    return result


class Gradients(NamedTuple):
    """What a step knows before it changes any weight; the gradients are those of the parameters."""

    numbers: Tensor
    """On the device: the values of all losses, how many processes were told to stop, the
    norm of the model's gradient, and that of the losses' own if there are any."""
    parameters: list[nn.Parameter]
    """The model's that have a gradient."""
    norm: Tensor
    """Of their gradient."""


def compute_gradients(
    model: SRModel,
    optimizer: torch.optim.Optimizer,
    losses: LossTerms,
    batch: Batch,
    *,
    forward: Callable[..., Tensor] | None = None,
    precision: UsedPrecision = "float32",
    scaler: torch.amp.GradScaler | None = None,
    accumulate: int = 1,
    team: Team = ALONE,
    batch_size: int | None = None,
    stop: bool = False,
) -> Gradients:
    """The first half of a step, in which the host does not wait for the device; the arguments are
    those of `train_step`."""
    optimizers = (optimizer, *losses.optimizers.values())
    for each in optimizers:
        each.zero_grad(set_to_none=True)
    shares = _backward(
        model if forward is None else forward,
        losses,
        batch,
        precision,
        scaler,
        accumulate,
        team,
        batch_size,
    )
    own_gradients = losses.sum_gradients(team)
    if scaler is not None:
        for each in optimizers:
            scaler.unscale_(each)
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    norms = torch.stack([norm, *([get_total_norm(own_gradients)] if own_gradients else [])])
    shares = torch.cat([shares, torch.full_like(shares[:1], float(stop))])
    # Sums of several processes are float64; one process may have a device without it.
    sums = team.sum(shares.double()) if team.size > 1 else shares
    return Gradients(torch.cat([sums, norms.to(sums)]), parameters, norm)


def result_of(numbers: Sequence[float], losses: LossTerms) -> StepResult:
    """Return the result of the step that computed these numbers of `Gradients`."""
    count = len(losses.names)
    values, stopping, norms = numbers[:count], numbers[count], numbers[count + 1 :]
    # The model's, unless only that of a loss's own parameters is not finite.
    norm = max(norms, key=lambda each: not math.isfinite(each))
    terms = dict(zip(losses.names, values, strict=True))
    return StepResult(losses.total(values), norm, stopping > 0, terms)


def check_finite(result: StepResult, *, may_skip: bool = False) -> None:
    """Raise DivergedError if a loss is not finite, or the gradient unless it may be skipped."""
    infinite = [name for name, value in result.terms.items() if not math.isfinite(value)]
    if infinite or (result.is_skipped and not may_skip):
        where = f" ({', '.join(infinite)})" if infinite and len(result.terms) > 1 else ""
        raise DivergedError(f"loss {result.loss}{where}, gradient norm {result.gradient_norm}")


def _backward(
    apply: Callable[..., Tensor],
    losses: LossTerms,
    batch: Batch,
    precision: UsedPrecision,
    scaler: torch.amp.GradScaler | None,
    accumulate: int,
    team: Team,
    batch_size: int | None,
) -> Tensor:
    """Accumulate the gradients of all micro-batches; return this process's share of the values of
    all losses, float32."""
    shares = torch.zeros_like(losses.weights)
    micro_batches = batch.split(accumulate)
    with tf32_context(batch.lr.device, precision):
        for i, part in enumerate(micro_batches):
            # Only the last backward pass sums the gradients over the processes.
            is_last = i == len(micro_batches) - 1
            parallel = apply if isinstance(apply, DistributedDataParallel) else None
            with nullcontext() if parallel is None or is_last else parallel.no_sync():
                # Convolutions in bf16 are a tenth faster with channels last, those in fp16 on GPUs
                # need it; in float32 they are not, and round differently.
                is_half = precision in ("bf16", "fp16")
                lr = part.lr.contiguous(memory_format=torch.channels_last) if is_half else part.lr
                with autocast(lr.device, precision):
                    grid = {"is_grid": True} if part.is_crop else {}
                    forward = partial(apply, lr, part.coord, part.cell, **grid)
                    if "slopes" in losses.needs:
                        out = forward(slopes=True)
                        rgb, part = out[..., 0], part._replace(slopes=out[..., 1:].float())
                    elif "log_likelihood" in losses.needs:
                        out = forward(target=part.target)
                        part = part._replace(log_likelihood=out[..., -1].float())
                        rgb = out[..., :-1]
                    else:
                        rgb = forward()
                values = losses(rgb.float(), part.target, part)
                loss = (values * losses.weights).sum()
                weight = len(part.lr) / (batch_size or len(batch.lr))
                # Gradients are averaged over processes, but losses are shares of one mean.
                share = loss if weight == 1 else loss * (weight * team.size)
                (share if scaler is None else scaler.scale(share)).backward()
                shares += values.detach() * weight
    return shares


def update(optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Update the weights of the model, then those of the losses. Raises HalfUpdatedError unless
    nothing has changed."""
    for i, optimizer in enumerate(optimizers):
        try:
            optimizer.step()
        except (MemoryError, RuntimeError) as error:
            # A GPU allocates all before anything changes.
            if i == 0 and isinstance(error, torch.OutOfMemoryError):
                raise
            raise HalfUpdatedError(str(error)) from error


def forward_of(
    model: SRModel, compile: bool | Literal["max-autotune"], accumulate: int, team: Team
) -> Callable[..., Tensor] | None:
    """Return what a step calls in place of the model: one that sums gradients over the processes, a
    compiled one, or both; None for the model itself."""
    # Buffers are constants: by default every forward pass would send them to all processes.
    known = signature(DistributedDataParallel).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    parallel = partial(DistributedDataParallel, **{option: False})
    forward = model if team.size == 1 else parallel(model)
    if compile == "max-autotune":
        # CUDA graphs own the gradients, which the next micro-batch would overwrite.
        graphs = "" if accumulate == 1 else "-no-cudagraphs"
        return torch.compile(forward, mode=f"max-autotune{graphs}")
    if compile:
        return torch.compile(forward)
    return None if forward is model else forward


def compile_error(error: Exception) -> UserError | None:
    """Return what to tell the user if torch.compile itself failed; None for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        if type(seen).__module__.startswith(("torch._dynamo", "torch._inductor", "triton")):
            reason = " ".join(str(error).split("\n\n")[0].split())[:200]
            return UserError(
                f"compile: torch.compile fails here ({reason}); it needs a C++ compiler such as "
                "g++, on a GPU also Triton; install it, or set compile: false"
            )
        seen = seen.__cause__ or seen.__context__
    return None
