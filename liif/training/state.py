"""Everything that changes during a training run: created, saved and restored here."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from liif.core.errors import UserError
from liif.hub.pretrained import load
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import Checkpoint, save_checkpoint
from liif.models.model import SRModel
from liif.models.precision_names import UsedPrecision
from liif.training.losses.base import LossConfig
from liif.training.losses.pointwise import L1Config
from liif.training.losses.terms import LossTerms
from liif.training.optimizers import Betas, OptimizerName, ParameterGroup, make_optimizer
from liif.training.recompute import recompute_blocks

COUNTERS = ("step", "validated", "best", "window", "seconds")
"""Attributes of a TrainingState that are plain numbers."""
NEW_COUNTERS = ("stale",)
"""Further ones, which checkpoints of versions before 0.3 lack."""


@dataclass
class TrainingState:
    """Everything that changes during a training run."""

    model: SRModel
    optimizer: torch.optim.Optimizer
    losses: LossTerms
    ema_decay: float | None = None
    """Decay of the moving average of the weights; None for no average."""
    scaler: torch.amp.GradScaler | None = None
    """Scales the loss under fp16, whose small gradients would vanish."""
    step: int = 0
    """Finished steps."""
    validated: int = 0
    """Step of the last finished validation."""
    best: float = float("-inf")
    """Score of the best validation, larger is better: mean PSNR in dB, mean SSIM, or the negative
    of the mean LPIPS."""
    stale: int = 0
    """Validations since the best one."""
    window: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Sums of loss and gradient norm, and the number of steps, since the last line of the log."""
    terms: list[float] = field(init=False)
    """Sums of the values of all losses, and the number of steps, since the last line of the log."""
    seconds: float = 0.0
    """Time spent on steps."""
    ema_updates: int = 0
    ema_model: SRModel | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.terms = self.no_terms()
        if self.ema_decay is not None:
            self.ema_model = copy.deepcopy(self.model).requires_grad_(False)

    @property
    def eval_model(self) -> SRModel:
        """The model to validate, test and use: the averaged one if there is one."""
        return self.model if self.ema_model is None else self.ema_model

    def no_terms(self) -> list[float]:
        """Return what `terms` is after a line of the log."""
        return [0.0] * (len(self.losses.names) + 1)

    def ema_pull(self, step: int) -> float:
        """Return how far the averaged weights move towards the current ones after a step, `step`
        steps after the first: 1 for all the way.

        The decay grows with the steps, or the random initial weights would show in the average for
        thousands of steps.
        """
        return 1.0 if self.ema_decay is None else 1 - min(self.ema_decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update_ema(self) -> None:
        """Move the averaged weights towards the current ones, after each step."""
        if self.ema_model is None:
            return
        average: list[Tensor] = list(self.ema_model.parameters())
        weights: list[Tensor] = list(self.model.parameters())
        if self.ema_updates == 0:
            torch._foreach_copy_(average, weights)  # pyright: ignore
        else:
            torch._foreach_lerp_(average, weights, self.ema_pull(self.step))  # pyright: ignore
        self.ema_updates += 1

    def save(
        self, path: Path, model: ModelConfig, run: dict[str, Any], previous: Path | None = None
    ) -> None:
        """Write a checkpoint from which training continues exactly.

        Args:
            model: configuration of the model.
            run: configuration of the run, as JSON values.
            previous: what the file at `path` is renamed to, instead of being replaced.

        Raises:
            UserError: it cannot be written; the file that was there is intact.
        """
        _drop_incomplete(self.optimizer)
        training: dict[str, Any] = {
            "config": run,
            "optimizer": self.optimizer.state_dict(),
            "losses": {"terms": self.terms, "state": self.losses.state()},
            "generator": torch.get_rng_state(),
            **{key: getattr(self, key) for key in (*COUNTERS, *NEW_COUNTERS)},
        }
        if self.model.mean.is_cuda:
            training["device_generator"] = torch.cuda.get_rng_state(self.model.mean.device)
        if self.scaler is not None:
            training["scaler"] = self.scaler.state_dict()
        if self.ema_model is not None:
            training["weights"] = self.model.state_dict()
            training["averaged"] = self.ema_updates
        save_checkpoint(path, model, self.eval_model.state_dict(), training, previous)

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        """Take over a checkpoint that `save` wrote to a path, with or without an average.

        Raises UserError if it is damaged, or of another model or optimizer.
        """
        saved = checkpoint.training or {}
        try:
            weights = saved.get("weights", checkpoint.weights)
            self.model.load_state_dict(weights)
            if self.ema_model is not None:
                has_average = "averaged" in saved
                self.ema_model.load_state_dict(checkpoint.weights if has_average else weights)
                self.ema_updates = int(saved["averaged"]) if has_average else 0
            _restore_optimizer(self.optimizer, saved["optimizer"])
            self._restore_losses(saved)
            torch.set_rng_state(saved["generator"])
            if self.model.mean.is_cuda and "device_generator" in saved:
                torch.cuda.set_rng_state(saved["device_generator"], self.model.mean.device)
            if self.scaler is not None and "scaler" in saved:
                self.scaler.load_state_dict(_like(self.scaler.state_dict(), saved["scaler"]))
            for key in COUNTERS + tuple(key for key in NEW_COUNTERS if key in saved):
                setattr(self, key, _like(getattr(self, key), saved[key]))
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"{path}: the state of its run is damaged ({error!r})") from None

    def _restore_losses(self, saved: Mapping[str, Any]) -> None:
        """Restore the losses; files of versions before 0.3 have none that learn."""
        configs = saved["config"].get("loss", [])
        losses = saved.get("losses", {"terms": self.no_terms(), "state": {}})
        self.losses.restore(losses["state"], configs)
        same = [config["name"] for config in configs] == list(self.losses.configs)
        self.terms = _like(self.terms, losses["terms"]) if same else self.no_terms()


def new_state(
    model: ModelConfig,
    *,
    seed: int,
    device: torch.device,
    init: str | Mapping[str, str] | None = None,
    optimizer: OptimizerName = "adam",
    learning_rate: float = 1e-4,
    betas: Betas = (0.9, 0.999),
    weight_decay: float = 0.0,
    groups: Sequence[ParameterGroup] = (),
    precision: UsedPrecision = "float32",
    gradient_checkpointing: bool = False,
    ema: float | None = None,
    loss: Sequence[LossConfig] = (L1Config(),),
) -> TrainingState:
    """Return the state before the first step.

    Args:
        seed: of the initial weights, those of losses included.
        init: checkpoint (file or name) to take the weights from instead, or one for each part:
            "encoder" and "decoder".
        optimizer: with learning_rate, betas, weight_decay and groups as of `make_optimizer`.
        precision: under bf16 Muon orthogonalises in bfloat16; under fp16 the loss is scaled.
        gradient_checkpointing: see `recompute_blocks`.
        ema: decay of the moving average of the weights.
        loss: the terms that training minimises.

    Raises:
        UserError: `init` does not exist or is another model; a group matches no parameter; a loss
            lacks its weights.
    """
    network = build_model(model, seed=seed)
    if isinstance(init, str):
        _take_weights(network, load(init), f"init: {init}")
    for part, file in {} if init is None or isinstance(init, str) else init.items():
        own, other = network.get_submodule(part), load(file).get_submodule(part)
        _take_weights(own, other, f"init.{part}: {file}: its {part}")
    network.to(device).train()
    chosen = make_optimizer(
        network, optimizer, learning_rate,
        betas=betas, weight_decay=weight_decay, groups=groups, bf16=precision == "bf16",
    )  # fmt: skip
    scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
    losses = LossTerms(loss, std=network.std, channels=network.channels.output, seed=seed)
    state = TrainingState(network, chosen, losses, ema_decay=ema, scaler=scaler)
    if gradient_checkpointing:
        recompute_blocks(network.get_submodule("encoder"))
    return state


def _take_weights(module: nn.Module, source: nn.Module, name: str) -> None:
    own, given = _shapes(module), _shapes(source)
    different = [key for key in {**own, **given} if own.get(key) != given.get(key)]
    if different:
        first = different[0]
        there, here = given.get(first, "missing"), own.get(first, "missing")
        raise UserError(
            f"{name} does not fit the model: {len(different)} of its weights differ; the first, "
            f"{first}, is {there} there and {here} here"
        )
    module.load_state_dict(source.state_dict())


def _shapes(module: nn.Module) -> dict[str, str]:
    return {
        key: "×".join(map(str, weight.shape)) or "a number"
        for key, weight in module.state_dict().items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Restore what the optimizer remembers of the weights. Options such as `fused` stay ours: the
    run may continue on another device. The learning rate is set at every step."""
    for group, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        group.update({key: ours[key] for key in ours.keys() - {"params", "lr"}})
    optimizer.load_state_dict(saved)
    for weight, expected in _expected_shapes(optimizer):
        found = {key: tuple(part.shape) for key, part in optimizer.state.get(weight, {}).items()}
        if found and found != expected:  # there is nothing before the first step
            raise ValueError("the optimizer's state is that of other weights")


def _drop_incomplete(optimizer: torch.optim.Optimizer) -> None:
    """Forget what a first step that ran out of memory began to remember of a weight."""
    for weight, expected in _expected_shapes(optimizer):
        if weight in optimizer.state and optimizer.state[weight].keys() != expected.keys():
            del optimizer.state[weight]


def _expected_shapes(
    optimizer: torch.optim.Optimizer,
) -> Iterator[tuple[Tensor, dict[str, tuple[int, ...]]]]:
    """Yield every weight with the shapes of what the optimizer remembers of it."""
    for group in optimizer.param_groups:
        averages = ("exp_avg",) if group.get("hidden") else ("exp_avg", "exp_avg_sq")  # of Muon
        for weight in group["params"]:
            yield weight, {"step": (), **dict.fromkeys(averages, tuple(weight.shape))}


def _like(example: Any, value: Any) -> Any:  # noqa: ANN401
    """Return the value if it is a number, or a list or dictionary of numbers, as the example is."""
    if isinstance(example, dict):
        return {key: _like(e, value[key]) for key, e in cast(dict[str, float], example).items()}
    if isinstance(example, list):
        return [_like(e, v) for e, v in zip(cast(list[float], example), value, strict=True)]
    if type(value) not in (int, type(example)):
        raise TypeError(f"{value!r:.50} where a number belongs")
    return value
