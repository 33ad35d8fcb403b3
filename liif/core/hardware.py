"""The names of the hardware that PyTorch computes on."""

import platform

import torch


def device_name(device: torch.device) -> str:
    """Return the name of a device, on a CPU with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU (MPS)"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
