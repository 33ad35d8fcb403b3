"""The weighted sum of losses that a training minimises, with what the losses themselves learn."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from liif.core.distributed import Team
from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig

log = logging.getLogger("liif")


class LossTerms(nn.Module):
    """The terms of a training's loss, and the optimizers of those with parameters of their own."""

    weights: Tensor

    def __init__(
        self,
        configs: Sequence[LossConfig],
        *,
        std: Tensor,
        channels: int = 3,
        seed: int = 0,
    ) -> None:
        """
        Args:
            configs: the section `loss` of a configuration.
            std: divisor of the model's normalised units, on the model's device.
            channels: of the model's colours.
            seed: of the initial weights of the losses' own parameters.

        Raises:
            UserError: weights that a loss needs are missing, or are not those of its network.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            losses = [config.build(channels, std).to(std.device) for config in configs]
        self.losses = nn.ModuleList(losses)
        self.configs = {config.name: config for config in configs}
        self.needs = {config.needs for config in configs}
        self.learning = {
            name: loss
            for name, loss in zip(self.configs, losses, strict=True)
            if any(p.requires_grad for p in loss.parameters())
        }
        """The losses with parameters of their own, by name."""
        self.optimizers = {name: loss.make_optimizer() for name, loss in self.learning.items()}
        self.names = [*self.configs, *(f"{name}/own" for name in self.learning)]
        """Names of the values that `forward` returns."""
        factors = [*(config.weight for config in configs), *[1.0] * len(self.learning)]
        self.register_buffer("weights", torch.tensor(factors, device=std.device), persistent=False)

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return every term (N,), then what each loss with own parameters minimises (M,). The sum
        of the values times `weights` has the gradients of all parameters, the model's and the
        losses' own."""
        terms = [loss(rgb, target, batch) for loss in self.losses]
        still = rgb.detach()
        own = [loss.own_loss(still, target, batch) for loss in self.learning.values()]
        return torch.stack([*terms, *own])

    def total(self, values: Sequence[float]) -> float:
        """Return the weighted sum of the terms among values of `forward`."""
        return sum(
            config.weight * value
            for config, value in zip(self.configs.values(), values, strict=False)
        )

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the losses' own parameters from the model's."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * self.learning[name].rate

    def sum_gradients(self, team: Team) -> list[Tensor]:
        """Average the gradients of the losses' own parameters over the processes, as
        DistributedDataParallel does with the model's, and return them."""
        found = [p.grad for p in self.parameters() if p.grad is not None]
        if found and team.size > 1:
            flat = team.sum(torch.cat([grad.flatten() for grad in found])) / team.size
            for grad, part in zip(found, flat.split([g.numel() for g in found]), strict=True):
                grad.copy_(part.view_as(grad))
        return found

    def state(self) -> dict[str, Any]:
        """Return what the losses have learned and remember, by name, as tensors and plain values.
        Frozen parameters, which come from a file, are not part of it."""
        found: dict[str, Any] = {}
        for name, loss in self._by_name():
            if weights := _saved_weights(loss):
                found[name] = {"weights": weights}
            if name in self.optimizers:
                found[name]["optimizer"] = self.optimizers[name].state_dict()
        return found

    def restore(self, saved: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `state` returned in a run with losses of these configurations.

        A loss that the run did not have starts anew, and so does one of another shape whose
        configuration differs. Raises ValueError, or what PyTorch raises, if the state of any other
        loss is missing or damaged.
        """
        then = {config["name"]: config for config in configs}
        for name, loss in self._by_name():
            expected = _saved_weights(loss)
            if not expected or name not in then:
                continue
            if name not in saved:
                raise ValueError(f"the state of loss {name} is missing")
            found = saved[name]["weights"]
            is_same = {key: value.shape for key, value in found.items()} == {
                key: value.shape for key, value in expected.items()
            }
            if not is_same and self.configs[name].model_dump(mode="json") != then[name]:
                log.warning("loss: %s starts anew: its configuration has changed", name)
                continue
            if not is_same:
                raise ValueError(f"the state of loss {name} is that of another loss")
            loss.load_state_dict(found, strict=False)
            if name in self.optimizers:
                _restore_optimizer(self.optimizers[name], saved[name]["optimizer"])

    def _by_name(self) -> Iterator[tuple[str, Loss]]:
        return zip(self.configs, cast(Iterable[Loss], self.losses), strict=True)


def _saved_weights(loss: Loss) -> dict[str, Tensor]:
    """Return the parameters that require gradients, and the persistent buffers."""
    values = loss.state_dict(keep_vars=True)
    frozen = {name for name, p in loss.named_parameters() if not p.requires_grad}
    return {name: value.detach() for name, value in values.items() if name not in frozen}


def _restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Restore what an optimizer remembers of each parameter: all of it, or nothing before the
    first step. Its options stay ours: the run may continue on another device."""
    groups = [
        {**theirs, **{key: ours[key] for key in ours.keys() - {"params"}}}
        for theirs, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    memories = [optimizer.state.get(p, {}) for p in parameters]
    if len({frozenset(memory) for memory in memories}) > 1:
        raise ValueError("a loss's optimizer remembers only a part of its parameters")
    adams = {"step", "exp_avg", "exp_avg_sq"}
    if isinstance(optimizer, torch.optim.Adam) and memories[0] and memories[0].keys() != adams:
        raise ValueError("a loss's optimizer remembers only a part of each parameter")
    for parameter, memory in zip(parameters, memories, strict=True):
        for value in memory.values():
            if not isinstance(value, Tensor) or value.shape not in ((), parameter.shape):
                raise ValueError("a loss's optimizer remembers other parameters")
