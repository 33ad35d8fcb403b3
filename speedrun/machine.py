"""The two cores that a record runs on, and how fast they are."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from liif.core.threads import available_cores

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from measure import convolution_rate, matrix_rate

CORES = 2
REFERENCE_SCORE = 100.0
"""Score of the nominal machine that times are converted to, in GFLOP/s."""
CPU = torch.device("cpu")


def use_two_cores() -> str:
    """Restrict this process and those that it starts to two cores and two threads, and return a
    sentence about it. Two hardware threads of one core count as two only if there is no other."""
    os.environ["OMP_NUM_THREADS"] = str(CORES)  # also of the training, which is a process
    os.environ.pop("MKL_NUM_THREADS", None)
    torch.set_num_threads(CORES)
    if not hasattr(os, "sched_setaffinity"):
        return f"{CORES} threads; this system cannot restrict them to {CORES} cores"
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) <= CORES:
        return f"{CORES} threads on the {len(allowed)} cores that there are"
    first = allowed[0]
    siblings = _siblings(first)
    second = next((core for core in allowed[1:] if core not in siblings), allowed[1])
    os.sched_setaffinity(0, {first, second})
    return f"restricted to {CORES} of {len(allowed)} cores: {first} and {second}"


def _siblings(core: int) -> set[int]:
    """Return the hardware threads of the core that one of them belongs to; itself if unknown."""
    file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    found = {core}
    try:
        for part in file.read_text().split(","):
            first, _, last = part.strip().partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        pass
    return found


def reference_score() -> dict[str, float]:
    """Measure matrix products and convolutions in float32, medians of five runs each, in GFLOP/s,
    and their geometric mean, the score."""
    matrix = matrix_rate(CPU, "float32", (16384,)) / 1e9
    convolution = convolution_rate(CPU, "float32") / 1e9
    score = (matrix * convolution) ** 0.5
    return {
        "matrix": round(matrix, 1),
        "convolution": round(convolution, 1),
        "score": round(score, 1),
    }


def description() -> dict[str, Any]:
    """Return the processor, its cores and units, and the load of the last minute."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": min(CORES, available_cores()),
        "units": torch.backends.cpu.get_cpu_capability(),
        "load": None if load is None else round(load, 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line for line in lines if line.startswith("model name")), "")
    return name.partition(":")[2].strip() or platform.processor() or platform.machine()
