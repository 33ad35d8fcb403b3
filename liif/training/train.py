"""A training run from its configuration to its final test."""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import torch

from liif.core.config_file import dump_config
from liif.core.distributed import ALONE, Team, as_current, is_exchange_failure
from liif.core.errors import UserError
from liif.core.files import write_atomically
from liif.data.gpu import DeviceSampler
from liif.data.loader import Batch, batches
from liif.images.rgb8 import list_images
from liif.models.checkpoint import save_weights
from liif.models.fastest import used_precision
from liif.models.precision_names import UsedPrecision
from liif.training.checkpoints import Checkpoints
from liif.training.config import TrainConfig
from liif.training.dry_run import estimate_cost
from liif.training.failures import explain, write_samples
from liif.training.graph import GraphedStep, LateResult, is_recordable, obstacle
from liif.training.log import NullLog, RunLog
from liif.training.loop import (
    Meter,
    deterministic_algorithms,
    run_loop,
)
from liif.training.record import fingerprint, recorded_threads, write_record
from liif.training.resume import (
    Resumable,
    changed_keys,
    check_continues,
    has_checkpoints,
    own_run_of_branch,
    starting_checkpoint,
)
from liif.training.schedule import Schedule
from liif.training.state import TrainingState, new_state
from liif.training.step import (
    DivergedError,
    HalfUpdatedError,
    StepResult,
    forward_of,
    train_step,
)
from liif.training.trace import traced
from liif.training.validation import FinalTest, Validation
from liif.training.wandb_board import WandbBoard, import_wandb

SAME_SCORES = {"valid.every", "valid.patience", "valid.lpips"}
"""Keys of the validation that do not change the score by which a validation is the best."""

log = logging.getLogger("liif")


def train(
    config: TrainConfig,
    folder: Path,
    *,
    team: Team = ALONE,
    resume: Literal["auto", "never"] | Path = "auto",
    stopping: Callable[[], bool] = lambda: False,
    dry_run: bool = False,
) -> bool:
    """Train in a run folder until the last step, or until `stopping()` is true in a process.

    Args:
        config: the run; everything that it names is opened and checked before the first step.
        folder: the run folder, e.g. runs/NAME.
        team: the processes that train together.
        resume: "auto" continues the run of the folder, "never" refuses to, a path continues from
            that checkpoint: as a branch, with another configuration, if the folder has no run yet.
        stopping: whether to save and stop.
        dry_run: check everything, take a few steps, log what the run will cost, and leave the run
            folder as it is.

    Returns:
        Whether the last step was reached and the final test is done, or the dry run is.

    Raises:
        UserError: data, checkpoint or folder are not usable; a loss is not finite.
    """
    if config.batch_size < team.size:
        raise UserError(f"batch_size: {config.batch_size} is less than {team.size} processes")
    if config.wandb is not None:
        import_wandb()
    device = team.device
    torch.manual_seed(config.seed)

    channels = config.model.channels.input, config.model.channels.output
    _check_folders(config)
    source = config.train_data.open_source(config.data_root, channels)
    validation = None
    if config.valid is not None:
        forms = config.scored_formats(config.valid, channels)
        validation = Validation(config.valid, config.data_root, device, forms)
    final_test = None
    if config.test is not None:
        forms = config.scored_formats(config.test, channels)
        final_test = FinalTest(config.test, config.data_root, forms)
    data = {key: fingerprint(path) for key, path in config.data_paths()}

    schedule = Schedule(
        config.learning_rate, config.schedule, config.steps, config.warm_up, config.milestones,
        config.decay, config.cool_down,
    )  # fmt: skip
    precision = used_precision(device, config.precision)
    start = starting_checkpoint(folder, own_run_of_branch(folder, resume))
    is_branch = start is not None and not has_checkpoints(folder)
    if start is not None:
        check_continues(start, config, data, is_branch=is_branch)
        if config.deterministic and device.type == "cpu":
            _use_threads_of(start.path.parent)
    state = new_state(
        config.model,
        seed=config.seed,
        init=config.init_files() if start is None else None,
        device=device,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        groups=config.groups,
        precision=precision,
        gradient_checkpointing=config.gradient_checkpointing,
        ema=config.ema,
        loss=config.loss,
    )
    if start is not None:
        _restore(state, start, config, schedule, is_branch=is_branch)
    if len(set(team.gather(state.step))) > 1:
        raise UserError(
            f"{folder}: the processes see different checkpoints; the folder must be on a disk "
            "that all machines share"
        )

    on_device = config.train_data.cache == "device"
    supply = batches(
        source,
        seed=config.seed,
        batch_size=config.batch_size,
        start=state.step,
        stop=config.steps,
        share=team.share(config.batch_size),
        workers=config.workers,
        pin_memory=state.model.mean.is_cuda,
        layout=config.train_data.layout,
        device_sampler=DeviceSampler(source, device) if on_device else None,
        stopping=stopping,
    )
    eager = functools.partial(
        train_step,
        state.model,
        state.optimizer,
        losses=state.losses,
        forward=forward_of(state.model, config.compile, config.accumulate, team),
        precision=precision,
        scaler=state.scaler,
        clip_gradient=config.clip_gradient,
        accumulate=config.accumulate,
        team=team,
        batch_size=config.batch_size,
    )

    parameters = sum(p.numel() for p in state.model.parameters())
    log.info(
        "run %s on %s in %s: %s; %s parameters, %d training images",
        *(folder, device, precision, f"resumes at step {state.step}" if state.step else "starts"),
        *(f"{parameters:,}", len(source)),
    )
    if dry_run:
        with (
            as_current(device), closing(supply), deterministic_algorithms(config.deterministic),
        ):  # fmt: skip
            _dry_run(state, supply, eager, config, schedule, validation, folder)
        return True
    take_step: Callable[..., StepResult | LateResult] = eager
    if config.cuda_graphs is not False and is_recordable(state):
        take_step = _recorded(state, eager, config, precision, team)
    record = NullLog()
    if team.leads:
        text = dump_config(config)
        write_atomically(folder / "config.yaml", text.encode())
        write_record(
            folder, config=text, seed=config.seed, data=data, device=device, processes=team.size,
            branch_of=start.path if start is not None and is_branch else None,
        )  # fmt: skip
        boards: list[WandbBoard] = []
        if config.wandb is not None:
            boards.append(WandbBoard(config.wandb, folder, config.model_dump(mode="json")))
        record = RunLog(
            folder, step=state.step, validated=state.validated, steps=config.steps, boards=boards
        )
    checkpoints = Checkpoints(
        folder, config.model, config.model_dump(mode="json"), config.steps, config.save_every,
        config.keep_every, config.keep, before_save=record.flush, is_writer=team.leads,
    )  # fmt: skip
    if start is not None and start.path == folder / "last.pt":
        checkpoints.saved = state.step, state.validated
    meter = Meter(
        record, batch_size=config.batch_size, log_every=config.log_every, steps=config.steps
    )

    trace = folder / f"trace-{state.step:08d}.json.gz" if config.profile and team.leads else None
    with (
        as_current(device), closing(record), closing(supply),
        deterministic_algorithms(config.deterministic), traced(trace) as after_step,
    ):  # fmt: skip
        if is_branch:
            checkpoints.save_last(state)  # from here on the folder has a run of its own
        try:
            finished = run_loop(
                state,
                supply,
                take_step,
                schedule=schedule,
                validation=validation,
                checkpoints=checkpoints,
                record=record,
                meter=meter,
                stall_seconds=60 * config.stall_minutes,
                stopping=stopping,
                team=team,
                after_step=after_step,
            )
        except Exception as error:
            message = explain(error, state.step, folder, is_saved=team.leads)
            if not isinstance(error, HalfUpdatedError) and (message or is_exchange_failure(error)):
                # The failed step has changed nothing, and no step before it is lost.
                checkpoints.save_last(state)
            if message is None:
                raise
            if team.leads and isinstance(error, DivergedError):
                write_samples(folder, source, config.seed, config.batch_size, state.step)
            error.__traceback__ = None  # its frames hold the step's tensors: in a notebook for long
            raise UserError(message) from None
        meter.settle(state)
        checkpoints.save_last(state)
    if finished:
        if team.leads:
            save_weights(folder / "last.safetensors", config.model, state.eval_model.state_dict())
        if final_test is not None:
            return final_test.run(state.eval_model, folder, stopping, team)
    return finished


def _recorded(
    state: TrainingState,
    eager: Callable[..., StepResult],
    config: TrainConfig,
    precision: UsedPrecision,
    team: Team,
) -> Callable[..., StepResult | LateResult]:
    """Return what takes the steps of a run from a CUDA graph, or `eager` where they cannot be
    recorded, which is logged if `cuda_graphs` asks for them."""
    is_auto = config.cuda_graphs == "auto"
    # A graph rounds the learning rate to float32, and the first steps of a process are no graph: a
    # run that is resumed would not end with the same bits. A trace names the operations of eager
    # steps only.
    if is_auto and (config.deterministic or config.profile):
        return eager
    reason = obstacle(
        state,
        team,
        compiled=bool(config.compile),
        gradient_checkpointing=config.gradient_checkpointing,
    )
    if reason is not None:
        if not is_auto:
            log.info("cuda_graphs: the steps are not recorded: %s", reason)
        return eager
    return GraphedStep(
        state,
        eager,
        precision=precision,
        clip_gradient=config.clip_gradient,
        accumulate=config.accumulate,
    )


def _check_folders(config: TrainConfig) -> None:
    """Raise UserError, which names the key, if a folder of training images is missing."""
    for key, folder in config.data_paths():
        if key.startswith("train_data.") and not folder.exists():
            try:
                list_images(folder)  # says what to do
            except UserError as error:
                raise UserError(f"{key}: {error}") from None


def _dry_run(
    state: TrainingState,
    supply: Iterator[Batch],
    take_step: Callable[..., StepResult],
    config: TrainConfig,
    schedule: Schedule,
    validation: Validation | None,
    folder: Path,
) -> None:
    """Take a few steps and log what the run will cost. Raises UserError if a step fails, or the run
    folder could not be written."""
    parent = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise UserError(f"{folder}: cannot be written: {parent} is a file, or not ours to write")
    nth = config.steps // config.keep_every if config.keep_every else 0
    kept = (2 if validation is None else 3) + min(nth, config.keep or nth)
    try:
        estimate_cost(
            state, supply, take_step,
            schedule=schedule, validation=validation, kept_checkpoints=kept,
        )  # fmt: skip
    except DivergedError as error:
        raise UserError(f"dry run: {error}: not finite; try a lower learning_rate") from None
    except Exception as error:
        message = explain(error, state.step, folder, is_saved=False)
        if message is None:
            raise
        error.__traceback__ = None  # as in `train`
        raise UserError(f"dry run: {message.strip()}") from None


def _use_threads_of(folder: Path) -> None:
    """Compute with as many threads as a run began with: another number adds in another order."""
    threads = recorded_threads(folder)
    if threads is not None and threads != torch.get_num_threads():
        log.info("deterministic: computes with %d threads, as the run began", threads)
        torch.set_num_threads(threads)


def _restore(
    state: TrainingState,
    start: Resumable,
    config: TrainConfig,
    schedule: Schedule,
    *,
    is_branch: bool,
) -> None:
    """Take over a checkpoint, and warn of what the configuration changes in the continued run."""
    state.restore(start.checkpoint, start.path)
    changed = dict(changed_keys(start.config, config))
    valid_changed = {key for key in changed if key.startswith("valid")} - SAME_SCORES
    if is_branch or valid_changed:  # scores of another set cannot be compared
        state.best, state.stale = float("-inf"), 0
    if is_branch:
        state.validated = 0
    before = schedule._replace(steps=start.config.get("steps", schedule.steps))
    goes_on = state.step < schedule.steps
    if "steps" in changed and schedule.kind == "cosine" and goes_on and not is_branch:
        log.warning(
            "steps: %d -> %d: under schedule: cosine this moves the learning rate at step %d from "
            "%.3g to %.3g",
            *(before.steps, schedule.steps, state.step),
            *(before.at(state.step), schedule.at(state.step)),
        )
