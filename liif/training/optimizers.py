"""Muon for the weights of hidden layers, Adam for everything else."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COLOURS = 3

HIDDEN = 1
"""Which group of parameters Muon moves; Adam has the one before it."""

Q = (3.4445, -4.7750, 2.0315)
"""The odd polynomial that takes singular values between 0 and 1 near 1 (Jordan et al. 2024)."""


class Muon(torch.optim.Adam):
    """Momentum made orthogonal (Jordan et al., Muon, 2024) moves the weights of convolutions and
    linear layers, each a matrix of (out, in × kernel). What reads or writes colours, biases and
    all else is left to Adam. An update's elements are as large as Adam's are (Liu et al., Muon is
    scalable for LLM training, 2025, sec. 2.2), so that one learning rate does for both. It
    magnifies rounding: losses on several processes follow those of one less closely than Adam's.

    PyTorch's own takes matrices one by one, with a hundred small kernels each on a GPU; here those
    of one shape go together. tests/test_optimizer.py compares the two.
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
        hidden = [m.weight for m in layers if min(m.weight.shape[:2]) > COLOURS]
        others = [p for p in model.parameters() if all(p is not weight for weight in hidden)]
        super().__init__([{"params": others}, {"params": hidden}], lr=lr, fused=fused)
        self.momentum = momentum
        self.dtype = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        """One update of all parameters that have a gradient; hidden weights lose theirs."""
        rate, weights = self.param_groups[HIDDEN]["lr"], self.param_groups[HIDDEN]["params"]
        alike: dict[torch.Size, list[Tensor]] = {}
        for weight in weights:
            if weight.grad is not None:
                alike.setdefault(weight.shape, []).append(weight)
        for shape, group in alike.items():
            gradients = [weight.grad for weight in group if weight.grad is not None]
            averages = [self._average(weight) for weight in group]
            torch._foreach_lerp_(averages, gradients, 1 - self.momentum)
            # Nesterov's: as if one more step had been averaged.
            ahead = torch._foreach_lerp(gradients, averages, self.momentum)
            moves = orthogonal(torch.stack([each.flatten(1) for each in ahead]), self.dtype)
            size = 0.2 * max(moves.shape[1:]) ** 0.5
            torch._foreach_add_(group, [move.view(shape) for move in moves], alpha=-rate * size)
            for weight in group:
                weight.grad = None  # nothing is left for Adam to do
        super().step(closure)

    def _average(self, weight: Tensor) -> Tensor:
        """The average of a weight's gradients; where Adam keeps its own, and is saved with it."""
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(weight)
        return state["exp_avg"]


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32, steps: int = 5) -> Tensor:
    """(N, rows, columns) with singular values near 1, from about 0.7 to 1.2, in place of their own;
    by Newton and Schulz's iteration, computed in a type for which that is precise enough."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(steps):
        square = x @ x.mT
        x = Q[0] * x + (Q[1] * square + Q[2] * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)
