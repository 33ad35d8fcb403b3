"""The checks of `gpu.py`: the package's own tests, and results beside the published formulation."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gpu_setup import NO_GPU, ROOT, Setup, TableRow, calls_of, without_kernel
from measure import picture
from torch import Tensor

from liif.data.gpu import DeviceSampler
from liif.data.loader import batches
from liif.hub.catalog import find_model
from liif.models import reference
from liif.models.checkpoint import load_checkpoint
from liif.models.geometry import grid_corners, pixel_centres
from liif.models.kernels import fused
from liif.models.model import SRModel
from liif.models.precision import HALF_TYPES, precision_context
from liif.models.precision_names import UsedPrecision

GOLDEN = ROOT / "tests" / "golden" / "official-edsr-baseline-liif.npz"
"""Outputs of the official code with the official weights."""


def tests(setup: Setup) -> list[TableRow]:
    """Run the tests with the mark gpu in a process of their own."""
    folder, name = ROOT / "tests" / "cuda", "pytest -m gpu tests/cuda"
    if not setup.is_gpu:
        return [{"": name, "result": NO_GPU}]
    if not folder.is_dir():
        return [{"": name, "result": "skipped: this copy of the package has none"}]
    limit = max(min(setup.left() / 2, 300), 1)
    files = ["test_kernel.py", "test_device.py"] if setup.quick else [""]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rA", "--tb=short"]
    command += ["-p", "no:cacheprovider", *(str(folder / file) for file in files)]
    path, result = setup.out / "pytest.txt", {0: "all passed", 5: "skipped: no test has the mark"}
    with path.open("w") as file:
        try:
            done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, timeout=limit)
        except subprocess.TimeoutExpired:
            return [{"": name, "result": f"not done in {limit:.0f} s: see pytest.txt"}]
    lines = path.read_text(errors="replace").splitlines() or ["no output"]
    of_all = result.get(done.returncode, "failed")
    rows: list[TableRow] = [{"": name, "result": of_all, "last line": lines[-1][:150]}]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR "))]
    return rows + [{"": line[:200], "result": "failed"} for line in failed[:40]]


def checks(setup: Setup) -> list[TableRow]:
    """Compare results with those of the published formulation in float32. Errors are root mean
    squares divided by the deviation of the result, so that a gray picture is no success."""
    rows: list[TableRow] = []
    for name, model in setup.models.items():
        rows += _check_model(setup, name, model)
    row: TableRow = {"": "official weights, outputs of the official code", "right": "skipped"}
    official = find_model("edsr-liif")
    if official is not None and official.path.is_file():
        row |= compared(*_golden(official.path, setup.device), limit=1e-4)
    source = setup.source()
    four = partial(batches, source, seed=0, batch_size=4, start=0, stop=3)
    pairs = zip(four(device_sampler=DeviceSampler(source, setup.device)), four(), strict=True)
    parts = [(a.cpu(), b) for one, other in pairs for a, b in zip(one[:4], other[:4], strict=True)]
    is_same = all(torch.equal(a, b) for a, b in parts)
    same = {"": "samples made on the device and on the host", "right": "yes" if is_same else "NO"}
    return [*rows, row, same]


def _check_model(setup: Setup, name: str, model: SRModel) -> list[TableRow]:
    side = min(48, max(setup.side // 5, 4))
    lr, size = picture(None, side).to(setup.device), (4 * side - 3, 4 * side + 1)
    plain = without_kernel(model)
    exact = reference.upscale(plain, lr, size)
    outputs = {p: plain.upscale(lr, size, clamp=False, precision=p) for p in setup.precisions}
    limits = {"float32": 1e-4, "tf32": 1e-2, "bf16": 0.1, "fp16": 0.03}
    rows: list[TableRow] = [
        {"": f"{name}: PyTorch, {p}", **compared(outputs[p], exact, limit=limits[p])}
        for p in setup.precisions
    ]
    if not setup.is_gpu:
        return [*rows, {"": f"{name}: kernel", "right": NO_GPU}]
    # As near to the exact result as PyTorch in the same precision, whose limit is above.
    for p in setup.precisions[1:]:
        run = partial(model.upscale, lr, size, clamp=False, precision=p)
        calls = calls_of(run)
        limit = 1.5 * relative_error(outputs[p], exact)
        row: TableRow = {"": f"{name}: kernel, {p}", **compared(run(), exact, limit=limit)}
        if calls == 0:
            is_expected = _is_expected(setup, p)
            row = {
                "": row[""],
                "right": "NO" if is_expected else "skipped",
                "note": "PyTorch decoded",
            }
        rows.append({**row, "kernel calls": calls})
    return [*rows, _check_kernel(setup, name, model, lr, size)]


def _is_expected(setup: Setup, precision: UsedPrecision) -> bool:
    """Whether the package means to use its kernel on this card."""
    dtype = HALF_TYPES.get(precision, torch.float32)
    return bool(fused.candidates(setup.device, dtype))


def _check_kernel(
    setup: Setup, name: str, model: SRModel, lr: Tensor, size: tuple[int, int]
) -> TableRow:
    """Compare kernel and PyTorch in float32, where no rounding hides an error: on every card, with
    a launch configuration that each can run, also where the package does not use it."""
    row: TableRow = {"": f"{name}: kernel itself, float32"}
    try:
        with torch.inference_mode(), precision_context(setup.device, "float32"):
            field = model.encode(lr[None])
            y, x = (pixel_centres(n, model.mean) for n in size)
            at, bias = grid_corners(y, x, field.size, ensemble=True), field.layers[0][1]
            # Larger ones compile for half a minute in float32.
            launch = fused.Launch(rows=16, warps=4, stages=1)
            found = fused.decode(field, at, bias, launch)
            row |= compared(found, fused.plain(field, at, bias), limit=1e-4) | {"kernel calls": 1}
    except Exception as error:
        row |= {"right": "NO", "note": f"{type(error).__name__}: {error}"[:200]}
    return row


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the difference, divided by the deviation of `expected`."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).square().mean().sqrt() / expected.std())


def compared(found: Tensor, expected: Tensor, limit: float) -> TableRow:
    """Return the columns of a comparison; a result without any contrast proves nothing."""
    error = relative_error(found, expected)
    deviation = float(expected.double().std())
    largest = float((found.double() - expected.double()).abs().max())
    is_right = error <= limit and deviation > 0.01
    return {
        "error / deviation": error,
        "limit": limit,
        "right": "yes" if is_right else "NO",
        "largest difference": largest,
        "deviation": deviation,
    }


def _golden(weights: Path, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return our outputs and those of the official code, of all sizes in one row."""
    model, data = load_checkpoint(weights, device), np.load(GOLDEN)
    lr = torch.from_numpy(data["lr"]).permute(2, 0, 1).to(device) / 255
    pairs: list[tuple[Tensor, Tensor]] = []
    for name in data.files:
        if name.replace("x", "").isdigit():
            H, W = map(int, name.split("x"))
            found = model.upscale(lr, (H, W), clamp=False).permute(1, 2, 0).cpu()
            pairs.append((found.flatten(), torch.from_numpy(data[name]).flatten()))
    found, expected = zip(*pairs, strict=True)
    return torch.cat(found), torch.cat(expected)
