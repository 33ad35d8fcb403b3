"""Small parts shared by encoders and decoders."""

from collections.abc import Sequence
from itertools import pairwise

import torch
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
        self.body = nn.Sequential(conv(width, width), nn.ReLU(inplace=True), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        # In place: at the size of a photograph a new tensor costs more than what is done to it.
        out = self.body(x)
        return (out * self.scale if self.scale != 1 else out).add_(x)


def dense(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """A linear layer, and ReLU if asked for, on x (…, C) in one floating-point type. On a CPU it
    goes through oneDNN, whose products are two to three times as fast as those behind `linear`:
    with the ReLU in the same pass where no gradient is wanted, else as a 1×1 convolution."""
    if _fuses(x):
        return torch.ops.mkldnn._linear_pointwise(
            x, weight, bias, "relu" if relu else "none", [], ""
        )
    rows = x.numel() // x.shape[-1]
    if x.device.type == "cpu" and rows >= MANY_ROWS:
        image = x.reshape(1, 1, rows, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C, 1, rows), no copy
        out = F.conv2d(image, weight[:, :, None, None], bias)
        out = out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
    else:
        out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def _fuses(x: Tensor) -> bool:
    """Whether PyTorch was built with oneDNN's product with a ReLU, the one that compiled models
    use, and it takes x; it knows no gradient."""
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if x.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return x.dtype == torch.float32


def relu_(x: Tensor) -> Tensor:
    """ReLU in place."""
    if x.dtype == torch.bfloat16 and x.device.type == "cpu" and not torch.is_grad_enabled():
        # Its bits as an integer are negative where it is: seven times as fast as by way of floats.
        x.view(torch.int16).clamp_(min=0)
        return x
    return x.relu_()


def after_first(hidden: Tensor, layers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """ReLU and layers (weight, bias) with ReLU between them, in one floating-point type: all of an
    MLP that follows its first layer's output (…, C), which is overwritten."""
    for i, (weight, bias) in enumerate(layers, 1):
        hidden = relu_(hidden) if i == 1 else hidden
        hidden = dense(hidden, weight, bias, relu=i < len(layers))
    return hidden


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
    def linear(self) -> list[nn.Linear]:
        """The layers without the ReLUs. The first is linear in the latent code: decoders fold it
        into a convolution."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
