"""A descriptor of a model in the style of spandrel's, with a scale that is any number.

It has the attributes and calls of `spandrel.ImageModelDescriptor`, whose own `scale` is an integer.
"""

from pathlib import Path

import torch
from torch import Tensor

import liif


class LiifDescriptor:
    """A model for images (B, C, h, w), float in [0, 1], and the scale by which it is called."""

    architecture = "LIIF"
    purpose = "SR"
    tags = ("any scale",)
    supports_half = False
    supports_bfloat16 = False

    def __init__(self, model: liif.SRModel, scale: float = 4.0) -> None:
        self.model, self.scale = model.eval(), scale
        self.input_channels = model.channels.input
        self.output_channels = model.channels.output

    @classmethod
    def load_from_file(cls, path: str | Path, scale: float = 4.0) -> "LiifDescriptor":
        """Return the descriptor of a checkpoint, or of a model's name; raises as `liif.load`."""
        return cls(liif.load(path), scale)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.mean.device

    def to(self, device: str | torch.device) -> "LiifDescriptor":
        """Move the model."""
        self.model.to(device)
        return self

    def __call__(self, image: Tensor) -> Tensor:
        """Return the enlarged images (B, C, H, W), in [0, 1]."""
        return self.model.upscale(image, scale=self.scale)
