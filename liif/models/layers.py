"""Layers that encoders and decoders share."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = tuple[Tensor, Tensor]
"""(weight, bias) of a linear layer."""
MANY_ROWS = 2048
"""Rows from which a 1×1 convolution is faster than `linear` on a CPU (measured; not at 1024)."""


def conv(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Conv2d:
    """Return a convolution that preserves height and width (zero padding)."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


class ResBlock(nn.Module):
    """x + scale · conv(relu(conv(x))), without normalisation (Lim et al. 2017, fig. 2c)."""

    def __init__(self, width: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(conv(width, width), nn.ReLU(inplace=True), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        # In place: for a photograph, allocating a tensor costs more than the addition.
        out = self.body(x)
        return (out * self.scale if self.scale != 1 else out).add_(x)


def dense(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool) -> Tensor:
    """Apply a linear layer, and optionally ReLU, to x (…, C), all in one floating-point type.

    On a CPU it uses oneDNN, whose products are two to three times as fast as those of `linear`:
    fused with the ReLU if no gradient is needed, else as a 1×1 convolution.
    """
    if is_exporting():
        out = F.linear(x, weight, bias)
        return out.relu() if relu else out
    if _has_fused_linear(x):
        activation = "relu" if relu else "none"
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "")
    rows = x.numel() // x.shape[-1]
    if x.device.type == "cpu" and rows >= MANY_ROWS:
        image = x.reshape(1, 1, rows, x.shape[-1]).permute(0, 3, 1, 2)  # (1, C, 1, rows), no copy
        out = F.conv2d(image, weight[:, :, None, None], bias)
        out = out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
    else:
        out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def _has_fused_linear(x: Tensor) -> bool:
    """Whether oneDNN's fused product and ReLU, which has no gradient, is available for x."""
    can_fuse = x.device.type == "cpu" and not torch.is_grad_enabled()
    if not (can_fuse and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    if x.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return x.dtype == torch.float32


def is_exporting() -> bool:
    """Whether torch.export traces: its programs hold standard operators, for any number of rows."""
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def relu_(x: Tensor) -> Tensor:
    """Apply ReLU in place."""
    if x.dtype == torch.bfloat16 and x.device.type == "cpu" and not torch.is_grad_enabled():
        # The bits as an integer have the same sign: seven times as fast as with floats.
        return x.view(torch.int16).clamp_(min=0).view(x.dtype)
    return x.relu_()


def after_first(hidden: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Apply ReLU and then `layers`, each (weight, bias), with ReLU between them, to the output
    (…, C) of an MLP's first layer, which is overwritten; all tensors have one type."""
    if layers:
        hidden = relu_(hidden)
    for i, (weight, bias) in enumerate(layers, 1):
        hidden = dense(hidden, weight, bias, relu=i < len(layers))
    return hidden


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, channels_in: int, hidden: Sequence[int], channels_out: int) -> None:
        super().__init__()
        widths = pairwise([channels_in, *hidden, channels_out])
        layers = [layer for a, b in widths for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def linear(self) -> list[nn.Linear]:
        """The linear layers; decoders fold the first one into a convolution."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
