"""The device that a command runs on."""

import ctypes
import sys

import torch

from liif.core.environment import local_rank
from liif.core.errors import UserError
from liif.core.hardware import device_name
from liif.core.threads import share_cores


def select_device(name: str) -> torch.device:
    """Return the device of a name that `--device` accepts, and make a GPU the current one; on a
    CPU, share its cores with other programs. Raises UserError if there is no such device here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # under torchrun, each process has its own GPU
        name = f"cuda:{local_rank()}"
    device = torch.device(name)
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"--device {name}: {_available_gpus()}")
        # Without it, every process of torchrun also opens a context on GPU 0.
        torch.cuda.set_device(device)
    elif device.type == "mps" and not torch.backends.mps.is_available():
        reason = "it is none of Apple's GPUs, or macOS is older than 12.3"
        if not torch.backends.mps.is_built():
            reason = f"PyTorch {torch.__version__} was built without MPS"
        raise UserError(f"--device mps: not available here: {reason}; use auto or cpu")
    else:
        share_cores()
    return device


def _available_gpus() -> str:
    """Say which CUDA devices there are, or why there are none."""
    count = torch.cuda.device_count()
    if count:
        numbers = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return f"no such GPU; this machine has {numbers}"
    built = "for the CPU only" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
    return f"no GPU with CUDA here (PyTorch {torch.__version__} was built {built}); use auto or cpu"


def machine(device: torch.device) -> str:
    """Return the hardware and PyTorch version that a measurement was taken with."""
    return f"{device_name(device)}, torch {torch.__version__}"


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
