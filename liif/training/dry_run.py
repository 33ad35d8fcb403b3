"""What a run will cost, from a few of its steps that leave nothing behind."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import cast

import torch
from torch import Tensor

from liif.data.loader import Batch
from liif.training.schedule import Schedule
from liif.training.state import TrainingState
from liif.training.step import StepResult
from liif.training.validation import Validation

STEPS = 8
"""Steps at most."""
ENOUGH = 10.0
"""Seconds of computing after which no further step is taken."""

log = logging.getLogger("liif")


def estimate_cost(
    state: TrainingState,
    batches: Iterator[Batch],
    take_step: Callable[..., StepResult],
    *,
    schedule: Schedule,
    validation: Validation | None,
    kept_checkpoints: int,
) -> None:
    """Take a few steps on the real data, score one image per scale, and log an estimate of time,
    memory and disk space for the rest of the run. Raises what a step raises."""
    if state.step >= schedule.steps:
        log.info("dry run: nothing is left to train: the run has all its %d steps", state.step)
        return
    device = state.model.mean.device
    if state.model.mean.is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    rate, loss = schedule.at(state.step), 0.0
    computing: list[float] = []
    ends: list[float] = []
    for batch in batches:
        begun = time.perf_counter()
        loss = take_step(batch=batch.to(device), learning_rate=rate, stop=False).loss
        ends.append(time.perf_counter())
        computing.append(ends[-1] - begun)
        if len(ends) == STEPS or sum(computing) > ENOUGH:
            break
    if len(ends) > 1:  # the first step allocates, and waits for the first samples
        seconds, share = (ends[-1] - ends[0]) / (len(ends) - 1), sum(computing[1:])
        share /= ends[-1] - ends[0]
    else:
        seconds, share = computing[0], 1.0
    text = "dry run: loss %.4f; %.3g s per step, %.0f%% of it waiting for data"
    log.info(text, loss, seconds, 100 * (1 - share))
    left = schedule.steps - state.step
    scoring = 0.0
    if validation is not None:
        times = -(-schedule.steps // validation.every) - state.step // validation.every
        once = validation.seconds(state.eval_model)
        scoring = times * once
        log.info("dry run: %d validations of %.3g s each", times, once)
    hours = timedelta(seconds=round(left * seconds + scoring))
    log.info("dry run: about %s for %d steps, without the final test", hours, left)
    log.info("dry run: %s", _memory(state.model.mean))
    size = _bytes(state) / 2**20
    log.info("dry run: up to %d checkpoints of %.3g MiB each", kept_checkpoints, size)


def _memory(like: Tensor) -> str:
    """Return the most memory that was used so far on a tensor's device, in words."""
    if like.is_cuda:
        device = like.device
        used, total = torch.cuda.max_memory_reserved(device), torch.cuda.mem_get_info(device)[1]
        return f"{used / 2**30:.2f} of {total / 2**30:.1f} GiB of GPU memory"
    if sys.platform == "win32":
        return "the memory of a process is not known on Windows"
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes or KiB
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"{used / 2**30:.2f} GiB of memory in this process, beside its loader workers"


def _bytes(state: TrainingState) -> int:
    """Return the size of a checkpoint: weights, their average, and what the optimizers remember."""
    models = [state.model] + ([] if state.ema_model is None else [state.ema_model])
    tensors = [value for model in models for value in model.state_dict().values()]
    for optimizer in (state.optimizer, *state.losses.optimizers.values()):
        remembered = cast(list[dict[str, Tensor]], list(optimizer.state.values()))
        tensors += [value for values in remembered for value in values.values()]
    return sum(tensor.nbytes for tensor in tensors)
