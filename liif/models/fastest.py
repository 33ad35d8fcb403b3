"""The precision that a device computes fastest in, and what is used instead of a slower one.

A CPU without 16-bit units computes bfloat16 products 30 to 450 times slower than float32 ones, and
some that claim such units emulate them: each is asked, and then measured for a few milliseconds.
"""

import logging
import time
from functools import lru_cache

import torch
import torch.nn.functional as F

from liif.models.precision import HALF_TYPES
from liif.models.precision_names import Precision, UsedPrecision

FASTER = 1.2
"""Half precision must be so many times as fast as float32; with units for it, it is 1.5 to 8."""

log = logging.getLogger("liif")


def used_precision(device: torch.device, asked: Precision) -> UsedPrecision:
    """Return the precision to compute in on a device where `asked` is asked for.

    "auto" is the fastest one. "bf16" and "fp16" become "float32", with a warning, where that is
    faster; "bf16!" and "fp16!" do not.
    """
    if asked == "auto":
        return fastest_precision(device)
    if asked == "bf16!" or asked == "fp16!":
        return "bf16" if asked == "bf16!" else "fp16"
    if asked in HALF_TYPES and not half_is_faster(device.type, device.index, asked):
        _warn_once(device.type, asked)
        return "float32"
    return asked


def fastest_precision(device: torch.device) -> UsedPrecision:
    """Return "bf16" where a device has units for it that are faster than float32, else "fp16" on
    GPUs with units for that, else "float32"."""
    if half_is_faster(device.type, device.index, "bf16"):
        return "bf16"
    if device.type == "cuda" and half_is_faster(device.type, device.index, "fp16"):
        return "fp16"
    return "float32"


@lru_cache(maxsize=64)
def half_is_faster(device: str, index: int | None, precision: str) -> bool:
    """Return whether a device ("cpu", "cuda", ...) computes faster in "bf16" or "fp16"."""
    if device == "cuda":
        if precision == "bf16":
            with torch.cuda.device(index):  # PyTorch asks the current GPU; another may be older
                return torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.cuda.get_device_capability(index) >= (7, 0)  # tensor cores, from Volta on
    if device != "cpu":  # other GPUs are not known to be faster
        return False
    return claims_units(precision) and measured_speedup(precision) > FASTER


def claims_units(precision: str) -> bool:
    """Return whether oneDNN, which computes PyTorch's products on CPUs, finds units of this
    processor for "bf16" or "fp16"; some of them are emulated."""
    onednn = torch.ops.mkldnn
    if precision == "bf16":
        return onednn._is_mkldnn_bf16_supported()
    return onednn._is_mkldnn_fp16_supported()


def measured_speedup(precision: str) -> float:
    """Return how many times as fast as float32 this CPU multiplies matrices in "bf16" or "fp16", on
    one product of the decoder's shape: the best of five each, in turn."""
    shapes = ((256, 256), (256, 256), (256,))
    exact = [torch.ones(shape) for shape in shapes]
    half = [each.to(HALF_TYPES[precision]) for each in exact]
    best = {True: float("inf"), False: float("inf")}
    with torch.inference_mode():
        for _ in range(5):
            for is_half, (x, weight, bias) in ((False, exact), (True, half)):
                start = time.perf_counter()
                F.linear(x, weight, bias)
                best[is_half] = min(best[is_half], time.perf_counter() - start)
            if best[True] > 10 * best[False]:  # after the first round: emulation takes 0.2 s
                break
    return best[False] / best[True]


@lru_cache(maxsize=64)
def _warn_once(device: str, asked: str) -> None:
    what = "processor" if device == "cpu" else "GPU"
    log.warning(
        "precision: %s is slower than float32 on this %s, which has no units for it: float32 is "
        "used; %s! insists on it", asked, what, asked,
    )  # fmt: skip
