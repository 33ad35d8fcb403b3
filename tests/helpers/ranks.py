"""Commands as several processes, as torchrun would start them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import processes

CONFIG = """\
model:
  encoder: {name: edsr-baseline, blocks: 1, width: 8}
  decoder: {name: liif, hidden: [16]}
train_data:
  {sampling: random-scale, images: photos, cache_dir: cache, patch: 10, queries: 64}
valid: {images: photos, scales: [2, 3], crop: 40, every: 4, protocol: none}
data_root: .
steps: 10
batch_size: 7
learning_rate: 1e-3
clip_gradient: 0.5
workers: 1
log_every: 1
save_every: 3
"""


def start_ranks(size, *arguments, restarts=0):
    """Start a command as so many processes, as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
    }
    command = [sys.executable, "-m", "liif", *arguments]
    pipes = {"stdout": processes.PIPE, "stderr": processes.STDOUT}
    return [
        processes.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **pipes,
        )
        for rank in range(size)
    ]


def finished(ranks):
    """Wait for all processes: [(status, output)]."""
    try:
        outputs = [rank.communicate(timeout=120)[0] for rank in ranks]
    except subprocess.TimeoutExpired:
        for rank in ranks:
            rank.send_signal(signal.SIGABRT)  # prints where it waits
        pytest.fail("\n".join(rank.communicate(timeout=20)[0] for rank in ranks))
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, out) for rank, out in zip(ranks, outputs, strict=True)]


def together(size, *arguments):
    return finished(start_ranks(size, *arguments))


def lines(run):
    return [json.loads(line) for line in Path(f"runs/{run}/metrics.jsonl").read_text().splitlines()]


def without_times(line):
    return {k: v for k, v in line.items() if k not in ("images_per_s", "data_wait")}
