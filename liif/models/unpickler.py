"""Read pickles without executing them.

A pickle is a program that names classes and functions and calls them. Here every name leads to a
stand-in: tensors, arrays and dictionaries are rebuilt, an object of any other class becomes a
`Foreign`, which keeps its attributes and does nothing, and a call of a function that makes no plain
data is refused. So whatever training code leaves beside the weights is read past, and nothing of it
is imported. Stand-ins copy nothing: a short program could otherwise fill the memory with copies.
"""

import io
import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from pickle import Unpickler, UnpicklingError
from typing import Any, NoReturn

from torch import Tensor

from liif.models.foreign.arrays import NAMES as ARRAYS

StorageOf = Callable[["type[Foreign]", str, int], Tensor]
"""(kind of storage, key, number of values) -> its values, a tensor of one dimension."""

_LARGEST_TUPLE = 5000
"""Values in a tuple, those of tuples in it included; it is hashed where it is the key of a
dictionary, by recursion."""


class RefusedError(UnpicklingError):
    """A pickle calls what makes no plain data; the text says what."""


class _Kind(type):
    """The class of stand-ins of classes and functions."""

    kind: str

    def __call__(cls, *args: object) -> "Foreign":
        if not _makes_data(cls.kind):
            raise RefusedError(_refusal(cls.kind))
        return cls.__new__(cls)  # pyright: ignore


class Foreign(dict[Any, Any], metaclass=_Kind):
    """Stands for an object of a class that this package does not know; `kind` is the class. A
    mapping of its attributes and items."""

    kind = "object"

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)

    def extend(self, items: object) -> None:
        """Items of a list are not kept."""

    append = add = extend
    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def is_module(self) -> bool:
        """Whether it is a whole module of PyTorch, code and weights in one."""
        return "_modules" in self or "_parameters" in self


def is_entered(value: object, seen: set[int]) -> bool:
    """Whether a walk through nested mappings looks into this one: into a `Foreign` once, because
    one may hold itself. `seen` are those of the walk."""
    if isinstance(value, Foreign):
        is_new = id(value) not in seen
        seen.add(id(value))
        return is_new
    return isinstance(value, Mapping)


class _Dict(dict[Any, Any]):
    """Stands for an OrderedDict, whose own attributes are not kept."""

    def __setstate__(self, state: object) -> None:
        pass


class _Named:
    """A stand-in as a pickle gets it: one object for each use, which nothing outlives."""

    def __init__(self, call: Callable[..., object]) -> None:
        self.call = call

    def __call__(self, *args: object) -> object:
        return self.call(*args)


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _instance(kind: "type[Foreign]", *_: object) -> Foreign:
    return kind.__new__(kind)


def _stand_in(name: str) -> type[Foreign]:
    return _Kind("Foreign", (Foreign,), {"kind": name})  # pyright: ignore


def _attribute(owner: object, name: str) -> type[Foreign]:
    """Name an attribute of a class, a module or a function; whether it may be called follows."""
    kind = owner.kind[:200] if isinstance(owner, _Kind) else "builtins.object"
    return _stand_in(f"{kind}.{name[:200]}")


CONSTRUCTORS: dict[str, Callable[..., object]] = {
    **ARRAYS,
    "collections.OrderedDict": _Dict,
    "copyreg._reconstructor": _instance,
    "builtins.getattr": _attribute,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
"""What the names in a pickle stand for."""

_DATA = {
    "builtins": "set frozenset complex bytearray bytes range slice object list dict tuple "
    "str int float bool",
    "collections": "defaultdict Counter deque",
    "datetime": "datetime date time timedelta timezone",
    "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "pathlib._local": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "functools": "partial",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID SafeUUID",
    "random": "Random",
    "re": "_compile",
    "zoneinfo": "ZoneInfo._unpickle",
    "_codecs": "encode",
    "torch": "Size device Generator Tensor",
    "torch._C": "Generator",
    "torch.torch_version": "TorchVersion",
    "torch.serialization": "_get_layout",
    "torch.storage": "_load_from_bytes",
    "torch.nn.parameter": "Parameter Buffer UninitializedParameter",
    "torch._tensor": "_rebuild_from_type_v2",
}
"""Callables of the standard library and of PyTorch that make plain data, by their modules."""
_ARRAY_MODULES = ("numpy.random.", "numpy.core.multiarray.", "numpy._core.multiarray.")


def _makes_data(name: str) -> bool:
    """Whether a call of this name makes data and does nothing else. Of other people's packages
    classes do, by the way their names are written, such as enumerations."""
    module, _, last = name.rpartition(".")
    if name in {f"{room}.{each}" for room, names in _DATA.items() for each in names.split()}:
        return True
    if name.startswith(("torch._utils._rebuild_", *_ARRAY_MODULES)):
        return True
    return not _could_run_code(module) and last.lstrip("_")[:1].isupper()


def _could_run_code(module: str) -> bool:
    """Whether a module has functions that run any code: those of Python and of PyTorch do."""
    return module.partition(".")[0] in {*sys.stdlib_module_names, "torch", "numpy"}


def _refusal(name: str) -> str:
    shown = name[:100] if name.isprintable() else repr(name[:100])
    if _could_run_code(name):
        return (
            "it holds more than tensors and plain values: "
            f"reading it would call {shown}, which could run code (nothing was executed)"
        )
    return f"it holds an object that only the function {shown} of other code can make"


def check_operations(stream: io.BytesIO) -> None:
    """Follow what a pickle does to its stack, without doing it; raise UnpicklingError for what
    takes memory or time out of proportion to the file. An item of the stack stands for the number
    of values in a tuple, 1 for anything else, 0 for a mark."""
    begin, most = stream.tell(), 20 * len(stream.getbuffer()) + 1000
    stack: list[int] = []
    memo: dict[int, int] = {}
    used = 0
    for operation, value, _ in pickletools.genops(stream):
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
            stack.append(0)
        else:
            has_mark = pickletools.markobject in before
            taken = [*iter(stack.pop, 0)] if has_mark else []
            count = before.index(pickletools.markobject) if has_mark else len(before)
            taken += [stack.pop() for _ in range(count)]
            used += sum(taken)
            size = 1 + sum(taken) if "TUPLE" in name else 1
            if size > _LARGEST_TUPLE or used > most:  # such as a tuple that holds one twice, …
                raise UnpicklingError("tuples in tuples")
            stack += [size] * len(operation.stack_after)
    stream.seek(begin)


class _Reader(Unpickler):
    def __init__(self, stream: io.BytesIO, storage: StorageOf | None) -> None:
        super().__init__(stream)
        self.storage = storage

    def find_class(self, module_name: str, global_name: str, /) -> object:
        # Pickles of protocol 2, as PyTorch writes them, have the names of Python 2.
        pair = NAME_MAPPING.get((module_name, global_name))
        module, last = pair or (IMPORT_MAPPING.get(module_name, module_name), global_name)
        name = f"{module}.{last}"
        return _Named(CONSTRUCTORS[name]) if name in CONSTRUCTORS else _stand_in(name)

    def persistent_load(self, pid: Any, /) -> Any:  # noqa: ANN401
        if self.storage is None:
            _damaged()
        if pid[0] == "module":  # a class and its source, in files of PyTorch before 1.6
            return pid[1]
        tag, kind, key, _, count, *view = pid
        if tag != "storage" or not isinstance(kind, type) or not isinstance(count, int):
            _damaged()
        values = self.storage(kind, key, count)
        if view and view[0] is not None:  # of very old files
            _, offset, size = view[0]
            values = values[offset : offset + size]
        return values


def _damaged() -> NoReturn:
    raise ValueError("a reference to values that are not in the file")


def read_pickle(stream: io.BytesIO, storage: StorageOf | None = None) -> Any:  # noqa: ANN401
    """Return the plain values of the pickle at the place of a stream, which is then after it, with
    an `Array` for each array of NumPy or JAX and a `Foreign` for each object of another class;
    tensors have the values that `storage` returns.

    Raises RefusedError if it calls anything else, UnpicklingError if it takes memory or time out of
    proportion, and errors of many types if it is damaged.
    """
    check_operations(stream)
    return _Reader(stream, storage).load()
