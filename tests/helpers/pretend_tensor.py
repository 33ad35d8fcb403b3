"""Tensors that claim to be on a CUDA device and compute on the CPU, and what is counted of them."""

import os
import sys
import threading
from collections import Counter
from functools import cache
from pathlib import Path

import torch

import liif

PACKAGE = str(Path(liif.__file__).parent) + os.sep


class Gpu:
    """What the pretend devices have in common, and what is counted of them."""

    def __init__(self):
        self.total = 80 * 2**30
        """Bytes of memory of each device."""
        self.allocated = self.peak = 0
        """Bytes of all live tensors, and the most there ever were."""
        self.pinned = set()
        """Addresses of page-locked memory."""
        self.generator = torch.Generator()
        self._holders = Counter()
        self._lock = threading.RLock()
        self.reset()

    def reset(self):
        """Set all that tests change."""
        self.capability = (9, 0)
        self.has_float64 = True
        """False on Apple's GPUs."""
        self.limit = self.total
        """Bytes that can be allocated: less than `total` if other programs use the device."""
        self.refused = 0
        """Allocations that failed."""
        self.waits = []
        """What the host waited for: the package's line, and the reason."""

    def wait(self, reason):
        """Note that the host waits for the device."""
        frame = sys._getframe(1)  # not this one, which would hold itself
        while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        place = "outside of liif"
        if frame is not None:
            place = f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"
        self.waits.append(f"{place}: {reason}")

    def hold(self, address, size):
        """Count a storage as allocated, until it is released as often as it was held."""
        with self._lock:
            if not self._holders[address]:
                if self.allocated + size > self.limit:
                    self.refused += 1
                    raise torch.OutOfMemoryError(f"CUDA out of memory: {size} bytes (pretend)")
                self.allocated += size
                self.peak = max(self.peak, self.allocated)
            self._holders[address] += 1

    def release(self, address, size):
        """Count a storage as freed, if no other tensor holds it."""
        with self._lock:
            self._holders[address] -= 1
            if not self._holders[address]:
                del self._holders[address]
                self.allocated -= size


gpu = Gpu()


class GpuTensor(torch.Tensor):
    """A tensor on a pretend device."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    held = None
    """(address, bytes) of the storage."""

    @staticmethod
    def __new__(cls, inner, device):
        if inner.dtype in (torch.float64, torch.complex128) and not gpu.has_float64:
            raise TypeError("the device does not support float64")
        self = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=device,
        )  # fmt: skip
        self.inner, storage = inner, inner.untyped_storage()
        if size := storage.nbytes():
            gpu.hold(storage.data_ptr(), size)
            self.held = storage.data_ptr(), size
        return self

    def __del__(self):
        if self.held is not None:
            gpu.release(*self.held)

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})

    def __deepcopy__(self, memo):
        copy = self.detach().clone()
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol):
        gpu.wait("saved to a file")
        return self.inner.detach().__reduce_ex__(protocol)

    def numpy(self, *, force=False):
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.detach().cpu().numpy()

    def tolist(self):
        return self.detach().cpu().tolist()

    def __repr__(self, *, tensor_contents=None):
        return f"{self.inner!r} on {self.device}"


def compute(operation, args, kwargs):
    """Return the result of a PyTorch operation, some of whose inputs are on a pretend device."""
    name, is_composite, has_generator = _facts(operation)
    if is_composite:  # inference mode has not taken it apart yet
        result = operation.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    inputs, wrappers = [], {}

    def unwrap(x):
        if not isinstance(x, torch.Tensor):
            return x
        inner = x.inner if isinstance(x, GpuTensor) else x
        inputs.append(x)
        wrappers[id(inner)] = x
        return inner

    inner_args, inner_kwargs = mapped(unwrap, (args, kwargs))
    _check_devices(name, args, inputs)
    _note_waits(name, args, kwargs)
    device = next(x.device for x in inputs if isinstance(x, GpuTensor))
    if kwargs.get("device") is not None:
        device = full_name(kwargs["device"])
        inner_kwargs["device"] = torch.device("cpu")
    if has_generator:
        inner_kwargs["generator"] = gpu.generator
    if name in ("_softmax", "_log_softmax") and args[2]:  # a GPU converts on the way
        inner_args = (inner_args[0].float(), args[1], False)

    def wrap(x):
        if not isinstance(x, torch.Tensor) or device.type == "cpu":
            return x
        if id(x) in wrappers:  # computed in place
            return wrappers[id(x)]
        if x.is_conj() or x.is_neg():  # a wrapper cannot say that its values are still to be so
            x = x.resolve_conj().resolve_neg()
        if x.is_inference() == torch.is_inference_mode_enabled():
            return GpuTensor(x, device)
        with torch.inference_mode(x.is_inference()):  # a view of an ordinary tensor is one, too
            return GpuTensor(x, device)

    return mapped(wrap, operation(*inner_args, **inner_kwargs))


@cache
def _facts(operation):
    """Return an operation's name, whether it consists of others, and whether it is random."""
    name = operation._schema.name.removeprefix("aten::")
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    is_composite = has_kernel(operation.name(), "CompositeImplicitAutograd")
    is_random = any(argument.name == "generator" for argument in operation._schema.arguments)
    return name, is_composite, is_random


def mapped(function, x):
    """Apply a function to all values in tuples, lists and dictionaries."""
    if type(x) in (tuple, list):
        return type(x)([mapped(function, each) for each in x])
    if type(x) is dict:
        return {key: mapped(function, each) for key, each in x.items()}
    return function(x)


def full_name(device):
    device = torch.device(device)
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
"""Operations that accept indices on the host, and wait for a mask."""
TO_THE_HOST = (
    "_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "unique_dim",
    "unique_consecutive", "repeat_interleave", "bincount", "_linalg_check_errors",
)  # fmt: skip
"""Operations whose result, or its size, the host must know."""


def _check_devices(name, args, inputs):
    """Raise RuntimeError where a GPU does: only copies, indices and numbers may be elsewhere."""
    if name in ("copy_", "_to_copy"):
        return
    if name in INDEXING:
        indexed, indices, *values = args
        ours = [x for x in indices if x is not None and x.is_cuda]
        inputs = [indexed, *ours, *(x for x in values if isinstance(x, torch.Tensor))]
    found = {x.device for x in inputs if x.is_cuda or x.dim()}
    if len(found) > 1:
        names = " and ".join(sorted(map(str, found)))
        raise RuntimeError(f"Expected all tensors to be on the same device: {name}: {names}")


def _note_waits(name, args, kwargs):
    """Note an operation that the host waits for."""
    if name == "copy_":
        ends = [x for x in args[:2] if not x.is_cuda]
        is_async = (args[2] if len(args) > 2 else kwargs.get("non_blocking")) or False
        if ends and not (is_async and ends[0].is_pinned()):
            gpu.wait("copy between host and device")
    elif name == "_to_copy":  # to the host without waiting it goes into page-locked memory
        if str(kwargs.get("device")) == "cpu" and not kwargs.get("non_blocking"):
            gpu.wait("copy to the host")
    elif name in INDEXING:
        indices = [x for x in args[1] if x is not None]
        if any(x.dtype in (torch.bool, torch.uint8) or not x.is_cuda for x in indices):
            gpu.wait(f"{name} with a mask, or with indices on the host")
    elif name in TO_THE_HOST:
        gpu.wait(name)
