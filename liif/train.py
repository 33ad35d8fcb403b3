"""The training loop and one training step (Chen et al. 2021, sec. 4 and 5)."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from liif.checkpoint import save_weights, write_atomically
from liif.config import TrainConfig
from liif.configfile import dump_config
from liif.data.loader import Batch, batches
from liif.distributed import ALONE, Team
from liif.errors import UserError
from liif.models.sr import SRModel
from liif.record import write_record
from liif.resume import prune, starting_point
from liif.runlog import RunLog, Silence, is_due
from liif.state import State, new_state
from liif.validation import FinalTest, Validation

log = logging.getLogger("liif")


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Of the update that follows `step` finished ones."""
    passed = sum(step >= milestone for milestone in config.milestones)
    return config.learning_rate * config.decay**passed


def l1_loss(model: SRModel, rgb: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of (B, Q, 3) in normalised units, (x - 0.5) / 0.5, as published."""
    return ((rgb - target) / model.std).abs().mean()


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
    values = team.total(share.item()), norm.item()
    if not all(map(math.isfinite, values)):
        raise DivergedError(f"loss {values[0]}, gradient norm {values[1]}")
    if clip_gradient is not None:
        clip_grads_with_norm_(parameters, clip_gradient, norm)
    optimizer.step()
    return values


def train(
    config: TrainConfig,
    folder: Path,
    *,
    team: Team = ALONE,
    resume: Literal["auto", "never"] | Path = "auto",
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Train in a run folder until the last step, or until `stopping()` says so in any process of
    the team; True if finished.

    Raises:
        UserError: data, checkpoint or folder that do not do; a loss that is not finite.
    """
    if config.batch_size < team.size:
        raise UserError(f"batch_size: {config.batch_size} is less than {team.size} processes")
    device = team.device
    torch.manual_seed(config.seed)
    state = new_state(config, device)
    start = starting_point(folder, resume)
    if start is not None:
        state.restore(start, config)
    if len(set(team.gather(state.step))) > 1:
        raise UserError(
            f"{folder}: the processes see different checkpoints; the folder must be on a disk "
            "that all machines share"
        )
    source = config.train_data.open_source(config.data_root)
    valid = None if config.valid is None else Validation(config.valid, config.data_root)
    test = None if config.test is None else FinalTest(config.test, config.data_root)
    log.info("run %s on %s: %s", folder, device, describe(state, len(source)))
    if team.leads:
        write_atomically(folder / "config.yaml", dump_config(config).encode())
        write_record(folder, config, device, processes=team.size)
    forward = _forward(state.model, config, team)
    supply = batches(
        source,
        seed=config.seed,
        batch_size=config.batch_size,
        start=state.step,
        stop=config.steps,
        share=team.share(config.batch_size),
        workers=config.workers,
        pin_memory=device.type == "cuda",
    )
    record = (RunLog if team.leads else Silence)(folder, step=state.step, steps=config.steps)

    def stops() -> bool:
        return team.any(stopping())

    def save(name: str) -> None:
        if team.leads:
            record.flush()
            state.save(folder / name, config)

    with closing(record), closing(supply):
        meter = Meter(state, config, record)
        saved, finished = state.step, False
        while True:
            if valid and is_due(state.step, valid.config.every, config.steps, state.validated):
                judgement = valid.judge(state.judged, record, state.step, stops, team)
                state.model.train()
                if judgement is None:
                    break  # to be judged when the run goes on
                state.validated = state.step
                if judgement > state.best:
                    state.best = judgement
                    save("best.pt")
                meter.restart()
            if is_due(state.step, config.save_every, config.steps, saved):
                save("last.pt")
                saved = state.step
            if config.keep_every and state.step and state.step % config.keep_every == 0:
                save(f"step-{state.step:08d}.pt")
                prune(folder, config.keep)
            finished = state.step >= config.steps
            if finished or stops():
                break
            try:
                asked = time.perf_counter()
                batch = next(supply).to(device)
                waited = time.perf_counter() - asked
                values = train_step(
                    state.model,
                    state.optimizer,
                    batch,
                    learning_rate=learning_rate_at(state.step, config),
                    forward=forward,
                    bf16=config.precision == "bf16",
                    clip_gradient=config.clip_gradient,
                    accumulate=config.accumulate,
                    team=team,
                    batch_size=config.batch_size,
                )
            except (DivergedError, UserError) as error:
                # Of the failed step nothing has happened yet, and nothing before it is lost.
                save("last.pt")
                raise UserError(_failed(state.step, error, folder)) from None
            if state.average is not None:
                state.average.update_parameters(state.model)
            state.step += 1
            meter.count(values, waited)
        meter.settle()
        save("last.pt")
    if not finished or not team.leads:
        return finished
    save_weights(folder / "last.safetensors", config.model, state.judged.state_dict())
    if test is not None:
        test.judge(state.judged, folder)
    return True


def _forward(model: SRModel, config: TrainConfig, team: Team) -> Callable[..., Tensor] | None:
    """What a step calls in place of the model: one that sums gradients over the processes, a
    compiled one, or both."""
    forward = model if team.size == 1 else DistributedDataParallel(model)
    if config.compile:
        return torch.compile(forward)
    return None if forward is model else forward


def describe(state: State, images: int) -> str:
    """One line on what is about to happen."""
    parameters = sum(p.numel() for p in state.model.parameters())
    at = f"goes on at step {state.step}" if state.step else "starts"
    return f"{at}; {parameters:,} parameters, {images} training images"


class Meter:
    """Measures the loop: loss and speed since the last line of the log."""

    def __init__(self, state: State, config: TrainConfig, record: RunLog) -> None:
        self.state, self.config, self.record = state, config, record
        self.restart()

    def restart(self) -> None:
        """Begin a new stretch of time; what was spent outside the loop does not count."""
        self.since = time.perf_counter()
        self.waited = 0.0
        self.steps = 0

    def count(self, values: tuple[float, float], waited: float) -> None:
        """One finished step: its loss and gradient norm, and the seconds it waited for data."""
        state, config = self.state, self.config
        state.window = [a + b for a, b in zip(state.window, (*values, 1.0), strict=True)]
        self.steps += 1
        self.waited += waited
        elapsed = time.perf_counter() - self.since
        speed, wait = self.steps * config.batch_size / elapsed, self.waited / elapsed
        notes = {"loss": f"{values[0]:.4f}", "images/s": f"{speed:.1f}", "wait": f"{wait:.0%}"}
        self.record.advance(state.step, notes)
        if not is_due(state.step, config.log_every, config.steps):
            return
        loss, norm, steps = state.window
        line = {
            "loss": loss / steps,
            "gradient_norm": norm / steps,
            "learning_rate": learning_rate_at(state.step - 1, config),
            "images_per_s": round(speed, 2),
            "data_wait": round(wait, 4),
        }
        self.record.record("train", state.step, line)
        left = timedelta(seconds=round((config.steps - state.step) * elapsed / self.steps))
        log.debug(
            "step %d/%d: loss %.4f, %.1f images/s, %.0f%% of the time waiting for data, %s left",
            *(state.step, config.steps, loss / steps, speed, 100 * wait, left),
        )
        state.window = [0.0, 0.0, 0.0]
        self.settle()

    def settle(self) -> None:
        """Add the time since the last restart to the run's."""
        self.state.seconds += time.perf_counter() - self.since
        self.restart()


def _failed(step: int, error: DivergedError | UserError, folder: Path) -> str:
    kept = f"The run is saved as it was before that step ({folder / 'last.pt'})."
    if isinstance(error, UserError):
        return f"step {step + 1}: {error}\n{kept}"
    return (
        f"step {step + 1}: {error}: not finite. {kept} Try a lower learning_rate, "
        "clip_gradient: 1, or precision: float32, in a run of another --name."
    )
