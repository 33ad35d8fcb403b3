"""All of a training run that changes: made, saved, restored."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from liif.core.errors import UserError
from liif.hub.pretrained import load
from liif.models.build import build_model
from liif.models.checkpoint import read_checkpoint, save_checkpoint
from liif.models.model import SRModel
from liif.training.config import TrainConfig
from liif.training.optimizers import HIDDEN, Muon

FREE_TO_CHANGE = {
    "data_root", "steps", "accumulate", "workers", "stall_minutes", "log_every", "save_every",
    "keep_every", "keep", "test", "compile", "deterministic", "train_data.cache",
    "train_data.cache_dir",
}  # fmt: skip
"""Keys that may differ when a run goes on: they do not change what is computed, but for `steps`
where the learning rate falls along a cosine to the last of them."""

COUNTERS = ("step", "validated", "best", "window", "seconds")
"""Of a state, what is plain numbers."""


@dataclass
class State:
    """All of a run that changes."""

    model: SRModel
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    step: int = 0
    validated: int = 0
    """The step of the last finished validation."""
    best: float = float("-inf")
    window: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Loss, gradient norm and steps summed since the last line of the log."""
    seconds: float = 0.0

    @property
    def eval_model(self) -> SRModel:
        """The model to validate, test and use: the averaged one if there is one."""
        return self.model if self.average is None else cast(SRModel, self.average.module)

    def update_ema(self, decay: float | None) -> None:
        """Let the average follow the weights of the step just done: closely at first, or the random
        start would be seen in it for the first thousands of steps."""
        if self.average is not None and decay is not None:
            decay = min(decay, (1 + self.step) / (10 + self.step))
            self.average.multi_avg_fn = get_ema_multi_avg_fn(decay)
            self.average.update_parameters(self.model)

    def save(self, path: Path, config: TrainConfig) -> None:
        training: dict[str, Any] = {
            "config": config.model_dump(mode="json"),
            "optimizer": self.optimizer.state_dict(),
            "generator": torch.get_rng_state(),
            **{key: getattr(self, key) for key in COUNTERS},
        }
        if self.average is not None:
            training["weights"] = self.model.state_dict()
            training["averaged"] = int(self.average.n_averaged)
        save_checkpoint(path, config.model, self.eval_model.state_dict(), training)

    def restore(self, path: Path, config: TrainConfig) -> None:
        checkpoint = read_checkpoint(path)
        saved = checkpoint.training
        if saved is None:
            raise UserError(f"{path}: holds weights only; start from them with --set init={path}")
        try:
            _check_same_run(path, saved["config"], config)
            self.model.load_state_dict(saved.get("weights", checkpoint.weights))
            if self.average is not None:
                self.average.module.load_state_dict(checkpoint.weights)
                self.average.n_averaged.fill_(saved["averaged"])
            _restore_optimizer(self.optimizer, saved["optimizer"])
            torch.set_rng_state(saved["generator"])
            for key in COUNTERS:
                setattr(self, key, _like(getattr(self, key), saved[key]))
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"{path}: the state of its run is damaged ({error!r})") from None


def new_state(config: TrainConfig, device: torch.device) -> State:
    """The state before the first step."""
    model = build_model(config.model, seed=config.seed)
    if config.init is not None:
        start = load(config.init).state_dict()
        try:
            model.load_state_dict(start)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:400]
            raise UserError(f"init: {config.init} does not fit the model: {reason}") from None
    model.to(device).train()
    average = None if config.ema is None else AveragedModel(model)
    # One kernel for all weights on a GPU; on a CPU it would round otherwise.
    fused = model.mean.is_cuda or None
    if config.optimizer == "muon":
        bf16 = config.precision == "bf16"
        optimizer = Muon(model, lr=config.learning_rate, bf16=bf16, fused=fused)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=fused)
    return State(model, optimizer, average)


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """What is remembered of the weights is the run's; how to go on from there is ours, which may be
    on another device. The rate is set at every step."""
    for group, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        group.update({key: ours[key] for key in ours.keys() - {"params", "lr"}})
    optimizer.load_state_dict(saved)
    for i, group in enumerate(optimizer.param_groups):
        by_muon = isinstance(optimizer, Muon) and i == HIDDEN
        averages = ("exp_avg",) if by_muon else ("exp_avg", "exp_avg_sq")
        for weight in group["params"]:
            found = {key: part.shape for key, part in optimizer.state.get(weight, {}).items()}
            # Nothing before the first step.
            if found and found != {"step": (), **dict.fromkeys(averages, weight.shape)}:
                raise ValueError("the optimizer remembers other weights")


def _check_same_run(path: Path, saved: dict[str, Any], config: TrainConfig) -> None:
    """A run goes on only as the run it was."""
    # Through the configuration, which gives keys that are newer than the file their defaults.
    then, now = (
        dict(_leaves(c.model_dump(mode="json")))
        for c in (TrainConfig.model_validate(saved), config)
    )
    changed = [
        f"{key}: {then.get(key)!r} -> {now.get(key)!r}"
        for key in sorted({*then, *now})
        if not {key, key.split(".")[0]} & FREE_TO_CHANGE and then.get(key) != now.get(key)
    ]
    if changed:
        raise UserError(
            f"{path}: was trained with another configuration, so this would not be the same run "
            f"({'; '.join(changed)[:600]}). Choose another --name for a new run."
        )


def _like(example: Any, value: Any) -> Any:  # noqa: ANN401
    """The value, if it is a number or a list of numbers as the example is."""
    if isinstance(example, list):
        return [_like(e, v) for e, v in zip(cast(list[float], example), value, strict=True)]
    if type(value) not in (int, type(example)):
        raise TypeError(f"{value!r:.50} where a number belongs")
    return value


def _leaves(section: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in nested sections."""
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(cast(dict[str, Any], value), f"{above}{key}.")
        else:
            yield above + key, value
