"""The training loop."""

import faulthandler
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch

from liif.core.config_file import dump_config
from liif.core.distributed import ALONE, Team
from liif.core.errors import UserError
from liif.data.gpu import DeviceSampler
from liif.data.loader import batches, image_of
from liif.data.samplers import SampleSource
from liif.models.checkpoint import save_weights, write_atomically
from liif.training.config import TrainConfig
from liif.training.log import NullLog, RunLog, is_due
from liif.training.record import write_record
from liif.training.resume import prune, starting_point
from liif.training.schedule import learning_rate_at
from liif.training.state import State, new_state
from liif.training.step import DivergedError, forward_of, train_step
from liif.training.validation import FinalTest, Validation

log = logging.getLogger("liif")


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
    device_sampler = DeviceSampler(source, device) if config.train_data.cache == "device" else None
    valid = None if config.valid is None else Validation(config.valid, config.data_root)
    test = None if config.test is None else FinalTest(config.test, config.data_root)
    log.info("run %s on %s: %s", folder, device, describe(state, len(source)))
    if team.leads:
        write_atomically(folder / "config.yaml", dump_config(config).encode())
        write_record(folder, config, device, processes=team.size)
    forward = forward_of(state.model, config, team)
    supply = batches(
        source,
        seed=config.seed,
        batch_size=config.batch_size,
        start=state.step,
        stop=config.steps,
        share=team.share(config.batch_size),
        workers=config.workers,
        pin_memory=device.type == "cuda",
        device_sampler=device_sampler,
    )
    record = (RunLog if team.leads else NullLog)(folder, step=state.step, steps=config.steps)

    def stops() -> bool:
        return team.any(stopping())

    def save(name: str) -> None:
        if team.leads:
            record.flush()
            state.save(folder / name, config)

    with closing(record), closing(supply), _watched(), _same_bits(config.deterministic):
        meter = Meter(state, config, record)
        saved, finished = state.step, False
        while True:
            if valid and is_due(state.step, valid.config.every, config.steps, state.validated):
                judgement = valid.judge(state.eval_model, record, state.step, stops, team)
                state.model.train()
                if judgement is None:
                    break  # to be eval_model when the run goes on
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
            except (DivergedError, UserError, torch.OutOfMemoryError) as error:
                # Of the failed step nothing has happened yet, and nothing before it is lost.
                save("last.pt")
                if team.leads and isinstance(error, DivergedError):
                    _write_samples(folder / "diverged.json", source, config, state.step)
                raise UserError(_failed(state.step, error, folder)) from None
            state.update_ema(config.ema)
            state.step += 1
            meter.count(values, waited)
            if sys.__stderr__ is not None:  # sys.stderr may be something that is no file
                faulthandler.dump_traceback_later(60 * config.stall_minutes, file=sys.__stderr__)
        meter.settle()
        save("last.pt")
    if not finished or not team.leads:
        return finished
    save_weights(folder / "last.safetensors", config.model, state.eval_model.state_dict())
    if test is not None:
        test.judge(state.eval_model, folder)
    return True


@contextmanager
def _watched() -> Generator[None, None, None]:
    """Whatever was set to print all stacks is called off in the end."""
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _same_bits(wanted: bool) -> Generator[None, None, None]:
    """Where there is a choice, algorithms that add in one order only."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its start
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


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


def _write_samples(path: Path, source: SampleSource, config: TrainConfig, step: int) -> None:
    """Which samples a step has learned from, and the images that they were cut from."""
    numbers = range(step * config.batch_size, (step + 1) * config.batch_size)
    samples = [
        {"sample": n, "image": source.name(image_of(source, config.seed, n))} for n in numbers
    ]
    text = json.dumps({"step": step + 1, "seed": config.seed, "samples": samples}, indent=1)
    write_atomically(path, text.encode())


def _failed(
    step: int, error: DivergedError | UserError | torch.OutOfMemoryError, folder: Path
) -> str:
    kept = f"The run is saved as it was before that step ({folder / 'last.pt'})."
    if isinstance(error, UserError):
        return f"step {step + 1}: {error}\n{kept}"
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"step {step + 1}: out of GPU memory. {kept} Raise accumulate (the same numbers in "
            "smaller parts), or lower batch_size, train_data.patch, train_data.queries or "
            "model.encoder.width, or try precision: bf16."
        )
    return (
        f"step {step + 1}: {error}: not finite. {kept} Its samples are named in "
        f"{folder / 'diverged.json'}, and the same command repeats the step. Try a lower "
        "learning_rate, clip_gradient: 1, or precision: float32, in a run of another --name."
    )
