"""Count what an encoder or a decoder costs: parameters, and multiplications for each pixel.

The part runs on small images, and every multiplication that it asks for is counted: those of matrix
products, convolutions and attention, as PyTorch's flop counter has them, and those of element-wise
products. Sines, exponentials and divisions are not counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from liif.models.decoder import Decoder
from liif.models.encoder import Encoder
from liif.models.geometry import cell_of, grid_coord, pixel_centres

aten = torch.ops.aten

SIDE = 8
"""Images have sides k · 8 × 8, k = 1, 2, 3; a multiple of the side of attention windows."""
PIXELS = SIDE**2
CHANNELS = 3


class EncoderConfig(Protocol):
    """The configuration of an encoder."""

    def build(self, channels: int) -> Encoder: ...


class DecoderConfig(Protocol):
    """The configuration of a decoder."""

    def build(self, width: int, channels: int) -> Decoder: ...


@dataclass(frozen=True)
class Cost:
    """What a part of a model costs, for colour images."""

    parameters: int
    per_input_pixel: float
    """Multiplications for each low-resolution pixel, once for an image (and an output size)."""
    per_pair: float
    """Further ones for each low-resolution pixel and each pixel of the whole image: those of
    attention to the whole image, which grow with the square of its size."""
    per_output_pixel: float
    """Multiplications for each pixel of the result, with those of a decoder's statistics."""
    radius: int | None
    """Distance in low-resolution pixels up to which a pixel can change the result; None if it is
    unlimited: the image is then encoded at once, never in tiles."""
    has_statistics: bool = False
    """Whether the decoder passes over all points of the result before it gives colours."""


def encoder_cost(config: EncoderConfig) -> Cost:
    """Return the cost of an encoder."""
    encoder = _built(config.build(CHANNELS))
    counts = [
        _count(lambda k=k: encoder(torch.rand(1, CHANNELS, k * SIDE, SIDE))) for k in (1, 2, 3)
    ]
    return Cost(_parameters(encoder), *_per_pixel(counts), 0, encoder.radius)


def decoder_cost(config: DecoderConfig, width: int, scale: int) -> Cost:
    """Return the cost of a decoder of `width` features that enlarges by an integer scale."""
    decoder = _built(config.build(width, CHANNELS))
    prepared = [_count(lambda k=k: _field(decoder, width, scale, k)) for k in (1, 2, 3)]
    field, cell = _field(decoder, width, scale)
    y, x = (pixel_centres(scale * SIDE, field.codes) for _ in range(2))
    queried = _count(lambda: decoder.query(field, grid_coord(y, x)[None], cell[:, None]))
    radius = None if decoder.radius is None else decoder.radius + decoder.reach
    return Cost(
        _parameters(decoder),
        *_per_pixel(prepared),
        queried / (scale**2 * PIXELS),
        radius,
        decoder.has_statistics,
    )


def _field(decoder: Decoder, width: int, scale: int, k: int = 1) -> tuple[Any, Tensor]:
    """Return the bound field of an image of k · 8 × 8 pixels, and the cell (1, 2)."""
    h, w = k * SIDE, SIDE
    feat, lr = torch.rand(1, width, h, w), torch.rand(1, CHANNELS, h, w)
    cell = cell_of((scale * h, scale * w), lr)
    return decoder.bind(decoder.prepare(feat, lr), cell), cell


def _built(part: Any) -> Any:  # noqa: ANN401
    return part.eval().requires_grad_(False)


def _per_pixel(counts: list[int]) -> tuple[float, float]:
    """Return a and b of the counts a · n + b · n² + c for images of n = 64, 128 and 192 pixels."""
    first, second, third = counts
    pairs = (third - 2 * second + first) / (2 * PIXELS**2)
    return (second - first) / PIXELS - 3 * PIXELS * pairs, pairs


class Multiplications(TorchDispatchMode):
    """Counts the multiplications of the operators that run inside."""

    PRODUCTS = (aten.mul, aten.mul_, aten.addcmul, aten.addcmul_)
    """Element-wise products, which are no FLOPs in PyTorch's list of operators."""

    count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # PyTorch's default imports its compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operator = func.overloadpacket
        if operator in flop_registry:  # it counts a multiplication and an addition as two
            self.count += flop_registry[operator](*args, **kwargs, out_val=out) // 2
        elif operator is aten._scaled_dot_product_flash_attention_for_cpu:  # not in the list
            self.count += sdpa_flop_count(*(each.shape for each in args[:3])) // 2
        elif operator in self.PRODUCTS and out.is_floating_point():
            self.count += out.numel()
        return out


def _count(compute: Callable[[], object]) -> int:
    """Return the number of multiplications of a computation."""
    # Without gradients, linear layers on a CPU are oneDNN's, which PyTorch's list does not have.
    with torch.enable_grad(), Multiplications() as found:
        compute()
    return found.count


def _parameters(part: nn.Module) -> int:
    return sum(each.numel() for each in part.parameters())
