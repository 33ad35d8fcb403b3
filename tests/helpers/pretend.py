"""A CUDA device that is not there, for a process that does nothing else.

    python tests/helpers/pretend.py -m pytest -m gpu tests/cuda -k memory
    python tests/helpers/pretend.py benchmarks/gpu.py --quick

runs a Python program with LIIF_PRETEND_GPUS (2) devices. A tensor on one of them is a `GpuTensor`:
it claims to be on cuda:N and holds a CPU tensor that the work is done with. What is PyTorch's own
stays so: devices that must agree, autocast's rules for CUDA, inference mode, the threads of the
backward pass; and the package takes all of its branches for CUDA. `gpu` counts what the host waits
for and the memory in use, and limits it.

Triton's kernels run in Triton's interpreter, and `torch.compile` does nothing. No CUDA kernel runs,
no speed means anything, and no two streams overlap.
"""

import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import Counter
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.optim.optimizer import _foreach_supported_types

COUNT = "LIIF_PRETEND_GPUS"
"""Environment variable of a process with pretend devices: their number."""
IS_PRETEND = COUNT in os.environ


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
        frame = sys._getframe()
        while frame is not None and "/liif/" not in frame.f_code.co_filename:
            frame = frame.f_back
        place = "outside of liif"
        if frame is not None:
            place = f"{frame.f_code.co_filename.rpartition('/liif/')[2]}:{frame.f_lineno}"
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

    inner_args, inner_kwargs = _mapped(unwrap, (args, kwargs))
    _check_devices(name, args, inputs)
    _note_waits(name, args, kwargs)
    device = next(x.device for x in inputs if isinstance(x, GpuTensor))
    if kwargs.get("device") is not None:
        device = _full_name(kwargs["device"])
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

    return _mapped(wrap, operation(*inner_args, **inner_kwargs))


@cache
def _facts(operation):
    """Return an operation's name, whether it consists of others, and whether it is random."""
    name = operation._schema.name.removeprefix("aten::")
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    is_composite = has_kernel(operation.name(), "CompositeImplicitAutograd")
    is_random = any(argument.name == "generator" for argument in operation._schema.arguments)
    return name, is_composite, is_random


def _mapped(function, x):
    """Apply a function to all values in tuples, lists and dictionaries."""
    if type(x) in (tuple, list):
        return type(x)([_mapped(function, each) for each in x])
    if type(x) is dict:
        return {key: _mapped(function, each) for key, each in x.items()}
    return function(x)


def _full_name(device):
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


FACTORIES = ("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step")
"""Operations that make tensors without any input; all others are made of these."""


def _made(operation, *args, device=None, pin_memory=None, **options):
    inner = operation(*args, **options, device=torch.device("cpu"))
    return GpuTensor(inner, _full_name(device))


def start():
    """Make this process one with pretend devices, once and for good."""
    if hasattr(gpu, "library"):
        return
    gpu.library = torch.library.Library("aten", "IMPL")
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
        gpu.library.impl(name, partial(_made, operation), "CUDA", allow_override=True)
    cuda, memory = torch.cuda, torch.cuda.memory
    cuda._initialized = True
    answers = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: int(os.environ[COUNT]),
        "current_device": torch._C._cuda_getDevice,
        "get_device_name": lambda device=None: "pretend GPU",
        "get_device_capability": lambda device=None: gpu.capability,
        "get_device_properties": lambda device=None: _properties(),
        "is_bf16_supported": lambda including_emulation=True: (
            including_emulation or gpu.capability >= (8, 0)
        ),
        "get_arch_list": lambda: ["sm_90"],
        "synchronize": lambda device=None: gpu.wait("torch.cuda.synchronize"),
        "manual_seed": gpu.generator.manual_seed,
        "manual_seed_all": gpu.generator.manual_seed,
        "get_rng_state": lambda device="cuda": gpu.generator.get_state(),
        "set_rng_state": lambda state, device="cuda": gpu.generator.set_state(state),
        "get_rng_state_all": lambda: [gpu.generator.get_state()],
        "empty_cache": lambda: None,
        "memory_allocated": lambda device=None: gpu.allocated,
        "memory_reserved": lambda device=None: gpu.allocated,
        "max_memory_allocated": lambda device=None: gpu.peak,
        "max_memory_reserved": lambda device=None: gpu.peak,
        "reset_peak_memory_stats": lambda device=None: setattr(gpu, "peak", gpu.allocated),
        "mem_get_info": lambda device=None: (gpu.total - gpu.allocated, gpu.total),
    }
    for name, answer in answers.items():
        for module in (cuda, memory):
            if hasattr(module, name):
                setattr(module, name, answer)
    torch.compile = _uncompiled
    torch.Tensor.pin_memory, torch.Tensor.is_pinned = _pin_memory, _is_pinned
    for name in ("flash", "mem_efficient", "cudnn"):  # attention of composed operations only
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(False)
    # Weights become new tensors on their way to a device, as they cannot change their class.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    _foreach_supported_types.append(GpuTensor)
    _give_triton_the_cpu_tensors()
    # `torch.tensor(…, device="cuda")` is made on the host, and then sent by an operation.
    _lift_on_cpu()
    run = threading.Thread.run

    def run_thread(self):
        _lift_on_cpu()
        run(self)

    threading.Thread.run = run_thread


def _uncompiled(model=None, **options):
    """What `torch.compile` does here: there is nothing to compile for."""
    return (lambda function: function) if model is None else model


def _pin_memory(tensor, device=None):
    """Page-locked memory is ordinary memory whose addresses are known."""
    pinned = tensor.clone()
    address = pinned.untyped_storage().data_ptr()
    gpu.pinned.add(address)
    weakref.finalize(pinned, gpu.pinned.discard, address).atexit = False
    return pinned


def _is_pinned(tensor, device=None):
    return not tensor.is_cuda and tensor.untyped_storage().data_ptr() in gpu.pinned


def _lift_on_cpu():
    torch._C._set_only_lift_cpu_tensors(True)


def _give_triton_the_cpu_tensors():
    try:
        from triton.runtime.interpreter import GridExecutor
    except ImportError:
        return
    launch = GridExecutor.__call__

    def unwrapped(self, *args, **kwargs):
        places = {x.device for x in args if isinstance(x, GpuTensor)}
        if places - {_full_name("cuda")}:
            raise ValueError(f"a kernel on {_full_name('cuda')} was given pointers of {places}")
        args, kwargs = _mapped(lambda x: getattr(x, "inner", x), (args, kwargs))
        return launch(self, *args, **kwargs)

    GridExecutor.__call__ = unwrapped


def _properties():
    major, minor = gpu.capability
    return SimpleNamespace(
        name="pretend GPU", major=major, minor=minor, total_memory=gpu.total,
        multi_processor_count=1, warp_size=32, L2_cache_size=2**22, uuid="pretend",
        gcnArchName="",
    )  # fmt: skip


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
    # The one module that the tests import, too, and not this file as a program.
    sys.path[0] = str(Path(__file__).parents[1])
    from helpers import pretend

    pretend.start()
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
