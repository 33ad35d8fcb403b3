"""Small parts shared by encoders and decoders."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

MANY_ROWS = 2048
"""From here on a 1×1 convolution is the faster product on a CPU; with half as many it is not."""


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps height and width (zero padding)."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


class ResBlock(nn.Module):
    """x + scale · conv(relu(conv(x))), without normalisation (Lim et al. 2017, fig. 2c)."""

    def __init__(self, width: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) * self.scale if self.scale != 1 else x + self.body(x)


def dense(x: Tensor, layer: nn.Linear) -> Tensor:
    """layer(x) for x (…, C). On a CPU, many rows go through a 1×1 convolution, which is the same
    product in a library that runs it two to three times as fast as the one behind `linear`."""
    rows = x.numel() // x.shape[-1]
    if x.device.type != "cpu" or rows < MANY_ROWS:
        return layer(x)
    image = x.reshape(1, 1, rows, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C, 1, rows), no copy
    out = F.conv2d(image, layer.weight[:, :, None, None], layer.bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, channels_in: int, hidden: Sequence[int], channels_out: int) -> None:
        super().__init__()
        widths = [channels_in, *hidden, channels_out]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def first(self) -> nn.Linear:
        """The first layer, linear in the latent code: decoders fold it into a convolution."""
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def after_first(self, hidden: Tensor) -> Tensor:
        """All that follows the first layer's output (…, hidden[0]), which is overwritten,
        -> (…, channels_out)."""
        for layer in list(self.layers)[1:]:
            hidden = dense(hidden, layer) if isinstance(layer, nn.Linear) else hidden.relu_()
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
