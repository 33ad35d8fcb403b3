"""Count the operations and bytes that a training step and a decoded pixel need at least.

python benchmarks/floor.py
python benchmarks/floor.py --light   # measure the queries of light decoders beside their bounds

Only multiplications and additions of matrix products and convolutions count. The backward pass
costs twice the forward pass: the gradients of the inputs and those of the weights. The first
layer's product with the codes counts as one convolution, as this package computes it.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from measure import machine, paper_model, picture, table
from torch import nn

from liif.commands.device import keep_freed_memory
from liif.models.build import ModelConfig, build_model
from liif.models.cost import Multiplications
from liif.models.decoders.liif import Liif
from liif.models.geometry import Grid, grid_coord
from liif.models.layers import dense
from liif.models.model import SRModel
from liif.models.tiling import block_side, render

ADAM = 7 * 4
"""Bytes per parameter and update in float32: weight, gradient and two moments are read, all but the
gradient written."""
TOUCHED = 6
"""Times that a step without fusion moves an activation: written, read by the next layer and by the
backward pass; its gradient written, and read for the gradients of inputs and of weights."""
PUBLISHED = {"TFLOP/s": 989e12, "TB/s": 3.35e12}
"""NVIDIA's data sheet of the H100 SXM: dense bf16 products, and memory. Not measured."""


LIGHT = ("bilinear", "fourier", "thera", "lm-liif", "lm-lte", "ope", "metasr")
"""Decoders whose queries are measured; the default of `thera` is Thera Air."""
SCALE = 4
ROUNDS = 5
"""Runs of a query, of which the fastest counts."""


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


def query_flop(model: SRModel, side: int = 16) -> float:
    """Return the operations of a result pixel at SCALE: of the points or of the grid, whichever are
    fewer. Sines and divisions are not counted."""
    lr, grid = torch.rand(1, 3, side, side), Grid((side * SCALE, side * SCALE), (side, side))
    y, x = (grid.centres(axis, lr) for axis in (0, 1))
    cell = grid.cell(lr)
    field = model.bind(model.encode_frame(lr), cell)
    # With gradients: without them, linear layers are oneDNN's, which PyTorch's list does not have.
    with torch.enable_grad(), Multiplications() as of_points:
        model.decoder.query(field, grid_coord(y, x)[None], cell[:, None])
    with torch.enable_grad(), Multiplications() as of_grid:
        model.decoder.query_grid(field, y, x, cell)
    return 2 * min(of_points.count, of_grid.count) / (side * SCALE) ** 2


def fastest(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Return the seconds of the fastest of ROUNDS runs."""
    seconds = list[float]()
    for _ in range(ROUNDS + 1):
        start = clock()
        run()
        seconds.append(clock() - start)
    return min(seconds[1:])


def light_queries(threads: int) -> str:
    """Return a table of the queries of light decoders. With one thread the seconds are those of the
    processor, which others' work changes less; of them and of the rates the best counts."""
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    x, weight, bias = torch.rand(16384, 256), torch.rand(256, 256), torch.rand(256)
    large, copy = torch.rand(2, 2**24)
    rate = 2 * x.numel() * 256 / fastest(lambda: dense(x, weight, bias, relu=False), clock)
    bandwidth = 2 * large.nbytes / fastest(lambda: copy.copy_(large), clock)
    rows = list[dict[str, Any]]()
    for name in LIGHT:
        encoder, decoder = {"name": "edsr-baseline"}, {"name": name}
        model = build_model(
            ModelConfig.model_validate({"encoder": encoder, "decoder": decoder}), seed=0
        ).eval()
        flop = query_flop(model)
        for side in (64, 128):
            lr, grid = picture(None, side)[None], Grid((side * SCALE, side * SCALE), (side, side))
            with torch.inference_mode():
                field = model.bind(model.encode_frame(lr), grid.cell(lr))
            out = lr.new_empty(1, 3, *grid.size)
            whole = (0, side * SCALE)
            block = block_side(model.decoder, field)

            def query() -> None:
                render(model, field, out, whole, whole, grid, float("inf"), block)  # noqa: B023

            seconds = fastest(query, clock)
            products = flop * side**2 * SCALE**2 / rate
            moved = (field.nbytes + out.nbytes) / bandwidth
            rows.append(
                {
                    "": name,
                    "from": f"{side}²",
                    "query, ms": 1e3 * seconds,
                    "products, ms": 1e3 * products,
                    "bytes, ms": 1e3 * moved,
                    "times the bound": seconds / max(products, moved),
                }
            )
    return table(
        f"Threads: {threads}; x{SCALE}, float32, {machine(torch.device('cpu'))}; products at "
        f"{rate / 1e9:.0f} GFLOP/s, memory at {bandwidth / 1e9:.1f} GB/s.",
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--light", action="store_true", help="measure the queries of light ones")
    if parser.parse_args().light:
        keep_freed_memory(torch.device("cpu"))
        for threads in sorted({1, torch.get_num_threads()}):
            print(light_queries(threads) + "\n")  # noqa: T201
        return
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
