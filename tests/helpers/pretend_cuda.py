"""The functions of torch.cuda, and what else makes a process one with pretend devices."""

import os
import threading
import weakref
from functools import partial
from types import SimpleNamespace

import torch
from torch import library
from torch.optim.optimizer import _foreach_supported_types

from helpers import pretend
from helpers.pretend_tensor import GpuTensor, full_name, gpu, mapped

FACTORIES = ("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step")
"""Operations that make tensors without any input; all others are made of these."""


def _made(operation, *args, device=None, pin_memory=None, **options):
    inner = operation(*args, **options, device=torch.device("cpu"))
    return GpuTensor(inner, full_name(device))


def start():
    """Make this process one with pretend devices, once and for good."""
    if hasattr(gpu, "operations"):
        return
    gpu.operations = library.Library("aten", "IMPL")
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
        gpu.operations.impl(name, partial(_made, operation), "CUDA", allow_override=True)
    cuda, memory = torch.cuda, torch.cuda.memory
    cuda._initialized = True
    answers = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: int(os.environ[pretend.COUNT]),
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
        if places - {full_name("cuda")}:
            raise ValueError(f"a kernel on {full_name('cuda')} was given pointers of {places}")
        args, kwargs = mapped(lambda x: getattr(x, "inner", x), (args, kwargs))
        return launch(self, *args, **kwargs)

    GridExecutor.__call__ = unwrapped


def _properties():
    major, minor = gpu.capability
    return SimpleNamespace(
        name="pretend GPU", major=major, minor=minor, total_memory=gpu.total,
        multi_processor_count=1, warp_size=32, L2_cache_size=2**22, uuid="pretend",
        gcnArchName="",
    )  # fmt: skip
