"""The training loop."""

import faulthandler
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from liif.core.distributed import Team
from liif.core.errors import UserError
from liif.core.memory import is_out_of_memory
from liif.data.loader import Batch
from liif.training.checkpoints import Checkpoints
from liif.training.graph import LateResult
from liif.training.log import NullLog
from liif.training.schedule import Schedule, is_due
from liif.training.state import TrainingState
from liif.training.step import StepResult
from liif.training.validation import Validation

FIRST_WORD, LONGEST_SILENCE = 10.0, 60.0
"""Seconds until the log says how a run goes, and between two such lines, if none is due."""

log = logging.getLogger("liif")


class FailedValidationError(Exception):
    """A validation failed; the run was saved before it."""


def run_loop(
    state: TrainingState,
    batches: Iterator[Batch],
    take_step: Callable[..., StepResult | LateResult],
    *,
    schedule: Schedule,
    validation: Validation | None,
    checkpoints: Checkpoints,
    record: NullLog,
    meter: "Meter",
    stall_seconds: float,
    stopping: Callable[[], bool],
    team: Team,
    after_step: Callable[[], None] = lambda: None,
) -> bool:
    """Train until the last step, or until validations are out of patience (return True), or until a
    process is told to stop (False).

    `take_step` is `train_step` with all that stays the same from step to step, or a `GraphedStep`,
    whose results are read while the next step runs, unless something is due between the two.

    Raises:
        UserError: a batch cannot be read, a file cannot be written.
        DivergedError: loss or gradient is not finite. Whatever is raised by a step, but for
            HalfUpdatedError, the state is as it was before that step.
        FailedValidationError: an image cannot be read, or memory ran out.
    """
    device = state.model.mean.device
    late: tuple[StepResult | LateResult, float, float] | None = None

    def finish() -> None:
        """Wait for the step that the device may still be computing."""
        nonlocal late
        if late is None:
            return
        (step, rate, waited), late = late, None
        result = step.read()
        if isinstance(step, StepResult):  # the others have done it
            state.update_ema()
        state.step += 1
        step_is_done()
        after_step()
        meter.count(state, result, rate, waited)

    def pause() -> bool | None:
        """Validate and save what is due; return what the loop returns, or None to go on."""
        if validation and validation.is_due(state.step, schedule.steps, state.validated):
            checkpoints.save_last(state)  # a validation that fails loses no step
            try:
                score = validation.run(state.eval_model, record, state.step, stopping, team)
            except (UserError, MemoryError, RuntimeError) as error:
                if not (isinstance(error, UserError) or is_out_of_memory(error)):
                    raise
                raise FailedValidationError(str(error)) from error.with_traceback(None)
            state.model.train()
            if score is None:
                return False  # the continued run validates
            state.validated = state.step
            state.stale += 1
            if score > state.best:
                state.best, state.stale = score, 0
                checkpoints.save(state, "best.pt")
            if validation.is_out_of_patience(state.stale):
                record.record("early_stop", state.step, {"validations": state.stale})
                text = "step %d: stops early: %d validations without a better score"
                log.info(text, state.step, state.stale)
            meter.restart()
        checkpoints.save_due(state)
        if state.step >= schedule.steps:
            return True
        if validation and validation.is_out_of_patience(state.stale):
            return True
        return None

    marks = (checkpoints.save_every, checkpoints.keep_every, validation and validation.every)

    def may_pause(step: int) -> bool:
        return step >= schedule.steps or any(each and step % each == 0 for each in marks)

    with _stall_watchdog(stall_seconds) as step_is_done:
        try:
            while True:
                if late is None and (end := pause()) is not None:
                    return end
                asked = time.perf_counter()
                batch = next(batches, None)
                if batch is None:  # told to stop while waiting for data
                    if team.size > 1:  # peers wait in this step: they end when this process does
                        raise UserError("told to stop while waiting for data")
                    return False
                batch = batch.to(device)
                waited = time.perf_counter() - asked
                rate = schedule.at(state.step + (late is not None))
                stop = stopping()
                step = take_step(batch=batch, learning_rate=rate, stop=stop)
                finish()
                late = step, rate, waited
                if isinstance(step, StepResult) or stop or may_pause(state.step + 1):
                    finish()
                    if step.read().stop:
                        return False
        finally:
            finish()


class Meter:
    """Loss and speed since the last line of the log."""

    def __init__(self, record: NullLog, *, batch_size: int, log_every: int, steps: int) -> None:
        self.record, self.batch_size, self.log_every = record, batch_size, log_every
        self.steps = steps
        self.patience, self.said = FIRST_WORD, time.perf_counter()
        self.restart()

    def restart(self) -> None:
        """Start a new measurement; time spent outside the loop does not count."""
        self.since = time.perf_counter()
        self.waited = 0.0
        self.counted = 0

    def count(self, state: TrainingState, result: StepResult, rate: float, waited: float) -> None:
        """Add a finished step at that learning rate, and the seconds that it waited for data."""
        if not result.is_skipped:
            values = (result.loss, result.gradient_norm, 1.0)
            state.window = [a + b for a, b in zip(state.window, values, strict=True)]
            terms = (*result.terms.values(), 1.0)
            state.terms = [a + b for a, b in zip(state.terms, terms, strict=True)]
        self.counted += 1
        self.waited += waited
        elapsed = time.perf_counter() - self.since
        speed, wait = self.counted * self.batch_size / elapsed, self.waited / elapsed
        notes = {"loss": f"{result.loss:.4f}", "images/s": f"{speed:.1f}", "wait": f"{wait:.0%}"}
        self.record.advance(state.step, notes)
        is_recorded = is_due(state.step, self.log_every, self.steps)
        if not is_recorded and time.perf_counter() - self.said < self.patience:
            return
        loss, norm, steps = state.window
        loss, norm = (loss / steps, norm / steps) if steps else (math.nan, math.nan)
        left = timedelta(seconds=round((self.steps - state.step) * elapsed / self.counted))
        log.debug(
            "step %d/%d: loss %.4f, %.1f images/s, %.0f%% of the time waiting for data, %s left",
            *(state.step, self.steps, loss, speed, 100 * wait, left),
        )
        self.patience, self.said = LONGEST_SILENCE, time.perf_counter()
        if not is_recorded:
            return
        line = {
            "loss": loss,
            "gradient_norm": norm,
            "learning_rate": rate,
            "images_per_s": round(speed, 2),
            "data_wait": round(wait, 4),
        }
        if state.scaler is not None:
            line["loss_scale"] = state.scaler.get_scale()
        *sums, counted = state.terms  # fewer steps than above if a checkpoint had no terms
        means = zip(result.terms, sums, strict=True)
        line |= {f"loss/{name}": total / counted if counted else math.nan for name, total in means}
        self.record.record("train", state.step, line)
        state.window, state.terms = [0.0, 0.0, 0.0], state.no_terms()
        self.settle(state)

    def settle(self, state: TrainingState) -> None:
        """Add the time since the last restart to the run's."""
        state.seconds += time.perf_counter() - self.since
        self.restart()


@contextmanager
def _stall_watchdog(seconds: float) -> Generator[Callable[[], None], None, None]:
    """Print the stacks of all threads when no step has finished for `seconds`, or a tenth less.

    Yields the function to call after each step. It sets the alarm anew once in a tenth of that
    time: each setting starts a thread.
    """
    stderr, alarm_set = sys.__stderr__, -float("inf")

    def step_is_done() -> None:
        nonlocal alarm_set
        now = time.monotonic()
        if stderr is not None and now - alarm_set > seconds / 10:
            faulthandler.dump_traceback_later(seconds, file=stderr)
            alarm_set = now

    step_is_done()
    try:
        yield step_is_done
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def deterministic_algorithms(wanted: bool) -> Generator[None, None, None]:
    """Use algorithms that add in one order only, where PyTorch has a choice."""
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
