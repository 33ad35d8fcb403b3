"""The perceptual loss of VGG-19's features."""

from typing import Annotated, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig, to_patches
from liif.training.losses.pretrained import (
    check_rgb,
    feature_layers,
    read_weights,
    take_weights,
    torchvision_weights,
)

Layer = Literal[
    "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2", "conv5_3", "conv5_4",
]  # fmt: skip

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours in [0, 1], with which the network was trained."""


class VggConfig(LossConfig):
    """Configuration of the mean absolute difference of features of VGG-19 before activation."""

    name: Literal["vgg"] = "vgg"
    layers: Annotated[tuple[Layer, ...], pydantic.Field(min_length=1)] = ("conv5_4",)
    """The convolutions whose outputs are compared, from conv1_1 to conv5_4; their differences are
    added."""
    weights: str | None = None
    """File with torchvision's weights of vgg19; by default torchvision's cache, or a download."""

    SMALL: ClassVar = {"layers": ["conv1_2", "conv2_1"]}

    @property
    def smallest_patch(self) -> int:
        return 2 ** (max(int(layer[4]) for layer in self.layers) - 1)

    def build(self, channels: int, std: Tensor) -> "Vgg":
        check_rgb(channels, "loss: vgg")
        loss, name = Vgg(self.layers), "loss: vgg"
        if self.weights is None:
            weights = torchvision_weights("vgg19", name)
        else:
            weights = read_weights(self.weights, name)
            name += f": {self.weights}"
        take_weights(loss.features, weights, "features.", name)
        return loss


class Vgg(Loss):
    """Mean absolute difference of features before activation (Wang et al., ESRGAN, ECCVW 2018, sec.
    3.3; after Johnson, Alahi, Fei-Fei, ECCV 2016)."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: tuple[str, ...]) -> None:
        super().__init__()
        features = feature_layers("vgg19")
        self.compared = {i for i, name in conv_names(features).items() if name in layers}
        self.features = features[: max(self.compared) + 1]
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        x, y = (to_patches((c - self.mean) / self.std, batch) for c in (rgb, target))
        difference = x.new_zeros(())
        for i, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if i in self.compared:
                difference = difference + (x - y).abs().mean()
        return difference


def conv_names(features: nn.Sequential) -> dict[int, str]:
    """Return the published names of VGG's convolutions, conv1_1 and so on, by index: the first
    number counts the blocks that pooling separates."""
    names: dict[int, str] = {}
    block, conv = 1, 0
    for i, layer in enumerate(features):
        if isinstance(layer, nn.Conv2d):
            conv += 1
            names[i] = f"conv{block}_{conv}"
        elif isinstance(layer, nn.MaxPool2d):
            block, conv = block + 1, 0
    return names
