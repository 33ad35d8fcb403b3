"""Training losses."""

from torch import Tensor

from liif.models.model import SRModel


def l1_loss(model: SRModel, rgb: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of (B, Q, 3) in normalised units, (x - 0.5) / 0.5, as published."""
    return ((rgb - target) / model.std).abs().mean()
