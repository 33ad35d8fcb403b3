"""The precision of convolutions and matrix products: float32, TF32, bfloat16 or float16.

PyTorch has two interfaces for TF32: `allow_tf32` flags, and from version 2.9 on `fp32_precision`
for each operation. Reading a flag raises RuntimeError where the two disagree, so both are written
together here, and only `fp32_precision` is read where it exists.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from liif.models.precision_names import UsedPrecision

T = TypeVar("T")
HALF_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
HALF_NAMES: dict[torch.dtype, UsedPrecision] = {torch.bfloat16: "bf16", torch.float16: "fp16"}


@contextmanager
def precision_context(device: torch.device, precision: UsedPrecision) -> Generator[None]:
    """Run the block's convolutions and matrix products on `device` in `precision`; on exit all
    settings have their previous values.

    "float32" rounds no input; "tf32" rounds inputs to 10 bits of mantissa on NVIDIA GPUs from
    Ampere on, and equals "float32" elsewhere; "bf16" and "fp16" compute in bfloat16 and float16
    (autocast). TF32 settings are the whole process's: all threads that compute on a GPU must use
    the same precision.
    """
    with tf32_context(device, precision), autocast(device, precision):
        yield


def autocast(device: torch.device, precision: UsedPrecision) -> torch.autocast:
    """Return the autocast context of a precision: bfloat16 for "bf16", float16 for "fp16", none for
    the others."""
    dtype = HALF_TYPES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype, enabled=precision in HALF_TYPES)


@contextmanager
def tf32_context(device: torch.device, precision: UsedPrecision) -> Generator[None]:
    """As `precision_context` without autocast: for a training step, whose backward pass runs
    outside autocast."""
    if device.type == "cpu":
        yield
        return
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    operations = _operations()
    before = [operation.fp32_precision for operation in operations]
    # Where the interfaces disagree, the product's flag is the opposite of the new setting.
    matmul_flag = _read(lambda: matmul.allow_tf32, not matmul_uses_tf32())
    is_medium = _read(torch.get_float32_matmul_precision, "") == "medium"
    cudnn_flag = _read(lambda: cudnn.allow_tf32, True)
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
        for operation in operations:
            operation.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = matmul_flag, cudnn_flag
        if is_medium:  # a third value, which the flag cannot hold
            torch.set_float32_matmul_precision("medium")
        for operation, value in zip(operations, before, strict=True):
            operation.fp32_precision = "none"  # inherit, if that gives the previous value
            if operation.fp32_precision != value:
                operation.fp32_precision = value


def float64_device(device: torch.device) -> torch.device:
    """Return where to compute in float64 what lies on a device: there, or on the CPU, as Apple's
    GPUs have no float64."""
    try:
        torch.empty(0, dtype=torch.float64, device=device)
    except TypeError:
        return torch.device("cpu")
    return device


def matmul_uses_tf32() -> bool:
    """Whether matrix products on a GPU may use TF32."""
    matmul: Any = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision == "tf32"
    return matmul.allow_tf32


def _operations() -> list[Any]:
    """The operations on a GPU with a setting `fp32_precision`; none before PyTorch 2.9."""
    cudnn: Any = torch.backends.cudnn
    known = (torch.backends.cuda.matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None))
    return [operation for operation in known if hasattr(operation, "fp32_precision")]


def _read(setting: Callable[[], T], default: T) -> T:
    """The value of a setting; `default` where PyTorch refuses to give it."""
    try:
        return setting()
    except RuntimeError:
        return default
