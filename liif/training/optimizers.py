"""Optimizers: Adam, AdamW, and Muon for the weights of hidden layers; groups of parameters."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import difflib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import pydantic
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from liif.core.errors import UserError
from liif.core.section import Section
from liif.models.precision import tf32_context

OptimizerName = Literal["adam", "adamw", "muon"]
Betas = tuple[float, float]

CHANNELS = 3
"""Layers with at most this many inputs or outputs read or write colours: Adam updates them."""

Q = (3.4445, -4.7750, 2.0315)
"""The odd polynomial that takes singular values between 0 and 1 near 1 (Jordan et al. 2024)."""


class ParameterGroup(Section):
    """Parameters that are trained otherwise than the rest."""

    match: str
    """Pattern of parameter names, with * for any text: `encoder.*`, `*.bias`. Of several groups
    whose pattern matches a parameter, the first takes it."""
    learning_rate_factor: PositiveFloat = 1.0
    """Multiplies the learning rate at every step."""
    weight_decay: NonNegativeFloat | None = None
    """In place of the run's `weight_decay`; null for that one."""
    freeze: bool = False
    """Leave these parameters at their initial values."""

    @pydantic.model_validator(mode="after")
    def _frozen_parameters_have_no_options(self) -> "ParameterGroup":
        if self.freeze and (self.learning_rate_factor != 1 or self.weight_decay is not None):
            raise ValueError(
                "freeze: true leaves learning_rate_factor and weight_decay without effect; remove "
                "them"
            )
        return self


def make_optimizer(
    model: nn.Module,
    name: OptimizerName,
    learning_rate: float,
    *,
    betas: Betas = (0.9, 0.999),
    weight_decay: float = 0.0,
    groups: Sequence[ParameterGroup] = (),
    bf16: bool = False,
) -> torch.optim.Optimizer:
    """Return the optimizer of that name for all parameters of a model that are not frozen.

    Args:
        betas: decays of Adam's averages of the gradient and of its square.
        weight_decay: under adam it is added to the gradient (L2 regularisation); under adamw and
            muon it shrinks the weights directly (Loshchilov and Hutter, ICLR 2019).
        groups: parameters that are trained otherwise. Frozen ones no longer require a gradient.
        bf16: Muon orthogonalises in bfloat16.

    Raises:
        UserError: a group matches no parameter, or all parameters are frozen.
    """
    # One kernel for all weights on a GPU; on a CPU the fused kernel would round differently.
    fused = next(model.parameters()).is_cuda or None
    parts = group_parameters(model, groups, weight_decay)
    if name == "muon":
        return Muon(model, lr=learning_rate, betas=betas, parts=parts, bf16=bf16, fused=fused)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(parts, lr=learning_rate, betas=betas, fused=fused)


def group_parameters(
    model: nn.Module, groups: Sequence[ParameterGroup], weight_decay: float
) -> list[dict[str, Any]]:
    """Freeze parameters, and return the others as an optimizer's groups: those that no pattern
    matches, then those of each pattern. `factor` multiplies the learning rate.

    Raises UserError if a pattern takes no parameter, or all parameters are frozen.
    """
    parts: list[dict[str, Any]] = [{"params": [], "factor": 1.0, "weight_decay": weight_decay}]
    for group in groups:
        decay = weight_decay if group.weight_decay is None else group.weight_decay
        factor = group.learning_rate_factor
        parts.append({"params": [], "factor": factor, "weight_decay": decay})
    names = dict(model.named_parameters())
    for name, parameter in names.items():
        matches = (i for i, g in enumerate(groups, 1) if fnmatchcase(name, g.match))
        parts[next(matches, 0)]["params"].append(parameter)
    for i, (group, part) in enumerate(zip(groups, parts[1:], strict=True)):
        if not part["params"]:
            raise UserError(_no_match(f"groups.{i}.match", group.match, list(names)))
        for parameter in part["params"]:
            parameter.requires_grad_(not group.freeze)
    frozen = [False, *(group.freeze for group in groups)]
    parts = [part for part, is_frozen in zip(parts, frozen, strict=True) if not is_frozen]
    parts = [part for part in parts if part["params"]]
    if not parts:
        raise UserError("groups: freeze all parameters; leave some to train")
    return parts


def _no_match(key: str, pattern: str, names: list[str]) -> str:
    """Return the message about a pattern that takes no parameter."""
    if any(fnmatchcase(name, pattern) for name in names):
        return f"{key}: all parameters of {pattern!r} belong to earlier groups; put it before them"
    levels = [part for name in names for part in _levels(name)]
    near = difflib.get_close_matches(pattern.strip("*."), dict.fromkeys(levels), n=3, cutoff=0.4)
    listed = ", ".join(name if name in names else f"{name}.*" for name in near)
    hint = f"the nearest names are {listed}" if near else f"the first name is {names[0]}"
    return f"{key}: no parameter is named {pattern!r}; {hint}"


def _levels(name: str) -> list[str]:
    """Return a dotted name and the names of the modules that contain it."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


class Muon(torch.optim.Adam):
    """Orthogonalised momentum (Jordan et al., Muon, 2024) for the weights of hidden convolutions
    and linear layers, each a matrix (out, in × kernel); Adam for layers that read or write
    colours, biases and all else.

    Updates are scaled to the size of Adam's (Liu et al., Muon is scalable for LLM training, 2025,
    sec. 2.2), so that one learning rate serves both. Orthogonalisation magnifies rounding: losses
    on several processes follow those of one process less closely than with Adam.

    PyTorch's own Muon takes matrices one by one, in about a hundred small kernels each on a GPU;
    here matrices of one shape are stacked. tests/training/test_optimizers.py compares the two.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        *,
        betas: Betas = (0.9, 0.999),
        parts: Sequence[dict[str, Any]] | None = None,
        momentum: float = 0.95,
        bf16: bool = False,
        fused: bool | None = None,
    ) -> None:
        """
        Args:
            betas: of Adam.
            parts: groups of parameters as of `group_parameters`; by default one of all. Each
                becomes two: of Adam, then with `hidden` of Muon.
            momentum: of Muon.
            bf16: orthogonalise in bfloat16.
        """
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        hidden = {id(m.weight) for m in layers if min(m.weight.shape[:2]) > CHANNELS}
        halves: list[dict[str, Any]] = []
        for part in group_parameters(model, (), 0.0) if parts is None else parts:
            for is_hidden in (False, True):
                own = [p for p in part["params"] if (id(p) in hidden) == is_hidden]
                # Adam itself would add the decay to the gradient.
                rest = {"weight_decay": 0.0, "decay": part["weight_decay"], "hidden": is_hidden}
                halves.append({**part, "params": own, **rest})
        super().__init__(halves, lr=lr, betas=betas, fused=fused)
        self.momentum = momentum
        self.dtype = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Update all parameters that have a gradient, or none of them: everything that needs
        memory is computed before anything changes. Gradients of hidden weights are dropped."""
        found_inf: Tensor | None = getattr(self, "found_inf", None)  # as in PyTorch's Adam
        updates: list[
            tuple[list[Tensor], tuple[Tensor, ...], list[Tensor], float, float | Tensor | None]
        ] = []
        shrunk: list[tuple[list[Tensor], tuple[Tensor, ...]]] = []
        for options in self.param_groups:
            weights = [weight for weight in options["params"] if weight.grad is not None]
            # A number, or a tensor where a CUDA graph reads it from the device, which also knows
            # there whether to skip the step.
            rate: float | Tensor = options["lr"]
            if found_inf is not None:
                rate = rate * (1 - found_inf)
            decay = rate * options["decay"]
            if not options["hidden"]:
                if options["decay"] and weights:
                    shrunk.append((weights, torch._foreach_mul(weights, decay)))
                continue
            same_shape: dict[torch.Size, list[Tensor]] = {}
            for weight in weights:
                same_shape.setdefault(weight.shape, []).append(weight)
            for shape, group in same_shape.items():
                gradients = [weight.grad for weight in group if weight.grad is not None]
                before = [self._momentum(weight) for weight in group]
                if found_inf is not None:  # the average of equals is the same
                    pairs = zip(before, gradients, strict=True)
                    gradients = [torch.where(found_inf > 0, *pair) for pair in pairs]
                momenta = torch._foreach_lerp(before, gradients, 1 - self.momentum)
                # Nesterov momentum: as if one more gradient had been averaged.
                ahead = torch._foreach_lerp(gradients, momenta, self.momentum)
                stacked = torch.stack([each.flatten(1) for each in ahead])
                with tf32_context(stacked.device, "float32"):
                    moves = orthogonal(stacked, self.dtype)
                size = 0.2 * max(moves.shape[1:]) ** 0.5
                views = [move.view(shape) for move in moves]
                if isinstance(rate, Tensor):
                    torch._foreach_mul_(views, -rate * size)
                factor = 1.0 if isinstance(rate, Tensor) else -rate * size
                kept = 1 - decay if options["decay"] else None
                updates.append((group, momenta, views, factor, kept))
        for group, *_ in updates:
            for weight in group:
                weight.grad = None  # nothing is left for Adam to update
        super().step(closure)
        for weights, parts in shrunk:
            torch._foreach_sub_(weights, parts)
        for group, momenta, moves, factor, kept in updates:
            torch._foreach_copy_([self._momentum(weight) for weight in group], momenta)
            if kept is not None:
                torch._foreach_mul_(group, kept)
            torch._foreach_add_(group, moves, alpha=factor)

    def _momentum(self, weight: Tensor) -> Tensor:
        """Return the running average of a weight's gradients, kept where Adam keeps its own."""
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(weight)
        return state["exp_avg"]


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32, steps: int = 5) -> Tensor:
    """Return matrices (N, rows, columns) with their singular values replaced by values near 1 (from
    about 0.7 to 1.2), by `steps` Newton-Schulz iterations in a type precise enough for them."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(steps):
        square = x @ x.mT
        x = Q[0] * x + (Q[1] * square + Q[2] * square @ square) @ x
    return (x.mT if is_tall else x).to(matrices.dtype)
