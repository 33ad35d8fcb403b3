"""Count the operations and bytes that a training step and a decoded pixel need at least.

python benchmarks/floor.py

Only multiplications and additions of matrix products and convolutions count. The backward pass
costs twice the forward pass: the gradients of the inputs and those of the weights. The first
layer's product with the codes counts as one convolution, as this package computes it.
"""

from typing import NamedTuple

from measure import paper_model
from torch import nn

from liif.models.decoders.liif import Liif
from liif.models.model import SRModel

ADAM = 7 * 4
"""Bytes per parameter and update in float32: weight, gradient and two moments are read, all but the
gradient written."""
TOUCHED = 6
"""Times that a step without fusion moves an activation: written, read by the next layer and by the
backward pass; its gradient written, and read for the gradients of inputs and of weights."""
PUBLISHED = {"TFLOP/s": 989e12, "TB/s": 3.35e12}
"""NVIDIA's data sheet of the H100 SXM: dense bf16 products, and memory. Not measured."""


class Cost(NamedTuple):
    """Cost of a low-resolution pixel, and of a queried pixel at all of its corners."""

    encoder_flop: int
    first_layer_flop: int
    query_flop: int
    map_values: int
    """Activations kept per low-resolution pixel."""
    query_values: int
    """Activations kept per queried pixel."""


def cost(model: SRModel) -> Cost:
    """Count from the shapes of the weights; the encoder's convolutions run once at every
    low-resolution pixel."""
    decoder = model.decoder
    assert isinstance(decoder, Liif) and isinstance(model.encoder, nn.Module)
    convolutions = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    first, *rest = decoder.mlp.linear
    corners = 4 if decoder.local_ensemble else 1
    code_weights = first.weight[:, : -decoder.extra_inputs].numel()
    of_point = decoder.extra_inputs * first.out_features + sum(
        layer.weight.numel() for layer in rest
    )
    return Cost(
        encoder_flop=2 * sum(m.weight.numel() for m in convolutions),
        first_layer_flop=2 * code_weights,
        query_flop=2 * corners * of_point,
        map_values=sum(m.out_channels for m in convolutions) + first.out_features,
        query_values=corners * sum(layer.in_features for layer in rest),
    )


def step_flop(model: SRModel, pixels: int, queries: int) -> int:
    """Return the operations of a training step on a batch of low-resolution pixels and queries."""
    c = cost(model)
    return 3 * ((c.encoder_flop + c.first_layer_flop) * pixels + c.query_flop * queries)


def step_bytes(model: SRModel, pixels: int, queries: int, width: int = 2) -> int:
    """Return the bytes of a step whose layers read and write memory, with values of `width`."""
    c = cost(model)
    values = c.map_values * pixels + c.query_values * queries
    parameters = sum(p.numel() for p in model.parameters())
    return TOUCHED * width * values + ADAM * parameters


def image_flop(model: SRModel, lr_pixels: int, pixels: int) -> int:
    """Return the operations of a whole image."""
    c = cost(model)
    return (c.encoder_flop + c.first_layer_flop) * lr_pixels + c.query_flop * pixels


def pixel_bytes(model: SRModel, scale: float, *, fused: bool, width: int = 2) -> float:
    """Return the bytes that a decoded pixel moves: its float32 colour and its share of the codes;
    without fusion also every hidden value, written and read."""
    assert isinstance(model.decoder, Liif)
    hidden = 0 if fused else 2 * width * cost(model).query_values
    return 12 + width * model.decoder.code_channels / scale**2 + hidden


def main() -> None:
    model, batch = paper_model(), 16 * 48**2
    c = cost(model)
    forward = [c.encoder_flop * batch, c.first_layer_flop * batch, c.query_flop * batch]
    flop, moved = step_flop(model, batch, batch), step_bytes(model, batch, batch)
    peak, bandwidth = PUBLISHED.values()
    lines = [
        "training step, 16 × 48², 2,304 queries, EDSR-baseline-LIIF:",
        "  forward: encoder {:.1f} + first layer {:.1f} + the rest at four corners {:.1f} "
        "GFLOP".format(*(f / 1e9 for f in forward)),
        f"  with the backward pass: {flop / 1e9:.0f} GFLOP, {1e3 * flop / peak:.2f} ms at the "
        f"published {peak / 1e12:.0f} TFLOP/s, {1e3 * flop / 600e12:.2f} ms at 600",
        f"  bf16 activations layer by layer, and Adam: {moved / 1e9:.2f} GB, "
        f"{1e3 * moved / bandwidth:.2f} ms at the published {bandwidth / 1e12} TB/s",
        f"decoded pixel: {c.query_flop / 1e6:.2f} MFLOP, "
        f"{peak / c.query_flop / 1e6:.0f} megapixels/s at the published rate; at x4",
    ]
    for fused in (False, True):
        n = pixel_bytes(model, 4, fused=fused)
        way = "in one kernel" if fused else "layer by layer"
        speed = bandwidth / n / 1e6
        lines.append(f"  {way} {n:.0f} bytes, {speed:,.0f} megapixels/s at the published rate")
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
