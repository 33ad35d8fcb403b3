"""`benchmarks/gpu.py` from end to end on the pretend device; on a card it is run by itself."""

import json
import sys
from pathlib import Path

import pytest
import torch
from helpers.pretend import IS_PRETEND
from helpers.small_models import small

from liif.models import reference
from liif.models.kernels import fused
from liif.models.precision import matmul_uses_tf32

pytestmark = pytest.mark.gpu
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


ONE_PROGRAM = fused.Launch(rows=1024, warps=4, stages=1)


@pytest.fixture
def kernel(monkeypatch):
    """The kernel in float32, in few programs: Triton's interpreter takes minutes for bf16."""
    pytest.importorskip("triton")
    decode = fused.decode

    def candidates(device, dtype):
        return (ONE_PROGRAM,) if dtype == torch.float32 else ()

    # PyTorch rounds nothing to TF32 on the pretend device, so the kernel must not.
    monkeypatch.setattr(fused, "matmul_uses_tf32", lambda: False)
    monkeypatch.setattr(fused, "candidates", candidates)
    monkeypatch.setattr(fused, "decode", lambda *of: decode(*of[:3], ONE_PROGRAM))


@pytest.fixture
def report(kernel, monkeypatch, tmp_path):
    """Runs gpu.py with small models; returns its status and what it found."""
    if not IS_PRETEND:
        pytest.skip("benchmarks/gpu.py --quick runs on a card")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    import gpu_machine
    import gpu_setup
    import gpu_training

    def models(device, checkpoint):
        made = {gpu_setup.PAPER: small(hidden=[16, 16]), gpu_setup.TRAINED: small(hidden=[16])}
        for model in made.values():
            for parameter in model.decoder.parameters():
                parameter.data.uniform_(-1, 1).mul_(2 / parameter.shape[-1] ** 0.5)
        return {name: model.eval().to(device) for name, model in made.items()}

    monkeypatch.setattr(gpu, "models", models)
    monkeypatch.setattr(gpu, "record_warnings", lambda path: path.touch())
    monkeypatch.setattr(gpu_machine, "SMALLEST", 64)
    monkeypatch.setattr(gpu_machine, "LARGEST", 64)
    monkeypatch.setattr(gpu_training, "COMPILATION_S", float("inf"))
    monkeypatch.setattr(gpu_training, "STEP_S", float("inf"))
    monkeypatch.setattr(gpu_training, "TIMED_S", 0.0)
    command = ["gpu.py", "--quick", "--side", "16", "--batch", "1", "--out", str(tmp_path / "out")]

    def run(*parts):
        parts = parts or [name for name in gpu.PARTS if name != "tests"]
        monkeypatch.setattr(sys, "argv", [*command, "--parts", *parts])
        status = gpu.main()
        found = json.loads((tmp_path / "out" / "report.json").read_text())["parts"]
        return status, {name: {row[""]: row for row in found[name]["rows"]} for name in parts}

    return run


@pytest.fixture
def published(monkeypatch):
    """Whether TF32 was allowed each time that the published formulation ran; outside it is."""
    is_rounded, query = [], reference.query

    def recorded(*arguments):
        is_rounded.append(matmul_uses_tf32())
        return query(*arguments)

    monkeypatch.setattr(reference, "query", recorded)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield is_rounded
    torch.set_float32_matmul_precision(before)


def test_it_runs_from_end_to_end(report, published):
    status, found = report()
    assert status == 0
    assert published and not any(published)
    rights = {name: row["right"] for name, row in found["checks"].items()}
    assert rights["256 wide: kernel itself, float32"] == "yes"
    assert rights["256 wide: kernel, bf16"] == "skipped"
    assert set(rights.values()) == {"yes", "skipped"}
    kernel = found["decoding"]["256 wide x4 kernel, float32"]
    assert kernel["kernel calls"] >= 1 and kernel["share of the peak"] > 0
    assert "seconds" not in found["decoding"]["256 wide x4 kernel, bf16"]
    assert all(row["steps/s"] > 0 for row in found["training"].values())
    assert {row["note"] for row in found["runs"].values()} == {"skipped: out of time"}
    measured = [*found["memory"].values(), *found["light"].values()]
    assert all(row["TFLOP/s"] > 0 and row["peak MB"] > 0 for row in measured)


@pytest.mark.parametrize("fault", ["wrong by 2 %", "never called"])
def test_a_kernel_that_is_wrong_or_never_runs_fails_the_report(fault, report, monkeypatch):
    decode = fused.decode
    if fault == "never called":
        monkeypatch.setattr(fused, "launch_for", lambda *_, **__: None)
    else:  # the trial was passed
        monkeypatch.setattr(fused, "launch_for", lambda *_, **__: ONE_PROGRAM)
        monkeypatch.setattr(fused, "decode", lambda *of: decode(*of) * 0.98)
    status, found = report("checks")
    assert status == 1
    rights = {name: row["right"] for name, row in found["checks"].items()}
    assert rights["256 wide: kernel, tf32"] == rights["edsr-light, trained: kernel, tf32"] == "NO"
    assert rights["256 wide: PyTorch, tf32"] == "yes"
