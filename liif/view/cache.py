"""A least-recently-used cache limited in bytes."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Values by key, safe to use from threads. Values larger than the capacity are not kept."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        return self.find(lambda other: other == key)

    def find(self, fits: Callable[[K], bool]) -> V | None:
        """Return the value of the most recently used key that fits."""
        with self._lock:
            for key in reversed(self._held):
                if fits(key):
                    self._held.move_to_end(key)
                    return self._held[key][0]
        return None

    def put(self, key: K, value: V, size: int) -> None:
        """Add a value of `size` bytes and drop old values beyond the capacity."""
        with self._lock:
            self._held.pop(key, None)
            if size <= self._capacity:
                self._held[key] = value, size
            while sum(size for _, size in self._held.values()) > self._capacity:
                self._held.popitem(last=False)

    def values(self) -> list[V]:
        with self._lock:
            return [value for value, _ in self._held.values()]
