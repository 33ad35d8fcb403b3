"""Arrays of NumPy and JAX in pickles, and the dictionaries of Flax: stand-ins for unpickler.py,
which keep bytes and shapes and check them.

The numbers of arrays of floats are read, if the file is one of Python 3 (protocol 3 and later);
other arrays are read past: `tensor` is None.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DTYPES = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}
_MOST_DIMENSIONS = 8


class Dtype:
    """Stands for a NumPy type."""

    def __init__(self, name: str, *_: object) -> None:
        self.dtype = DTYPES.get(name)
        """None for the types that are read past."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|", "="):  # not little-endian
            self.dtype = None


class Array:
    """Stands for a NumPy array."""

    tensor: Tensor | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, Dtype) or dtype.dtype is None:
            return
        if not isinstance(data, bytes | bytearray):  # such as a string, or objects
            return
        if is_fortran:
            tensor = _view(data, dtype.dtype, shape[::-1])
            self.tensor = tensor.permute(*reversed(range(tensor.dim())))
        else:
            self.tensor = _view(data, dtype.dtype, shape)


def _view(data: bytes | bytearray, dtype: torch.dtype, shape: Any) -> Tensor:  # noqa: ANN401
    """Return numbers as a tensor of a shape, which must be that of all of them. It is a view of the
    bytes, and must not be written to."""
    is_shape = isinstance(shape, tuple) and len(shape) <= _MOST_DIMENSIONS
    if not is_shape or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("an array without a shape")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array whose numbers do not fill its shape")
    return torch.frombuffer(data, dtype=dtype).view(shape) if data else torch.zeros(shape)


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
