"""The GPU benchmark runs without a GPU, and its counts are right."""

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

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


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


@pytest.fixture
def gpu_setup(gpu):
    import gpu_setup

    return gpu_setup


SMALL = ["--quick", "--side", "60", "--batch", "1"]


@pytest.mark.slow
def test_it_runs_without_a_gpu_and_says_so(tmp_path):
    """tests/cuda/test_report.py runs all parts, on the pretend GPU."""
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", *SMALL]
    command += ["--parts", "tests", "checks", "decoding", "launches", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no GPU is measured" in done.stderr
    with ZipFile(tmp_path / "out.zip") as archive:
        text = archive.read("out/report.md").decode()
        found = json.loads(archive.read("out/report.json"))
        assert "out/log.txt" in archive.namelist()
    assert "**No GPU" in text and "failed" not in text and "| NO |" not in text
    assert {"commit", "PyTorch", "CUDA", "cuDNN", "Triton"} <= found["environment"].keys()
    parts = {name: part["rows"] for name, part in found["parts"].items()}
    for part in found["parts"].values():
        assert f"## {part['title']}\n" in text and part["rows"]
    right = {row[""]: row["right"] for row in parts["checks"]}
    assert right["samples made on the device and on the host"] == "yes"
    assert right["edsr-light, trained: PyTorch, float32"] == "yes"
    assert right["256 wide: kernel"] == "skipped: no CUDA device"
    rows = {row[""]: row for row in parts["decoding"]}
    assert rows["256 wide x4 published, float32"]["share of the peak"] > 0
    assert "seconds" not in rows["256 wide x4 kernel, float32"]


def test_a_machine_without_a_gpu_is_told_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "finds no CUDA device here, so there is nothing to measure" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([{"": "all well", "right": "yes"}, {"": "no GPU", "right": "skipped"}], 0),
        ([{"": "one well", "right": "yes"}, {"": "one not", "right": "NO"}], 1),
        ([{"": "float32", "steps/s": 2.5}, {"": "bf16", "note": "failed: no such type"}], 1),
        (None, 1),
    ],
)
def test_a_failed_check_is_in_the_exit_status(tmp_path, monkeypatch, gpu, rows, status):
    def part(setup):
        if rows is None:
            raise RuntimeError("no such kernel")
        return rows

    monkeypatch.setattr(gpu, "PARTS", {"checks": ("Right?", part)})
    monkeypatch.setattr(gpu, "yardstick", lambda device: ({}, [{"products": "none"}]))
    monkeypatch.setattr(gpu, "record_warnings", lambda path: path.touch())
    arguments = ["gpu.py", "--device", "cpu", *SMALL, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert gpu.main() == status
    assert (tmp_path / "out.zip").is_file()


def test_a_gray_picture_and_a_wrong_one_are_no_success(gpu):
    """Random weights gave pictures with a deviation of 0.002, below an absolute limit of 0.05."""
    from gpu_checks import compared

    gray = 0.5 + 0.002 * torch.randn(3, 30, 30)
    assert compared(gray, gray, limit=0.1)["right"] == "NO"
    picture = torch.rand(3, 30, 30)
    assert compared(picture, picture, limit=1e-4)["right"] == "yes"
    assert compared(picture + 0.01 * gray, picture, limit=1e-2)["right"] == "NO"


def test_measured_decoders_have_contrast(gpu_setup):
    for model in gpu_setup.models(CPU, None).values():
        image = model.upscale(torch.rand(3, 8, 8), scale=2, clamp=False)
        assert image.std() > 0.02


def test_the_commit_is_named_with_its_changed_files(gpu, monkeypatch, tmp_path):
    import gpu_machine

    def git(*arguments):
        done = subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)
        return done.stdout.decode().strip()

    monkeypatch.setattr(gpu_machine, "ROOT", tmp_path)
    unknown = gpu_machine.environment(CPU)["commit"]
    assert unknown.startswith("unknown: ") and "changed" not in unknown
    (tmp_path / "kernel.py").write_text("a")
    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")
    (tmp_path / "of my own.txt").touch()
    commit = gpu_machine.environment(CPU)["commit"]
    assert commit == git("rev-parse", "--short", "HEAD")
    (tmp_path / "kernel.py").write_text("b")
    assert gpu_machine.environment(CPU)["commit"] == f"{commit}, changed: M kernel.py"


@pytest.mark.parametrize("is_called", [False, True])
def test_a_fallback_is_not_timed_as_the_kernel(gpu_setup, monkeypatch, is_called):
    """Here the kernel is PyTorch's code, called in its place or not."""
    fused = gpu_setup.fused
    launch = fused.Launch(16, 4, 1) if is_called else None
    monkeypatch.setattr(fused, "launch_for", lambda *_, **__: launch)
    monkeypatch.setattr(fused, "decode", lambda *of: fused.plain(*of[:3]))
    model = gpu_setup.models(CPU, None)[gpu_setup.TRAINED]
    calls = gpu_setup.calls_of(lambda: model.upscale(torch.rand(3, 8, 8), scale=2))
    assert calls == int(is_called)


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
