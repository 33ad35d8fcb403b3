"""The processes of one run, as torchrun starts them: which this one is, and what all agree on.

    torchrun --nproc-per-node 4 scripts/train.py --config configs/rdn-liif.yaml

Without torchrun there is one process, and nothing here does anything.
"""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from liif.core.environment import rank_of_environment
from liif.core.errors import UserError

LOST = re.compile("connection|peer|gloo|nccl|timed out", re.IGNORECASE)
"""In errors of those who waited for a process that is gone."""


PATIENCE = timedelta(hours=12)
"""For the slowest of all. A process that dies ends the wait at once."""


@dataclass(frozen=True)
class Team:
    """This process among all of the run."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    """Of this process, for what is exchanged."""

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files and speaks to the user."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's part of `count` things in a row; parts differ by one at most."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def total(self, value: float) -> float:
        """The sum of a number over all processes, the same in each."""
        if self.size == 1:
            return value
        numbers = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers)
        return numbers.item()

    def any(self, flag: bool) -> bool:
        """Whether it is so in one process at least."""
        return self.total(float(flag)) > 0

    def gather(self, thing: Any) -> list[Any]:  # noqa: ANN401
        """What every process has, in the order of their ranks, in each."""
        things: list[Any] = [thing] * self.size
        if self.size > 1:
            dist.all_gather_object(things, thing)
        return things

    def send(self, tensor: Tensor) -> None:
        """To the process that leads."""
        dist.send(tensor.cpu(), 0)

    def receive(self, shape: tuple[int, ...], rank: int) -> Tensor:
        """A float32 tensor that a process sent to this one, on the CPU."""
        tensor = torch.empty(shape)
        dist.recv(tensor, rank)
        return tensor


ALONE = Team()


@contextmanager
def joined(device: torch.device) -> Generator[Team, None, None]:
    """Meet the other processes of torchrun, if there are any, for as long as this lasts.

    Of a failure that meets several processes, one tells: the others exit with status 1.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Team(device=device)
        return
    store, rank, size = next(dist.rendezvous("env://"))  # pyright: ignore[reportPrivateImportUsage]
    store = dist.PrefixStore(_attempt(), store)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    try:
        yield Team(rank, size, device)
    except UserError as error:
        raise _told_once(store, str(error)) from None
    except (RuntimeError, dist.DistError) as error:
        if not LOST.search(str(error)):
            raise
        message = f"process {rank} of {size} lost the others: one of them has ended"
        raise _told_once(store, message) from error
    finally:
        dist.destroy_process_group()


def _attempt() -> str:
    """What to keep addresses under. On one machine torchrun's store outlives a restart, and the
    processes would find the addresses of those before them. Machines count restarts each for
    themselves, but get a new store from their rendezvous."""
    alone = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    return f"run{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0) if alone else 0}"


def _told_once(store: Any, message: str) -> BaseException:  # noqa: ANN401
    try:
        first = store.add("told", 1) == 1
    except RuntimeError:  # whoever held the store is gone, too
        first = rank_of_environment() == 0
    return UserError(message) if first else SystemExit(1)
