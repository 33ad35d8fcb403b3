"""The GPU benchmark runs without a GPU, and its counts are right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.models import TINY
from helpers.pictures import texture
from helpers.small_models import small
from helpers.training import state_of
from torch.utils.flop_counter import FlopCounterMode

from liif.images.rgb8 import write_image
from liif.models.checkpoint import read_checkpoint
from liif.training.config import TrainConfig
from liif.training.losses.pointwise import L1
from liif.training.step import forward_of

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
CPU = torch.device("cpu")


@pytest.mark.slow
def test_everything_runs_and_skipped_parts_are_named(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--quick", "--out"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "gpu.md").read_text()
    assert "failed" not in text and "| NO |" not in text
    assert text.count("skipped: no CUDA device") >= 5
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    parts = found["parts"]
    for title, rows in parts.items():
        assert f"## {title}\n" in text and rows
    right = {row[""]: row["right"] for row in parts["Right?"]}
    assert right["samples, device and host"] == "yes"
    assert right["plain float32, published form"] == "yes"
    assert right["kernel, plain decoder, bf16"] == "skipped: no CUDA device"
    names = [row[""] for row in parts["Decoding"]]
    assert "x4 published" in names and "x30 plain bf16" in names
    assert all(row["steps/s"] > 0 for row in parts["Training"])
    assert {row["steps/s"] for row in parts["Training, compiled"]} == {"skipped: no CUDA device"}


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([{"": "all well", "right": "yes"}, {"": "no GPU", "right": "skipped"}], 0),
        ([{"": "one well", "right": "yes"}, {"": "one not", "right": "NO"}], 1),
        ([{"": "float32", "steps/s": 2.5}, {"": "bf16", "steps/s": "failed: no such type"}], 1),
        (None, 1),
    ],
)
def test_a_failed_check_is_in_the_exit_status(tmp_path, monkeypatch, rows, status):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    def part(setup):
        if rows is None:
            raise RuntimeError("no such kernel")
        return rows

    monkeypatch.setattr(gpu, "PARTS", {"Right?": part})
    arguments = ["gpu.py", "--device", "cpu", "--quick", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert gpu.main() == status


@pytest.fixture
def floor(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import floor

    return floor


@pytest.mark.parametrize(
    "switches",
    [{}, {"local_ensemble": False}, {"cell_decode": False}, {"feature_unfold": False}],
    ids=str,
)
def test_the_floor_is_what_pytorch_counts(floor, switches):
    """For a real step, except for the image's own gradient, which is not computed."""
    model = small(hidden=[16, 24], **switches)
    lr, coord, target = torch.rand(2, 3, 9, 7), torch.rand(2, 50, 2), torch.rand(2, 50, 3)
    loss = L1(model.std)
    with FlopCounterMode(display=False) as counter:
        loss(model(lr, coord, torch.rand(2, 2)), target, None).backward()
    corners = 1 if switches.get("local_ensemble") is False else 4
    of_image = 2 * 3 * 9 * 8 * (2 * 9 * 7)
    of_offsets = 2 * model.decoder.extra_inputs * 16 * corners * 100
    counted = floor.step_flop(model, pixels=2 * 9 * 7, queries=100)
    assert counter.get_total_flops() == counted - of_image - of_offsets


def test_the_papers_floor(floor):
    from measure import paper_model

    model = paper_model()
    assert floor.cost(model).query_flop == 4 * 2 * (4 * 256 + 3 * 256**2 + 256 * 3)
    assert floor.step_flop(model, 36864, 36864) == pytest.approx(478e9, rel=2e-3)
    fused, plain = (floor.pixel_bytes(model, 4, fused=way) for way in (True, False))
    assert fused == 12 + 512 / 16 and plain - fused == 4 * 4 * 2 * 2 * 256


def config(folder, **changes):
    data = {"sampling": "random-scale", "images": str(folder), "cache": "none", "patch": 12}
    values = {"model": TINY, "train_data": {**data, "queries": 100}, **changes}
    return TrainConfig.model_validate({"steps": 4, "milestones": [], "workers": 0, **values})


def test_a_checkpoint_of_fused_adam_resumes_without_it(tmp_path):
    write_image(tmp_path / "photos" / "0.png", texture(60, 70, 0))
    settings = config(tmp_path / "photos")
    state = state_of(settings, CPU)
    state.optimizer = torch.optim.Adam(state.model.parameters(), fused=True)
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    state.save(tmp_path / "last.pt", settings.model, settings.model_dump(mode="json"))
    other = state_of(settings, CPU)
    other.restore(read_checkpoint(tmp_path / "last.pt"), tmp_path / "last.pt")
    assert [group["fused"] for group in other.optimizer.param_groups] == [None]
    for a, b in zip(state.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(state.optimizer.state[a]["exp_avg"], other.optimizer.state[b]["exp_avg"])


@pytest.mark.parametrize(
    ("compile_", "accumulate", "mode"),
    [
        (True, 1, None),
        ("max-autotune", 1, "max-autotune"),
        ("max-autotune", 2, "max-autotune-no-cudagraphs"),
    ],
)
def test_cuda_graphs_exclude_accumulation(tmp_path, monkeypatch, compile_, accumulate, mode):
    """CUDA graphs would overwrite the gradients that micro-batches add up."""
    modes = []
    monkeypatch.setattr(torch, "compile", lambda _, mode=None: modes.append(mode))
    from liif.core.distributed import ALONE

    settings = config(tmp_path, compile=compile_, accumulate=accumulate)
    forward_of(state_of(settings, CPU).model, settings.compile, settings.accumulate, ALONE)
    assert modes == [mode]
