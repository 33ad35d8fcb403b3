"""The training loop and one training step (Chen et al. 2021, sec. 4 and 5)."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from liif.checkpoint import save_weights, write_atomically
from liif.config import TrainConfig
from liif.configfile import dump_config
from liif.data.loader import Batch, batches
from liif.errors import UserError
from liif.models.sr import SRModel
from liif.runlog import RunLog, is_due
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
) -> tuple[float, float]:
    """One update; returns the loss before it and the gradient's norm.

    Raises:
        DivergedError: before the update, if one of them is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    # Convolutions in bf16 are a tenth faster so; in float32 they are not, and round otherwise.
    lr = batch.lr.contiguous(memory_format=torch.channels_last) if bf16 else batch.lr
    with torch.autocast(lr.device.type, torch.bfloat16, enabled=bf16):
        rgb = (model if forward is None else forward)(lr, batch.coord, batch.cell)
    loss = l1_loss(model, rgb.float(), batch.target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    values = loss.item(), norm.item()
    if not all(map(torch.isfinite, (loss, norm))):
        raise DivergedError(f"loss {values[0]}, gradient norm {values[1]}")
    if clip_gradient is not None:
        clip_grads_with_norm_(parameters, clip_gradient, norm)
    optimizer.step()
    return values


def train(
    config: TrainConfig,
    folder: Path,
    *,
    device: torch.device,
    resume: Literal["auto", "never"] | Path = "auto",
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Train in a run folder until the last step, or until `stopping()` says so; True if finished.

    Raises:
        UserError: data, checkpoint or folder that do not do; a loss that is not finite.
    """
    state = new_state(config, device)
    start = _starting_point(folder, resume)
    if start is not None:
        state.restore(start, config)
    source = config.train_data.open_source(config.data_root)
    valid = None if config.valid is None else Validation(config.valid, config.data_root)
    test = None if config.test is None else FinalTest(config.test, config.data_root)
    log.info("run %s on %s: %s", folder, device, describe(state, len(source)))
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.yaml", dump_config(config).encode())
    forward = torch.compile(state.model) if config.compile else None
    supply = batches(
        source,
        seed=config.seed,
        batch_size=config.batch_size,
        start=state.step,
        stop=config.steps,
        workers=config.workers,
        pin_memory=device.type == "cuda",
    )
    record = RunLog(folder, step=state.step, steps=config.steps)
    with closing(record), closing(supply):
        meter = Meter(state, config, record)
        saved, finished = state.step, False
        while True:
            if valid and is_due(state.step, valid.config.every, config.steps, state.validated):
                judgement = valid.judge(state.judged, record, state.step, stopping)
                state.model.train()
                if judgement is None:
                    break  # to be judged when the run goes on
                state.validated = state.step
                if judgement > state.best:
                    state.best = judgement
                    state.save(folder / "best.pt", config)
                meter.restart()
            if is_due(state.step, config.save_every, config.steps, saved):
                state.save(folder / "last.pt", config)
                saved = state.step
            finished = state.step >= config.steps
            if finished or stopping():
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
                )
            except (DivergedError, UserError) as error:
                # Of the failed step nothing has happened yet, and nothing before it is lost.
                state.save(folder / "last.pt", config)
                raise UserError(_failed(state.step, error, folder)) from None
            if state.average is not None:
                state.average.update_parameters(state.model)
            state.step += 1
            meter.count(values, waited)
            if config.keep_every and state.step % config.keep_every == 0:
                state.save(folder / f"step-{state.step:08d}.pt", config)
        meter.settle()
        state.save(folder / "last.pt", config)
    if not finished:
        return False
    save_weights(folder / "last.safetensors", config.model, state.judged.state_dict())
    if test is not None:
        test.judge(state.judged, folder)
    return True


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


def _starting_point(folder: Path, resume: Literal["auto", "never"] | Path) -> Path | None:
    """The checkpoint to go on from."""
    if isinstance(resume, Path):
        return resume
    last = folder / "last.pt"
    if not last.exists():
        return None
    if resume == "never":
        raise UserError(
            f"{folder}: holds a run already, which is not overwritten; choose another --name, "
            "or leave --resume away to go on with it"
        )
    return last


def _failed(step: int, error: DivergedError | UserError, folder: Path) -> str:
    kept = f"The run is saved as it was before that step ({folder / 'last.pt'})."
    if isinstance(error, UserError):
        return f"step {step + 1}: {error}\n{kept}"
    return (
        f"step {step + 1}: {error}: not finite. {kept} Try a lower learning_rate, "
        "clip_gradient: 1, or precision: float32, in a run of another --name."
    )
