"""Optimizers: Adam, and Muon for the weights of hidden layers."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

CHANNELS = 3
"""Layers with at most this many inputs or outputs read or write colours: Adam updates them."""

HIDDEN = 1
"""Index of the parameter group that Muon updates; Adam updates the group before it."""

Q = (3.4445, -4.7750, 2.0315)
"""The odd polynomial that takes singular values between 0 and 1 near 1 (Jordan et al. 2024)."""


def make_optimizer(
    model: nn.Module, name: Literal["adam", "muon"], learning_rate: float, *, bf16: bool = False
) -> torch.optim.Optimizer:
    """Return the optimizer of that name for all parameters of a model.

    Args:
        bf16: Muon orthogonalises in bfloat16.
    """
    # One kernel for all weights on a GPU; on a CPU the fused kernel would round differently.
    fused = next(model.parameters()).is_cuda or None
    if name == "muon":
        return Muon(model, lr=learning_rate, bf16=bf16, fused=fused)
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=fused)


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
        momentum: float = 0.95,
        bf16: bool = False,
        fused: bool | None = None,
    ) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        hidden = [m.weight for m in layers if min(m.weight.shape[:2]) > CHANNELS]
        others = [p for p in model.parameters() if all(p is not weight for weight in hidden)]
        super().__init__([{"params": others}, {"params": hidden}], lr=lr, fused=fused)
        self.momentum = momentum
        self.dtype = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """Update all parameters that have a gradient, or none of them: everything that needs
        memory is computed before anything changes. Gradients of hidden weights are dropped."""
        rate, weights = self.param_groups[HIDDEN]["lr"], self.param_groups[HIDDEN]["params"]
        same_shape: dict[torch.Size, list[Tensor]] = {}
        for weight in weights:
            if weight.grad is not None:
                same_shape.setdefault(weight.shape, []).append(weight)
        updates: list[tuple[list[Tensor], tuple[Tensor, ...], list[Tensor], float]] = []
        for shape, group in same_shape.items():
            gradients = [weight.grad for weight in group if weight.grad is not None]
            momenta = torch._foreach_lerp(
                [self._momentum(weight) for weight in group], gradients, 1 - self.momentum
            )
            # Nesterov momentum: as if one more gradient had been averaged.
            ahead = torch._foreach_lerp(gradients, momenta, self.momentum)
            moves = orthogonal(torch.stack([each.flatten(1) for each in ahead]), self.dtype)
            size = 0.2 * max(moves.shape[1:]) ** 0.5
            updates.append((group, momenta, [move.view(shape) for move in moves], -rate * size))
        for group, *_ in updates:
            for weight in group:
                weight.grad = None  # nothing is left for Adam to update
        super().step(closure)
        for group, momenta, moves, factor in updates:
            torch._foreach_copy_([self._momentum(weight) for weight in group], momenta)
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
