"""Training losses."""

from torch import Tensor


def l1_loss(rgb: Tensor, target: Tensor, std: Tensor) -> Tensor:
    """Return the mean absolute difference of colours (B, Q, 3) as published (Chen et al. 2021,
    sec. 4): in normalised units, (x - 0.5) / 0.5, where `rgb` and `target` are in [0, 1]."""
    return ((rgb - target) / std).abs().mean()
