"""Every module is imported where nothing that only POSIX has is there: Windows, as far as that can
be tried elsewhere."""

import subprocess
import sys

from helpers.paths import ROOT

WITHOUT = """
import importlib, os, pkgutil, signal, sys, types

# What is of the platform in PyTorch and others is imported before.
import numpy, torch, PIL.Image, pydantic, yaml, tqdm, tifffile, safetensors.torch, filelock
import torch.distributed, torch.utils.data, multiprocessing.pool, concurrent.futures.process
import subprocess, tempfile, socket, webbrowser, asyncio, logging, shutil
sys.modules["torchvision"] = sys.modules["torch.utils.tensorboard"] = None  # slow to import

extras = {extras!r}
missing = ("fcntl", "resource", "pwd", "grp", "termios", "syslog", "posix", "select.poll")
for name in (*missing, *extras):
    sys.modules[name] = None  # importing it raises ImportError
attributes = [
    (os, "fork getuid geteuid nice sched_getaffinity sched_setaffinity setsid killpg posix_fadvise "
         "POSIX_FADV_DONTNEED O_NOFOLLOW O_NONBLOCK O_DIRECTORY getloadavg uname register_at_fork "
         "statvfs mkfifo sysconf wait4 pread pwrite"),
    (signal, "SIGHUP SIGUSR1 SIGUSR2 SIGKILL SIGALRM SIGQUIT SIGCHLD alarm pthread_sigmask"),
]
for module, names in attributes:
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "win32"

import liif
failed = []
for info in pkgutil.walk_packages(liif.__path__, "liif."):
    if info.name == "liif.__main__":
        continue
    try:
        importlib.import_module(info.name)
    except ImportError as error:
        named = any(extra in f"{error.name} {error}" for extra in extras)
        if not named and error.name not in ("torchvision", "torch.utils.tensorboard"):
            failed.append((info.name, repr(error)))
    except Exception as error:
        failed.append((info.name, repr(error)))
print(len([name for name in sys.modules if name.startswith("liif.")]), failed)
"""
EXTRAS = (
    "matplotlib", "huggingface_hub", "onnx", "onnxruntime", "starlette", "uvicorn", "anyio",
    "shtab", "lpips", "wandb", "pillow_heif", "pillow_jxl", "imagecodecs", "triton", "gradio",
    "spandrel",
)  # fmt: skip
"""What need not be installed; a module that imports one of these may stop there."""


def test_every_module_is_imported():
    script = WITHOUT.replace("{extras!r}", repr(EXTRAS))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    count, _, failed = done.stdout.splitlines()[-1].partition(" ")
    assert int(count) > 150 and failed.strip() == "[]"
