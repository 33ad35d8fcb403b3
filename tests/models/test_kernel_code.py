"""What Triton and NVIDIA's assembler make of the decoder's kernel, without a GPU: whether the
configurations in use fit a card's registers and shared memory, and load while they multiply."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch

from liif.models.kernels import fused

# Triton 3.2 does not load while it multiplies, and what it leaves out of registers is more.
triton = pytest.importorskip("triton", minversion="3.6", reason="Triton 3.6 is not installed")

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile"
)

SHARED_KIB = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
"""Shared memory that one program may have (CUDA C++ Programming Guide, compute capabilities)."""
PRODUCTS = {9: "wgmma.mma_async", 10: "tcgen05.mma"}
"""Instructions of the matrix units by generation; all others have mma.sync."""


def launches(capability, dtype, monkeypatch):
    """The configurations that a card of this capability would measure."""
    found = divmod(capability, 10)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: found)
    return fused.candidates.__wrapped__(torch.device("cuda", 0), dtype)


def compiled(capability, launch, dtype="bf16", tf32="tf32x3"):
    """The kernel of EDSR-baseline-LIIF: three hidden layers, 256 wide."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from liif.models.kernels.liif_triton import decode

    constants = {
        **{"STEP": 4, "K": 256, "P": 256, "LAYERS": 3, "LAST": 256, "SIDES": 2, "TF32": tf32},
        **{"ROWS": launch.rows, "STAGES": launch.stages},
    }
    types = {
        **dict.fromkeys(decode.arg_names, f"*{dtype}"),
        **dict.fromkeys(("rgb", "offset_y", "offset_x", "area"), "*fp32"),
        **dict.fromkeys(("row", "col"), "*i64"),
        **dict.fromkeys([*"RWhw", "pixels", "top", "left", "image_step", "row_step"], "i32"),
        **dict.fromkeys(constants, "constexpr"),
    }
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(decode.arg_names)
        if types[name].startswith("*")
    }
    signature = {name: types[name] for name in decode.arg_names}
    positions = {(decode.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(decode, signature, positions, aligned)
    options = {"num_warps": launch.warps, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def registers_and_stack(kernel, folder):
    """Registers of a thread, and the bytes of those that did not fit, by NVIDIA's cuobjdump."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    (folder / "kernel.cubin").write_bytes(kernel.asm["cubin"])
    command = [tool, "-res-usage", folder / "kernel.cubin"]
    text = subprocess.run(command, capture_output=True, text=True, check=True)
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", text.stdout + text.stderr).groups()
    return int(registers), int(stack)


def check(capability, launch, folder):
    kernel = compiled(capability, launch)
    assert kernel.metadata.shared <= SHARED_KIB[capability] * 1024
    assert PRODUCTS.get(capability // 10, "mma.sync") in kernel.asm["ptx"]
    registers, stack = registers_and_stack(kernel, folder)
    assert registers <= 255
    # 64 rows fit; 128 may not, by Triton's version: that is why the speed of each is measured.
    assert stack <= (512 if launch.rows > 64 else 0)
    # Loads that may be under way while the program goes on; with less than three stages, none.
    waits = re.findall(r"ttg.async_wait .*num = (\d+)", kernel.asm["ttgir"])
    assert waits and (max(map(int, waits)) > 0) == (launch.stages >= 3)


def test_a_card_of_80_has_a_configuration_that_loads_while_it_multiplies(monkeypatch, tmp_path):
    *_, overlapped = launches(80, torch.bfloat16, monkeypatch)
    assert overlapped == fused.Launch(rows=64, warps=8, stages=3)
    check(80, overlapped, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "tf32x3"])
def test_float32_of_a_hopper_card_fits(precision, monkeypatch, tmp_path):
    large, launch = launches(90, torch.float32, monkeypatch)
    assert (large.rows, launch.rows) == (128, 64)
    kernel = compiled(90, launch, "fp32", precision)
    assert kernel.metadata.shared <= SHARED_KIB[90] * 1024
    assert PRODUCTS[9] in kernel.asm["ptx"]
    registers, stack = registers_and_stack(kernel, tmp_path)
    assert registers <= 255 and stack <= 512


# A compilation takes three seconds; 8.6, 8.9 and 12.0 have the same two configurations.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "number"),
    [(80, 0), (86, 0), (89, 1), (90, 0), (100, 1), (120, 0)],
)
def test_every_configuration_fits_its_card(capability, number, monkeypatch, tmp_path):
    check(capability, launches(capability, torch.bfloat16, monkeypatch)[number], tmp_path)


def test_cards_before_ampere_have_none(monkeypatch):
    for capability in (70, 75):
        for dtype in (torch.bfloat16, torch.float16, torch.float32):
            assert launches(capability, dtype, monkeypatch) == ()
