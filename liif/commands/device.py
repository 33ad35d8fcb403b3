"""The device that a command works on."""

import argparse
import ctypes
import platform

import torch

from liif.core.environment import local_rank
from liif.core.errors import UserError


def device_argument(parser: argparse.ArgumentParser) -> None:
    """--device, for `select_device`."""
    text = "auto (CUDA if there is one), cpu, cuda or cuda:N"
    parser.add_argument("--device", default="auto", help=text)


def select_device(name: str) -> torch.device:
    """The device of that name. Raises UserError if there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # of several processes, each has its own
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices here")
    if device.type == "cuda":
        # PyTorch rounds what convolutions are given to 10 bits unless told otherwise; those who
        # want speed for digits have bf16.
        torch.backends.cudnn.allow_tf32 = False
    return device


def machine(device: torch.device) -> str:
    """What a number was measured on."""
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{name}, torch {torch.__version__}"


def keep_freed_memory(device: torch.device) -> None:
    """On a CPU, ask the C library (glibc) to keep freed memory for the next allocation: giving
    large tensors back and getting them anew costs a training step a third of its time in page
    faults, a bf16 test a tenth."""
    library = ctypes.CDLL(None)
    if device.type == "cpu" and hasattr(library, "mallopt"):
        library.mallopt(-4, 0)  # M_MMAP_MAX: no block of its own mapping, whatever its size
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: nothing back to the system
        library.mallopt(-2, 2**26)  # M_TOP_PAD: grow by 64 MiB
