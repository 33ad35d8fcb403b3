"""LIIF's decoder on a grid of pixels: in PyTorch, or in one Triton kernel (liif_triton.py)."""

import logging
import time
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from liif.core.memory import is_out_of_memory
from liif.core.sizes import Size
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
    """Launch configuration of the kernel."""

    rows: int
    """Of a program: pixels times corners."""
    warps: int
    stages: int
    """Pipeline stages: from 3 on, weights are loaded while earlier ones are multiplied."""


@lru_cache(maxsize=64)
def candidates(device: torch.device, dtype: torch.dtype) -> tuple[Launch, ...]:
    """Return the configurations that a GPU's registers and shared memory hold; which one is the
    fastest is measured. tests/models/test_kernel_code.py compiles them."""
    capability = torch.cuda.get_device_capability(device)
    if dtype == torch.float32 and capability[0] == 9:
        # 128 rows put 1.6 KB of registers into memory, and are still faster on an H200.
        return Launch(128, 8, 1), Launch(64, 8, 1)
    if dtype != torch.bfloat16 or capability < (8, 0):
        return ()
    if capability[0] == 9:
        return (Launch(128, 8, 2),)  # nearly twice as fast as (64, 8, 3) on an H200: docs/gpu.md
    if capability in ((8, 0), (8, 7)) or capability[0] in (10, 11):
        return Launch(128, 8, 2), Launch(64, 8, 3)
    return Launch(128, 8, 2), Launch(64, 8, 2)  # no more than 99 KiB of shared memory


def launch_for(field: Field, pixels: int, *, ensemble: bool) -> Launch | None:
    """Return how the kernel decodes so many pixels of this field; None if it cannot: it is for
    bfloat16 or float32 on a GPU that Triton compiles for, without gradients, with layers of at most
    256 columns and three colours."""
    codes, layers = field.codes, field.layers
    if not codes.is_cuda or torch.is_grad_enabled() or len(layers) < 2:
        return None
    widths = tuple(len(bias) for _, bias in layers)
    if 4 * pixels * len(codes) >= 2**31 or _columns(field) > 256 or widths[-1] != 3:
        return None
    return _fastest(codes.device, codes.dtype, widths, layers[0][0].shape[1], ensemble)


@lru_cache(maxsize=64)
def _fastest(
    device: torch.device, dtype: torch.dtype, widths: tuple[int, ...], inputs: int, ensemble: bool
) -> Launch | None:
    """Return the fastest configuration whose results on a few pixels are those of PyTorch, once in
    a process; compilers can be missing or wrong. All of them add in the same order."""
    field = _noise_field(device, dtype, widths, inputs)
    few = _trial_grid(field, (23, 29), ensemble)
    right = [launch for launch in candidates(device, dtype) if _is_right(field, few, launch)]
    if len(right) < 2:
        return right[0] if right else None
    # Four programs for each multiprocessor take a fraction of a millisecond.
    units = torch.cuda.get_device_properties(device).multi_processor_count
    many = _trial_grid(field, (16, 8 * units), ensemble)
    seconds = [_seconds(field, many, launch) for launch in right]
    return right[seconds.index(min(seconds))]


def _noise_field(
    device: torch.device, dtype: torch.dtype, widths: tuple[int, ...], inputs: int
) -> Field:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    shapes = zip(widths, (inputs, *widths[:-1]), strict=True)
    layers = tuple((noise(n, k) * (2 / k) ** 0.5, noise(n)) for n, k in shapes)
    return Field(noise(1, 5, 7, widths[0]), size=(5, 7), layers=layers)


def _trial_grid(field: Field, size: Size, ensemble: bool) -> Corners:
    one = torch.ones((), device=field.codes.device)
    y, x = (pixel_centres(n, one) for n in size)
    return grid_corners(y, x, field.size, ensemble=ensemble)


def _is_right(field: Field, at: Corners, launch: Launch) -> bool:
    """Whether kernel and PyTorch compute the same, with a warning if not."""
    bias = field.layers[0][1]
    try:
        found = decode(field, at, bias, launch)
        expected = plain(field, at, bias).float()
        error = float((found - expected).square().mean() / expected.var())
        reason = "" if error < 1e-3 else f"errs here ({error:.0e})"  # about 1e-4 in bfloat16
    except Exception as error:
        if is_out_of_memory(error):  # for now: smaller blocks and tiles leave more
            raise
        reason = f"fails here: {error}"
    if reason:
        text = "the decoder's GPU kernel is disabled with %s, because it %s"
        log.warning(text, tuple(launch), reason)
    return not reason


def _seconds(field: Field, at: Corners, launch: Launch) -> float:
    """Return the least time of five runs."""
    best = float("inf")
    for _ in range(5):
        torch.cuda.synchronize(field.codes.device)
        start = time.perf_counter()
        decode(field, at, field.layers[0][1], launch)
        torch.cuda.synchronize(field.codes.device)
        best = min(best, time.perf_counter() - start)
    return best


def decode(field: Field, at: Corners, bias: Tensor, launch: Launch) -> Tensor:
    """As `plain`, by the kernel; the result is float32. Raises ImportError without Triton."""
    # Triton imports slowly and is not available on every system.
    from liif.models.kernels import liif_triton

    codes, ((weight, _), *hidden, (last_weight, last_bias)) = field.codes, field.layers
    assert codes.stride(2) in (codes.shape[3], codes.stride(1))
    sides, R = at.row.shape
    W, columns = at.col.shape[1], _columns(field)
    rgb = torch.empty(len(codes), R, W, 3, dtype=torch.float32, device=codes.device)
    programs = -(-prod(rgb.shape[:3]) * sides**2 // launch.rows)
    by_y, by_x = weight.unbind(1)[:2]
    weights, biases = _stacked(hidden, columns, bias)
    tf32 = "tf32x3"  # three products, as precise as float32
    if codes.dtype == torch.float32 and matmul_uses_tf32():
        tf32 = "tf32"
        weights, last_weight = nearest_tf32(weights), nearest_tf32(last_weight)
    options: dict[str, Any] = {"STEP": weight.stride(0), "K": codes.shape[3], "P": columns}
    options |= {"LAYERS": len(hidden), "LAST": last_weight.shape[1], "SIDES": sides, "TF32": tf32}
    options |= {"ROWS": launch.rows, "STAGES": launch.stages}
    options |= {"num_warps": launch.warps, "enable_fp_fusion": True}
    with torch.cuda.device_of(codes):
        liif_triton.decode[(programs,)](  # pyright: ignore[reportCallIssue]
            *(rgb, codes, *at, by_y, by_x, bias, weights, biases),
            *(last_weight.contiguous(), last_bias, R, W, prod(rgb.shape[:3]), *codes.shape[1:3]),
            *field.origin,
            *(stride // codes.shape[3] for stride in codes.stride()[:2]),
            **options,
        )
    return rgb


def nearest_tf32(x: Tensor) -> Tensor:
    """Return float32 values rounded to the nearest of TF32, which have 10 bits after the leading
    one; halves are rounded away from zero. Triton hands float32 to the tensor cores, which cut the
    other 13 bits off: twice the largest error, always towards zero, in every layer."""
    return ((x.view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)


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
