"""The learned perceptual image patch similarity (LPIPS) as a loss."""

import importlib.util
import re
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from liif.core.errors import UserError
from liif.data.loader import Batch
from liif.training.losses.base import Loss, LossConfig, to_patches
from liif.training.losses.pretrained import (
    Network,
    check_rgb,
    feature_layers,
    read_weights,
    take_weights,
    torchvision_weights,
)

NETWORKS: dict[str, tuple[Network, tuple[int, ...]]] = {
    "alex": ("alexnet", (1, 4, 7, 9, 11)),
    "vgg": ("vgg16", (3, 8, 15, 22, 29)),
}
"""torchvision's name of each network, and the layers after which features are compared."""

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of colours in [-1, 1], before the network."""


class LpipsConfig(LossConfig):
    """Configuration of LPIPS 0.1."""

    name: Literal["lpips"] = "lpips"
    net: Literal["alex", "vgg"] = "vgg"
    """AlexNet, as in scores, or VGG-16, which its authors recommend for optimisation."""
    weights: str | None = None
    """File with the state dict of the package's lpips.LPIPS(net=…); by default the package's own
    weights (extra [metrics]) and torchvision's cache, or a download."""

    SMALL: ClassVar = {"net": "alex"}

    @property
    def smallest_patch(self) -> int:
        return {"alex": 31, "vgg": 16}[self.net]

    def build(self, channels: int, std: Tensor) -> "Lpips":
        check_rgb(channels, "loss: lpips")
        loss, name = Lpips(self.net), "loss: lpips"
        if self.weights is None:
            weights = _package_weights(self.net, name)
            weights |= torchvision_weights(NETWORKS[self.net][0], name)
        else:
            weights = read_weights(self.weights, name)
            name += f": {self.weights}"
        # In the package, layer 4 of the features is net.slice2.4.
        weights = {re.sub(r"^net\.slice\d+\.", "features.", k): v for k, v in weights.items()}
        take_weights(loss.features, weights, "features.", name)
        for i, layer in enumerate(loss.lins):
            take_weights(layer, weights, f"lin{i}.model.1.", name)
        return loss


class Lpips(Loss):
    """LPIPS (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, eq. 1): squared differences of
    features of unit length, weighted by channel; the mean over samples."""

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str) -> None:
        super().__init__()
        network, self.compared = NETWORKS[net]
        self.features = feature_layers(network)[: self.compared[-1] + 1]
        # The activation i follows the convolution i - 1.
        convs = [self.features[i - 1] for i in self.compared]
        widths = [conv.out_channels for conv in convs if isinstance(conv, nn.Conv2d)]
        with torch.device("meta"):
            self.lins = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE), persistent=False)

    def forward(self, rgb: Tensor, target: Tensor, batch: Batch) -> Tensor:
        x, y = (to_patches((2 * c - 1 - self.shift) / self.scale, batch) for c in (rgb, target))
        distance = x.new_zeros(())
        lins = iter(self.lins)
        for i, layer in enumerate(self.features):
            x, y = layer(x), layer(y)
            if i in self.compared:
                distance = distance + next(lins)((_unit(x) - _unit(y)).square()).mean()
        return distance


def _unit(x: Tensor) -> Tensor:
    """Divide features (B, C, H, W) by their length over C, which may be zero."""
    return x / (x.square().sum(dim=1, keepdim=True) + 1e-20).sqrt()


def _package_weights(net: str, key: str) -> dict[str, Tensor]:
    """Return the weights of the channels that the package lpips comes with."""
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None:
        raise UserError(
            f'{key}: needs its weights: pip install "liif[metrics]", or set the key weights to a '
            "file with the state dict of lpips.LPIPS"
        )
    return read_weights(str(Path(package.origin).parent / "weights" / "v0.1" / f"{net}.pth"), key)
