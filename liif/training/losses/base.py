"""What every loss is: a module that compares predicted with true colours.

Letters: B samples, Q queried pixels, C channels, P side of a patch in pixels.
"""

from typing import Annotated, Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from liif.core.section import Section
from liif.data.loader import Batch


class LossConfig(Section):
    """The keys that all losses share. A loss states its `name`, its own keys and `build`."""

    name: Any
    weight: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Factor of this term in the sum of all terms."""
    needs: ClassVar[Literal["slopes", "log_likelihood"] | None] = None
    """What the loss reads of the batch besides colours: the model's derivatives at the points
    (`Decoder.slopes`), or the density of the true colours (`Decoder.log_likelihood`). Only decoders
    whose configuration `gives` it have it."""

    @property
    def smallest_patch(self) -> int:
        """Side in pixels of the smallest patch that this loss can compare; 0 if it compares
        scattered points as well."""
        return 0

    def build(self, channels: int, std: Tensor) -> "Loss":
        """Return the loss, with initial weights drawn from PyTorch's generator if it has any.

        Args:
            channels: of the model's colours, 3 for RGB.
            std: divisor of the model's normalised units, broadcastable to (B, Q, C).
        """
        raise NotImplementedError


class Loss(nn.Module):
    """A differentiable distance. It is a mean over samples, so that the batch may be divided among
    processes and micro-batches, and it keeps no state between calls.

    Parameters that require gradients are updated after each step by an optimizer of their own, and
    are saved with the run, as persistent buffers are; frozen parameters are not.
    """

    rate = 1.0
    """Learning rate of the loss's own parameters, as a multiple of the run's."""

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return the value () that the model minimises.

        Args:
            rgb: predicted colours, float32 (B, Q, C), in [0, 1] but for overshoot.
            target: true colours, float32 (B, Q, C) in [0, 1].
            batch: the samples that they belong to. With `train_data.layout: patch`, the Q = P·P
                points of a sample are a square of its high-resolution crop, row by row, and
                `batch.patch` is P; it is None for scattered points. `batch.slopes` is
                (B, Q, C, 2) if any term of the run needs slopes, else None, and
                `batch.log_likelihood` (B, Q) likewise.
        """
        raise NotImplementedError

    def own_loss(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        """Return the value () that the loss's own parameters minimise, if it has any, besides
        what `forward` gives them; `rgb` carries no gradient to the model."""
        return rgb.new_zeros(())

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer of the loss's own parameters: Adam. Its learning rate is set at
        every step."""
        return torch.optim.Adam(p for p in self.parameters() if p.requires_grad)


def to_patches(colours: Tensor, batch: Batch) -> Tensor:
    """Return colours (B, P·P, C) of a batch of patches as images (B, C, P, P)."""
    assert batch.patch is not None, "TrainConfig refuses scattered points"
    return colours.mT.unflatten(2, (batch.patch, batch.patch))


def apply_frozen(network: nn.Module, x: Tensor) -> Tensor:
    """Return network(x), whose gradient reaches x but no parameter of the network."""
    frozen = {name: value.detach() for name, value in network.named_parameters()}
    return torch.func.functional_call(network, frozen, (x,))
