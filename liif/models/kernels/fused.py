"""LIIF's decoder on a grid of pixels: in PyTorch, or in one Triton kernel (liif_triton.py)."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.models.field import Field
from liif.models.geometry import Corners, grid_corners, pixel_centres
from liif.models.layers import Layer, after_first
from liif.models.precision import matmul_uses_tf32

log = logging.getLogger("liif")


def plain(field: Field, at: Corners, bias: Tensor) -> Tensor:
    """Return normalised colours (B, R, W, C) of a grid of pixels, in PyTorch; bias (K,) is that of
    the first layer, including its product with the cell."""
    (weight, _), *rest = field.layers
    by_y, by_x = weight.unbind(1)[:2]
    along_y = at.offset_y.reshape(-1, 1).to(weight) * by_y + bias
    along_x = at.offset_x.reshape(-1, 1).to(weight) * by_x
    hidden = field.gather_grid(at.row.flatten(), at.col.flatten(), along_y, along_x)
    parts = after_first(hidden, rest)
    parts = parts.view(-1, *at.weight.shape, parts.shape[-1])
    return (parts * at.weight[..., None]).sum(dim=1).sum(dim=2)


class Launch(NamedTuple):
    """Launch configuration of the kernel: rows of a program (pixels times corners), warps, and
    pipeline stages (tiles of the weights on chip at a time)."""

    rows: int
    warps: int
    stages: int


CANDIDATES = {
    torch.bfloat16: (
        Launch(rows=128, warps=8, stages=2),
        Launch(rows=128, warps=8, stages=1),
        Launch(rows=64, warps=8, stages=3),
        Launch(rows=64, warps=4, stages=2),
        Launch(rows=64, warps=4, stages=1),
    ),
    torch.float32: (
        Launch(rows=128, warps=8, stages=1),
        Launch(rows=64, warps=8, stages=1),
        Launch(rows=32, warps=4, stages=1),
    ),
}


@lru_cache(maxsize=64)
def launch_for(device: torch.device, dtype: torch.dtype) -> Launch | None:
    """Return the configuration that fits the GPU's registers and on-chip memory, if any."""
    generation = torch.cuda.get_device_capability(device)[0]
    if dtype == torch.bfloat16 and generation >= 8:
        return Launch(rows=128, warps=8, stages=2 if generation in (9, 10) else 1)
    if dtype == torch.float32 and generation == 9:
        return Launch(rows=128, warps=8, stages=1)
    return None


def is_supported(field: Field, pixels: int, *, ensemble: bool) -> bool:
    """Whether the kernel can decode so many pixels of this field: bfloat16 or float32 on a GPU that
    Triton compiles for, without gradients, with layers of at most 256 columns and three colours."""
    codes, layers = field.codes, field.layers
    if not codes.is_cuda or torch.is_grad_enabled() or len(layers) < 2:
        return False
    widths = tuple(len(bias) for _, bias in layers)
    if 4 * pixels * len(codes) >= 2**31 or _columns(field) > 256 or widths[-1] != 3:
        return False
    return _passes_trial(codes.device, codes.dtype, widths, layers[0][0].shape[1], ensemble)


@lru_cache(maxsize=64)
def _passes_trial(
    device: torch.device, dtype: torch.dtype, widths: tuple[int, ...], inputs: int, ensemble: bool
) -> bool:
    """Compare kernel and PyTorch once, on a few pixels: compilers can be missing or wrong."""
    if (launch := launch_for(device, dtype)) is None:
        return False
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    shapes = zip(widths, (inputs, *widths[:-1]), strict=True)
    layers = tuple((noise(n, k) * (2 / k) ** 0.5, noise(n)) for n, k in shapes)
    field = Field(noise(1, 5, 7, widths[0]), size=(5, 7), layers=layers)
    y, x = (pixel_centres(n, torch.ones((), device=device)) for n in (23, 29))
    at = grid_corners(y, x, field.size, ensemble=ensemble)
    try:
        found = decode(field, at, layers[0][1], launch)
        expected = plain(field, at, layers[0][1]).float()
        error = float((found - expected).square().mean() / expected.var())
        reason = "" if error < 1e-3 else f"errs here ({error:.0e})"  # about 1e-4 in bfloat16
    except Exception as error:
        reason = f"fails here: {error}"
    if reason:
        log.warning("the decoder's GPU kernel is disabled, because it %s", reason)
    return not reason


def decode(field: Field, at: Corners, bias: Tensor, launch: Launch | None = None) -> Tensor:
    """As `plain`, by the kernel; the result is float32. Raises ImportError without Triton."""
    # Triton imports slowly and is not available on every system.
    from liif.models.kernels import liif_triton

    codes, ((weight, _), *hidden, (last_weight, last_bias)) = field.codes, field.layers
    launch = launch or launch_for(codes.device, codes.dtype)
    assert launch is not None and codes.stride(2) in (codes.shape[3], codes.stride(1))
    sides, R = at.row.shape
    W, columns = at.col.shape[1], _columns(field)
    rgb = torch.empty(len(codes), R, W, 3, dtype=torch.float32, device=codes.device)
    programs = -(-prod(rgb.shape[:3]) * sides**2 // launch.rows)
    by_y, by_x = weight.unbind(1)[:2]
    tf32 = "tf32" if matmul_uses_tf32() else "tf32x3"
    options: dict[str, Any] = {"STEP": weight.stride(0), "K": codes.shape[3], "P": columns}
    options |= {"LAYERS": len(hidden), "LAST": last_weight.shape[1], "SIDES": sides, "TF32": tf32}
    options |= {"ROWS": launch.rows, "STAGES": launch.stages}
    options |= {"num_warps": launch.warps, "enable_fp_fusion": True}
    with torch.cuda.device_of(codes):
        liif_triton.decode[(programs,)](  # pyright: ignore[reportCallIssue]
            *(rgb, codes, *at, by_y, by_x, bias, *_stacked(hidden, columns, bias)),
            *(last_weight.contiguous(), last_bias, R, W, prod(rgb.shape[:3]), *codes.shape[1:3]),
            *field.origin,
            *(stride // codes.shape[3] for stride in codes.stride()[:2]),
            **options,
        )
    return rgb


def _columns(field: Field) -> int:
    """Return the kernel's number of columns: a power of two from 16 on that fits all layers."""
    widest = max(len(bias) for _, bias in field.layers)
    return max(16, 1 << (widest - 1).bit_length())


def _stacked(layers: Sequence[Layer], columns: int, like: Tensor) -> Layer:
    """Return weights (n, columns, columns) and biases (n, columns), padded with zeros, which remain
    zero through every ReLU."""
    if not layers:
        return like, like  # the kernel does not read them

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, [side for n in reversed(x.shape) for side in (0, columns - n)])

    weights, biases = zip(*layers, strict=True)
    return torch.stack([*map(padded, weights)]), torch.stack([*map(padded, biases)])
