"""From which checkpoint a run continues, and whether its configuration allows it."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from liif.core.errors import UserError
from liif.models.checkpoint import Checkpoint, read_checkpoint
from liif.training.checkpoints import every_nth
from liif.training.config import TrainConfig
from liif.training.record import Entry, is_recorded, read_record, recorded_data
from liif.training.state import COUNTERS

COMPLETE = {"config", "optimizer", "generator", *COUNTERS}
"""Keys of the training state in a checkpoint that a run can continue from."""

FREE_TO_CHANGE = {
    "data_root", "steps", "accumulate", "workers", "stall_minutes", "log_every", "save_every",
    "keep_every", "keep", "valid", "test", "compile", "cuda_graphs", "deterministic",
    "train_data.cache", "train_data.cache_dir", "gradient_checkpointing", "wandb", "profile",
}  # fmt: skip
"""Keys that may differ when a run continues: they do not change what is computed, except `steps`
under a cosine, which is warned about."""

FIXED = ("model", "optimizer", "groups")
"""Keys that may not even differ in a branch: the saved state belongs to them."""

log = logging.getLogger("liif")


class Resumable(NamedTuple):
    """A checkpoint that a run can continue from."""

    path: Path
    checkpoint: Checkpoint
    config: Mapping[str, Any]
    """Configuration of the run that wrote it, as JSON values."""
    step: int
    """Finished steps."""


def starting_checkpoint(folder: Path, resume: Literal["auto", "never"] | Path) -> Resumable | None:
    """Return the checkpoint to continue from; None if the run folder has none yet.

    "auto" takes last.pt, or, with a warning, the newest good checkpoint if that is missing or
    damaged. A path is taken as it is.

    Raises:
        UserError: there are checkpoints but none is good; there are some, and `resume` is "never".
    """
    if isinstance(resume, Path):
        return read_resumable(resume)
    if not has_checkpoints(folder):
        return None
    if resume == "never":
        raise UserError(
            f"{folder}: holds a run already, which is not overwritten; choose another --name, "
            "or omit --resume never to resume it"
        )
    try:
        return read_resumable(folder / "last.pt")
    except UserError as error:
        newest = _newest_good(_older(folder))
        if newest is None:
            raise UserError(
                f"{error}; and no other checkpoint of the run is good. Move {folder} away, or "
                "choose another --name, to start again"
            ) from None
        log.warning("%s; resuming from %s", error, newest.path)
        return newest


def own_run_of_branch(
    folder: Path, resume: Literal["auto", "never"] | Path
) -> Literal["auto", "never"] | Path:
    """Return "auto" if the folder holds the branch that starts from `resume`, else `resume`: the
    command that made a branch also resumes it.

    Raises UserError if the folder holds another run.
    """
    if not isinstance(resume, Path) or not has_checkpoints(folder):
        return resume
    if resume.absolute().parent == folder.absolute():  # an older checkpoint of the same run
        return resume
    if any(entry.get("branch_of") == os.path.abspath(resume) for entry in read_record(folder)):
        return "auto"
    raise UserError(
        f"{folder}: holds a run of its own; omit --resume to continue it, or choose another --name"
    )


def has_checkpoints(folder: Path) -> bool:
    """Return whether a run folder holds any checkpoint."""
    return any(path.exists() for path in (folder / "last.pt", *_older(folder)))


def read_resumable(path: Path) -> Resumable:
    """Read a checkpoint. Raises UserError if no run can continue from it."""
    checkpoint = read_checkpoint(path)
    training = checkpoint.training
    if training is None:
        raise UserError(f"{path}: holds weights only; start from them with --set init={path}")
    if missing := COMPLETE - training.keys():
        raise UserError(f"{path}: the state of its run lacks {', '.join(sorted(missing))}")
    step, config = training["step"], training["config"]
    if type(step) is not int or step < 0 or not isinstance(config, Mapping):
        raise UserError(f"{path}: the state of its run is damaged (step {step!r:.50})")
    return Resumable(path, checkpoint, cast(Mapping[str, Any], config), step)


def check_continues(
    start: Resumable, config: TrainConfig, data: Mapping[str, Entry], *, is_branch: bool
) -> None:
    """Check that a run may continue from a checkpoint with this configuration.

    The same run keeps all keys but FREE_TO_CHANGE; image folders may move if their files are the
    same. A branch, which starts a run folder of its own, may change everything but FIXED.

    `data` holds fingerprints of today's data by dotted key. Raises UserError if a key differs that
    may not.
    """
    path = start.path
    recorded = recorded_data(path.parent)
    try:
        changed = dict(changed_keys(start.config, config))
    except RecursionError:
        raise UserError(f"{path}: the state of its run is damaged (configuration)") from None
    for key, now in data.items():
        if key not in recorded:
            continue
        if is_recorded(now, recorded[key]):
            changed.pop(key, None)
        elif "digest" in now and key not in changed:
            log.warning(
                "%s: the files of %s have changed since the run last started; training continues "
                "with the new ones",
                *(key, now["path"]),
            )
    forbidden = {
        key: text
        for key, text in changed.items()
        if (key.split(".")[0] in FIXED if is_branch else not _is_free(key))
    }
    listed = "; ".join(forbidden.values())[:600]
    if forbidden and is_branch:
        raise UserError(
            f"{path}: a branch keeps model and optimizer ({listed}). To change them, start from "
            f"the weights alone: --set init={path}"
        )
    if forbidden:
        raise UserError(
            f"{path}: was trained with another configuration ({listed}). Choose another --name for "
            f"a new run, or branch off this one: --name NEW --resume {path}"
        )
    if is_branch and changed:
        log.info("branches off %s with %s", path, "; ".join(changed.values()))


def changed_keys(saved: Mapping[str, Any], config: TrainConfig) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, description) of everything that differs from a saved configuration.

    Keys that are newer than the saved configuration had their default values then.
    """
    now, defaults = dict(_leaves(config.model_dump(mode="json"))), dict(_defaults(config))
    then = dict(_leaves(saved))
    for key in sorted({*then, *now}):
        before = then.get(key, defaults.get(key))
        if key in now:
            after = now[key]
        elif any(each.startswith(f"{key}.") for each in now):  # a value that became a section
            after = before
        elif any(key.startswith(f"{each}.") for each in now):  # a section that became a value
            after = None
        elif _name_beside(key, then) != _name_beside(key, now):  # another encoder, degradation, …
            continue
        else:
            yield key, f"{key}: {before!r} -> (no such key in this version)"
            continue
        if before != after:
            yield key, f"{key}: {before!r} -> {after!r}"


def _name_beside(key: str, leaves: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the name of the section that a key belongs to, if it has one."""
    return leaves.get(f"{key.rpartition('.')[0]}.name")


def _is_free(key: str) -> bool:
    return bool({key, key.split(".")[0]} & FREE_TO_CHANGE)


def _leaves(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything in nested sections."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(cast(dict[str, Any], value), f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _defaults(section: BaseModel, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, default) of all keys of a section and those in it that have one."""
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from _defaults(value, f"{above}{key}.")
        elif not field.is_required():
            yield f"{above}{key}", to_jsonable_python(field.get_default(call_default_factory=True))


def _older(folder: Path) -> list[Path]:
    return [folder / "previous.pt", folder / "best.pt", *every_nth(folder)]


def _newest_good(paths: list[Path]) -> Resumable | None:
    """Return the checkpoint with the most steps. The step-N.pt come last and newest first: after
    the first good one the others need not be read."""
    newest: Resumable | None = None
    for path in paths:
        try:
            found = read_resumable(path)
        except UserError:
            continue
        if newest is None or found.step > newest.step:
            newest = found
        if path.name.startswith("step-"):
            break
    return newest
