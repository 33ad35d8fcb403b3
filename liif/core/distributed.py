"""The processes of one run, as torchrun starts them, and what they exchange.

    torchrun --nproc-per-node 4 scripts/train.py --config configs/rdn-liif.yaml

Without torchrun there is one process, and nothing is exchanged.
"""

import atexit
import os
import re
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from liif.core.environment import rank_of_environment
from liif.core.errors import UserError
from liif.core.memory import is_out_of_memory

LOST = re.compile("connection|peer|gloo|time(d )?out", re.IGNORECASE)
"""Matches errors raised after a peer process died."""
NCCL = re.compile("nccl", re.IGNORECASE)
NCCL_LOST = re.compile("remote|connection|time(d )?out|aborted", re.IGNORECASE)
"""Matches what NCCL gives as the cause after a peer process died. It also fails where it is not
installed, two processes share a GPU, or memory runs out."""

TIMEOUT = timedelta(hours=1)
"""Longest wait for the slowest process: for its part of a large image, or for images that it
decodes into a cache. A process that dies ends the wait of its peers at once."""


@dataclass(frozen=True)
class Team:
    """This process among all processes of a run."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    """Device of this process; tensors are exchanged there."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks to the user."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return this process's part of `count` items; the parts differ by one item at most."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Return the element-wise sum of a tensor over all processes; the tensor is overwritten."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process."""
        if self.size == 1:
            return flag
        return self.sum(torch.tensor(float(flag), device=self.device)).item() > 0

    def gather(self, item: Any) -> list[Any]:  # noqa: ANN401
        """Return every process's item, in the order of ranks, to every process."""
        items: list[Any] = [item] * self.size
        if self.size > 1:
            dist.all_gather_object(items, item)
        return items

    def send(self, tensor: Tensor) -> None:
        """Send a tensor to the process of rank 0."""
        dist.send(tensor.cpu(), 0)

    def receive(self, shape: tuple[int, ...], rank: int) -> Tensor:
        """Return a float32 tensor that the process of that rank sent, on the CPU."""
        tensor = torch.empty(shape)
        dist.recv(tensor, rank)
        return tensor


ALONE = Team()


def is_peer_lost(error: Exception) -> bool:
    """Return whether an error says that a process of the group is gone."""
    if not isinstance(error, RuntimeError | dist.DistError) or is_out_of_memory(error):
        return False
    if NCCL.search(str(error)):
        return "ncclRemoteError" in str(error) or bool(NCCL_LOST.search(_nccl_cause(error)))
    return bool(LOST.search(str(error)))


def is_exchange_failure(error: Exception) -> bool:
    """Return whether an error says that processes could not exchange tensors, for whatever reason:
    what each process has is intact."""
    is_nccl = isinstance(error, RuntimeError) and NCCL.search(str(error)) is not None
    return is_nccl or is_peer_lost(error)


def as_current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one for the length of the block: libraries and threads that are told
    no device would also use GPU 0, with hundreds of megabytes of its memory."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _nccl_cause(error: Exception) -> str:
    """Return what NCCL says of an error, in one line. The text before it speaks of connections and
    peers whenever any call to the system has failed."""
    return " ".join(str(error).rpartition("Last error:")[2].split())


@contextmanager
def joined(device: torch.device) -> Generator[Team, None, None]:
    """Join the process group of torchrun, if there is one, for the length of the block.

    One process reports an error that several raise; the others exit with status 1. After an error
    the group is not destroyed, which would wait for peers that may wait for this process to exit.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Team(device=device)
        return
    store, rank, size = next(dist.rendezvous("env://"))  # pyright: ignore[reportPrivateImportUsage]
    store = dist.PrefixStore(_attempt(), store)  # pyright: ignore[reportPrivateImportUsage]
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield Team(rank, size, device)
    except UserError as error:
        raise _reported_once(store, str(error)) from None
    except (RuntimeError, dist.DistError) as error:
        if is_peer_lost(error):
            message = f"process {rank} of {size} lost its peers: one of them has ended"
        elif NCCL.search(str(error)):
            message = (
                f"process {rank} of {size}: NCCL, which exchanges tensors between GPUs, fails: "
                f"{_nccl_cause(error)}; with the environment variable NCCL_DEBUG=INFO it says more"
            )
        else:
            raise
        raise _reported_once(store, message) from error
    # Freed at the exit only: up to PyTorch 2.6 the group's destructor can wait, holding the
    # interpreter's lock, for a thread that wants this lock (12 of 100 exits hung).
    atexit.register(lambda _: None, dist.group.WORLD)
    dist.destroy_process_group()


def _attempt() -> str:
    """Return a prefix for keys of the store, one for each restart: on one machine torchrun's store
    outlives a restart, with old addresses. Several machines count restarts independently, but get
    a new store from their rendezvous."""
    alone = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    return f"run{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0) if alone else 0}"


def _reported_once(store: Any, message: str) -> BaseException:  # noqa: ANN401
    """Return the error for the first process that reports, and a silent exit for the others."""
    try:
        first = store.add("reported", 1) == 1
    except RuntimeError:  # the process that held the store is gone, too
        first = rank_of_environment() == 0
    return UserError(message) if first else SystemExit(1)
