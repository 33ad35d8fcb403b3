"""Pickles of parameters by JAX and Flax: nested dictionaries of NumPy arrays.

A pickle is a program that names functions and calls them. The names that such a file needs lead to
stand-ins in this file, which keep bytes and shapes and check them; any other name is refused. Files
of Python 3 (protocol 3 and later) are read; protocol 2 needs a function for each string of bytes.
Stand-ins copy nothing: a short program could otherwise fill the memory with copies.
"""

import io
import math
import pickletools
from collections.abc import Callable
from pathlib import Path
from pickle import Unpickler, UnpicklingError
from typing import Any

import torch
from torch import Tensor

MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
"""At the start of the pickles of PyTorch, which PyTorch reads."""
DTYPES = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}
_MOST_DIMENSIONS = 8
_DEEPEST = 8
"""Tuples in tuples; those of arrays are three deep."""


def is_plain_pickle(path: Path) -> bool:
    """Whether a file is a pickle that PyTorch did not write."""
    with path.open("rb") as file:
        head = file.read(32)
    return head[:1] == b"\x80" and MAGIC not in head


def read_pickle(path: Path) -> object:
    """Return the plain values of a pickle, with an `Array` for each array of NumPy or JAX. Raises
    UnpicklingError if it names anything else, and errors of many types if it is damaged."""
    data = path.read_bytes()
    _check_operations(data)
    return _Reader(io.BytesIO(data)).load()


def _check_operations(data: bytes) -> None:
    """Follow what a pickle does to its stack, without doing it; raise UnpicklingError for what
    takes memory or time out of proportion to the file. An item of the stack stands for how deep
    tuples are nested in it, -1 for a mark."""
    stack: list[int] = []
    memo: dict[int, int] = {}
    for operation, value, _ in pickletools.genops(data):
        name, before = operation.name, operation.stack_before
        if "PUT" in name or name == "MEMOIZE":
            place = value if isinstance(value, int) else len(memo)
            if place > len(memo):  # Python reserves memory up to the largest place
                raise UnpicklingError("a place beyond the end")
            memo[place] = stack[-1]
        elif "GET" in name:
            assert isinstance(value, int)
            stack.append(memo[value])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            stack.append(-1)
        else:
            has_mark = pickletools.markobject in before
            taken = [*iter(stack.pop, -1)] if has_mark else []
            count = before.index(pickletools.markobject) if has_mark else len(before)
            taken += [stack.pop() for _ in range(count)]
            depth = 1 + max(taken, default=0) if "TUPLE" in name else 0
            if depth > _DEEPEST:  # a tuple that holds one twice, and so on, is never hashed
                raise UnpicklingError("tuples in tuples")
            stack += [depth] * len(operation.stack_after)


class Dtype:
    """Stands for a NumPy type."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|", "="):
            raise ValueError("numbers that are not little-endian")

    def tensor(self, data: bytes | bytearray, shape: Any) -> Tensor:  # noqa: ANN401
        """Return numbers as a tensor of a shape, which must be that of all of them. It is a view of
        the bytes, and must not be written to."""
        is_shape = isinstance(shape, tuple) and len(shape) <= _MOST_DIMENSIONS
        if not is_shape or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError("an array without a shape")
        dtype = DTYPES[self.name]
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError("an array whose numbers do not fill its shape")
        return torch.frombuffer(data, dtype=dtype).view(shape)


class Array:
    """Stands for a NumPy array."""

    tensor: Tensor

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if is_fortran:
            tensor = dtype.tensor(data, shape[::-1])
            self.tensor = tensor.permute(*reversed(range(tensor.dim())))
        else:
            self.tensor = dtype.tensor(data, shape)


def _empty(*_: object) -> Array:
    return Array()


def _scalar(dtype: Dtype, data: bytes) -> Array:
    return _from_buffer(data, dtype, (), "C")


def _from_buffer(data: bytes, dtype: Dtype, shape: tuple[int, ...], order: str) -> Array:
    array = Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _jax_array(make: Callable[..., Array], args: Any, state: Any, *_: object) -> Array:  # noqa: ANN401
    array = make(*args)
    array.__setstate__(state)
    return array


def _frozen(content: Any) -> dict[Any, Any]:  # noqa: ANN401
    if not isinstance(content, dict):
        raise TypeError("a FrozenDict of something else")
    return content


NAMES: dict[str, Callable[..., object]] = {
    "numpy.ndarray": _empty,
    "numpy.dtype": Dtype,
    **{
        f"numpy.{core}.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in {
            "multiarray._reconstruct": _empty,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
    "jax._src.array._reconstruct_array": _jax_array,
    "flax.core.frozen_dict.FrozenDict": _frozen,
}
"""What the names in a pickle stand for."""


class _Named:
    """A stand-in as a pickle gets it: one object for each use, which nothing outlives."""

    def __init__(self, call: Callable[..., object]) -> None:
        self.call = call

    def __call__(self, *args: object) -> object:
        return self.call(*args)


class _Reader(Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> object:
        name = f"{module_name}.{global_name}"
        if name not in NAMES:
            raise UnpicklingError(f"{name} is not supported")
        return _Named(NAMES[name])
