"""A CUDA device that is not there, for a process that does nothing else.

    python tests/helpers/pretend.py -m pytest -m gpu tests/cuda -k memory
    python tests/helpers/pretend.py benchmarks/gpu.py --quick

runs a Python program with LIIF_PRETEND_GPUS (2) devices. A tensor on one of them is a `GpuTensor`
(pretend_tensor.py): it claims to be on cuda:N and holds a CPU tensor that the work is done with.
What is PyTorch's own stays so: devices that must agree, autocast's rules for CUDA, inference mode,
the threads of the backward pass; and the package takes all of its branches for CUDA. `gpu` counts
what the host waits for and the memory in use, and limits it.

Triton's kernels run in Triton's interpreter, and `torch.compile` does nothing. No CUDA kernel runs,
no speed means anything, and no two streams overlap.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

COUNT = "LIIF_PRETEND_GPUS"
"""Environment variable of a process with pretend devices: their number."""
IS_PRETEND = COUNT in os.environ


def reason_against():
    """Return why there can be no pretend device here; "" if there can."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        return "needs Linux and a C compiler"
    if torch.version.cuda is None:
        return "needs a PyTorch that was built for CUDA"
    if torch.cuda.is_available() and not IS_PRETEND:
        return "there is a real GPU: pytest -m gpu"
    return ""


def environment(folder, devices=2):
    """Compile the library into a folder and return the environment of a process with devices."""
    library = Path(folder) / "libcuda.so.1"
    source = Path(__file__).with_suffix(".c")
    options = ["-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library]
    subprocess.run(["cc", *options, source], check=True)
    added = {COUNT: str(devices), "LD_PRELOAD": str(library), "TRITON_INTERPRET": "1"}
    return {**os.environ, **added}


def main(arguments):
    """Run a Python program, [-m MODULE | FILE] ARGUMENT …, in a process with pretend devices."""
    if not IS_PRETEND:
        if reason := reason_against():
            print(f"no pretend GPU here: {reason}", file=sys.stderr)  # noqa: T201
            return 1
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, *arguments]
            return subprocess.run(command, env=environment(folder)).returncode
    sys.path[0] = str(Path(__file__).parents[1])  # as the tests import it
    from helpers import pretend_cuda

    pretend_cuda.start()
    is_module = arguments[0] == "-m"
    sys.argv = arguments[is_module:]
    sys.path.insert(0, os.getcwd() if is_module else str(Path(sys.argv[0]).parent.absolute()))
    if is_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
