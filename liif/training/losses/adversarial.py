"""The adversarial loss, with a small discriminator of patches that is trained beside the model."""

from typing import Annotated, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from liif.core.section import Width
from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig, apply_frozen, to_patches


class AdversarialConfig(LossConfig):
    """Configuration of the adversarial loss and its discriminator."""

    name: Literal["adversarial"] = "adversarial"
    width: Width = 64
    """Channels of the discriminator's first layer; each further one has twice as many."""
    depth: Annotated[int, pydantic.Field(ge=1, le=6)] = 3
    """Layers that halve the patch."""
    rate: pydantic.PositiveFloat = 1.0
    """Learning rate of the discriminator, as a multiple of the model's."""

    SMALL: ClassVar = {"width": 4}

    @property
    def smallest_patch(self) -> int:
        return 2**self.depth

    def build(self, channels: int, std: Tensor) -> "Adversarial":
        return Adversarial(channels, self)


class Adversarial(Loss):
    """The non-saturating adversarial loss (Goodfellow et al., NIPS 2014, sec. 3), averaged over the
    positions of a patch discriminator (Isola, Zhu, Zhou, Efros, CVPR 2017, sec. 3.2.2).

    The discriminator has no normalisation layers, which would let the samples of a micro-batch
    depend on each other. It learns by Adam with β = (0.5, 0.999).
    """

    def __init__(self, channels: int, config: AdversarialConfig) -> None:
        super().__init__()
        self.rate = config.rate
        layers: list[nn.Module] = []
        for i in range(config.depth):
            width = config.width * 2**i
            layers += [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = width
        self.discriminator = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return how sure the discriminator is that rgb is not a photograph."""
        return F.softplus(-apply_frozen(self.discriminator, _patches(rgb, batch))).mean()

    def own_loss(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return how badly the discriminator tells predicted from true patches."""
        predicted = self.discriminator(_patches(rgb, batch))
        true = self.discriminator(_patches(target, batch))
        return (F.softplus(predicted) + F.softplus(-true)).mean()

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), betas=(0.5, 0.999))


def _patches(colours: Tensor, batch: Batch) -> Tensor:
    return to_patches(2 * colours - 1, batch)
