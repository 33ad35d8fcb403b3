"""The training step as a CUDA graph.

`train_step` launches 500 to 900 kernels one by one, which takes the host longer than a fast GPU
needs to run them. Here they are recorded once and then replayed by a single launch; where batches
have many sizes, once for each size.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from liif.core.distributed import Team
from liif.data.loader import Batch
from liif.models.precision_names import UsedPrecision
from liif.training.state import TrainingState
from liif.training.step import (
    DivergedError,
    HalfUpdatedError,
    StepResult,
    check_finite,
    compute_gradients,
    result_of,
    update,
)

EAGER = 2
"""Steps of `train_step` with batches of one size before the first recorded one: optimizers and the
average of the weights begin in them, and libraries choose their kernels."""
SIZES = 256
"""How many sizes of batches are recorded at most; others are computed without a graph."""

Shapes = tuple[torch.Size, ...]

log = logging.getLogger("liif")


def record_graph(
    body: Callable[[], None], beside: torch.cuda.CUDAGraph | None
) -> torch.cuda.CUDAGraph:
    """Record what `body` launches on the current GPU, without running it.

    Args:
        beside: an earlier graph, never replayed at the same time, whose memory is used again: what
            a graph leaves there is lost once another one is replayed.

    Raises:
        RuntimeError: it cannot be recorded: the host waits for the device.
    """
    graph = torch.cuda.CUDAGraph()
    mode = torch.cuda.get_sync_debug_mode()
    with (
        warnings.catch_warnings(),  # this mode is called a prototype
        torch.cuda.stream(torch.cuda.current_stream()),  # is restored after a failure, too
        # The thread that page-locks the next batches goes on meanwhile.
        torch.cuda.graph(graph, pool=beside and beside.pool(), capture_error_mode="thread_local"),
    ):
        warnings.simplefilter("ignore")
        try:
            torch.cuda.set_sync_debug_mode("error")  # raises before a wait that spoils the capture
            body()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    return graph


def is_recordable(state: TrainingState) -> bool:
    """Whether steps can be recorded at all where the model is."""
    return state.model.mean.is_cuda


def obstacle(
    state: TrainingState, team: Team, *, compiled: bool, gradient_checkpointing: bool
) -> str | None:
    """Return why the steps of a run are not recorded, in words; None if they may be."""
    if team.size > 1:
        return f"{team.size} processes train together"
    if compiled:
        return "compile is on"
    if state.scaler is not None:
        return "under fp16 the host decides after each step what the loss is multiplied by"
    if gradient_checkpointing:
        return "gradient_checkpointing reads the state of the random numbers"
    if state.losses.learning:
        return f"loss {', '.join(state.losses.learning)} has an optimizer of its own"
    return None


class LateResult:
    """A step that the device may still be computing."""

    def __init__(self, numbers: Tensor, check: Callable[[list[float]], StepResult]) -> None:
        self.check = check
        self.numbers = numbers.to("cpu", non_blocking=True, copy=True)  # page-locked
        self.event = torch.cuda.Event() if numbers.is_cuda else None
        if self.event is not None:
            self.event.record()
        self.result: StepResult | None = None

    def read(self) -> StepResult:
        """Wait for the step. Raises DivergedError if its loss or gradient is not finite: neither it
        nor a step that was started after it has changed anything."""
        if self.result is None:
            if self.event is not None:
                self.event.synchronize()
            self.result = self.check(self.numbers.tolist())
        return self.result


class GraphedStep:
    """Does what `train_step` and `TrainingState.update_ema` do, replayed from a CUDA graph: the
    weights are the same but for the rounding of the learning rate to float32.

    The learning rate, the pull of the average and the batch are copied into buffers that the graph
    reads. Whether loss and gradient are finite is decided on the device, and read by the host while
    the next step runs; from the first step that is not, no step changes anything. Random numbers
    advance as in `train_step`. Batches of another shape have a graph of their own, in the same
    memory but for the batch that it reads. Once recording has failed, which is logged, nothing more
    is recorded.
    """

    def __init__(
        self,
        state: TrainingState,
        eager: Callable[..., StepResult],
        *,
        precision: UsedPrecision = "float32",
        clip_gradient: float | None = None,
        accumulate: int = 1,
    ) -> None:
        """
        Args:
            eager: `train_step` with all that stays the same from step to step.
            precision: with clip_gradient and accumulate as of `train_step`.
        """
        self.state, self.eager = state, eager
        self.precision: UsedPrecision = precision
        self.clip_gradient, self.accumulate = clip_gradient, accumulate
        self.unread = 0
        self.last: LateResult | None = None
        self.is_possible = True
        self.eager_steps = Counter[Shapes]()
        self.graphs: dict[Shapes, tuple[Batch, torch.cuda.CUDAGraph]] = {}
        """With the batch that each graph reads, by the shapes of its tensors."""
        device, groups = state.model.mean.device, state.optimizer.param_groups
        self.rates = torch.zeros(len(groups), device=device).unbind()
        self.pull = torch.zeros((), device=device)
        self.failed = torch.zeros((), device=device)  # 1 from the first step that is not finite
        self.numbers = torch.zeros(len(state.losses.names) + 2, device=device)

    def __call__(
        self, *, batch: Batch, learning_rate: float, stop: bool = False
    ) -> StepResult | LateResult:
        """Take a step, or start it. At most one step may be started before the last is read."""
        shapes = tuple(tensor.shape for tensor in batch[:4])
        batch_on_device, graph = self.graphs.get(shapes, (None, None))
        may_record = self.is_possible and len(self.graphs) < SIZES
        if graph is None and (not may_record or self.eager_steps[shapes] < EAGER):
            self.eager_steps[shapes] += 1
            if self.last is not None:
                self.last.read()
            return self.eager(batch=batch, learning_rate=learning_rate, stop=stop)
        if batch_on_device is None:
            copies = (tensor.clone() for tensor in batch[:4])
            batch_on_device = Batch(*copies, patch=batch.patch, is_crop=batch.is_crop)
        torch._foreach_copy_(list(batch_on_device[:4]), list(batch[:4]))  # pyright: ignore
        for rate, group in zip(self.rates, self.state.optimizer.param_groups, strict=True):
            rate.fill_(learning_rate * group.get("factor", 1.0))
        self.pull.fill_(self.state.ema_pull(self.state.step + self.unread))
        compute = partial(self._compute, batch_on_device)
        if graph is None:
            compute()
        else:
            graph.replay()
        self.unread += 1
        self.last = LateResult(self.numbers, partial(self._checked, stop=stop))
        if graph is None:
            try:
                beside = next((one for _, one in self.graphs.values()), None)
                self.graphs[shapes] = batch_on_device, record_graph(compute, beside)
            except (RuntimeError, HalfUpdatedError) as error:  # nothing was computed
                self.is_possible = False
                reason = " ".join(str(error).split("\n")[0].split())[:200]
                log.info("cuda_graphs: the steps cannot be recorded (%s)", reason)
        return self.last

    def _checked(self, numbers: list[float], *, stop: bool) -> StepResult:
        """Return the result of the oldest step that was not read."""
        result = result_of(numbers, self.state.losses)._replace(stop=stop)
        try:
            check_finite(result)
        except DivergedError:
            self.failed.zero_()
            self.unread = 0
            raise
        self.unread -= 1
        self.state.ema_updates += self.state.ema_model is not None
        return result

    def _compute(self, batch: Batch) -> None:
        """Take one step on the device: all that is recorded. Raises HalfUpdatedError."""
        state = self.state
        gradients = compute_gradients(
            state.model,
            state.optimizer,
            state.losses,
            batch,
            precision=self.precision,
            accumulate=self.accumulate,
        )
        self.numbers.copy_(gradients.numbers)
        is_failed = self.numbers.isfinite().all().logical_not()
        self.failed.copy_(torch.maximum(self.failed, is_failed.to(self.failed)))
        if self.clip_gradient is not None:
            clip_grads_with_norm_(gradients.parameters, self.clip_gradient, gradients.norm)
        with _options_on_device(state.optimizer, self.rates, self.failed):
            update([state.optimizer])
        if state.ema_model is not None:
            self._update_ema(list(state.ema_model.parameters()), list(state.model.parameters()))

    @torch.no_grad()
    def _update_ema(self, average: list[Tensor], weights: list[Tensor]) -> None:
        try:
            moves = torch._foreach_sub(weights, average)  # pyright: ignore
        except RuntimeError as error:  # out of memory
            raise HalfUpdatedError(str(error)) from error
        torch._foreach_mul_(moves, self.pull * (1 - self.failed))  # pyright: ignore
        torch._foreach_add_(average, moves)  # pyright: ignore


@contextmanager
def _options_on_device(
    optimizer: torch.optim.Optimizer, rates: tuple[Tensor, ...], failed: Tensor
) -> Generator[None, None, None]:
    """Let an optimizer read its learning rates from the device, and change nothing where `failed`
    is 1, as PyTorch's GradScaler does."""
    before = [{key: group[key] for key in ("lr", "capturable")} for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group.update(lr=rate, capturable=True)
    optimizer.found_inf = failed  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        del optimizer.found_inf  # pyright: ignore[reportAttributeAccessIssue]
        for group, options in zip(optimizer.param_groups, before, strict=True):
            group.update(options)
