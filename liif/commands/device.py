"""The device that a command runs on."""

import ctypes
import platform
import sys

import torch

from liif.core.environment import local_rank
from liif.core.errors import UserError
from liif.core.threads import share_cores


def select_device(name: str) -> torch.device:
    """Return the device, and make a GPU the current one; on a CPU, share its cores with other
    programs. Raises UserError if there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # under torchrun, each process has its own GPU
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"--device {name}: {torch.cuda.device_count()} CUDA devices available")
        # Without it, every process of torchrun also opens a context on GPU 0.
        torch.cuda.set_device(device)
    else:
        share_cores()
    return device


def machine(device: torch.device) -> str:
    """Return the hardware and PyTorch version that a measurement was taken with."""
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    return f"{name}, torch {torch.__version__}"


def keep_freed_memory(device: torch.device) -> None:
    """Make glibc reuse freed memory instead of returning it to the system, for work on a CPU.

    Page faults of freshly mapped tensors cost a training step a third of its time and a bf16 test a
    tenth. Without effect on GPUs and with other C libraries.
    """
    if device.type != "cpu" or sys.platform == "win32":  # CDLL(None) is a TypeError on Windows
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(-4, 0)  # M_MMAP_MAX: no separate mappings, whatever the size
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: never return memory
        library.mallopt(-2, 2**26)  # M_TOP_PAD: grow by 64 MiB at a time
