"""Speed of samples, training steps and whole trainings, for `gpu.py`."""

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from floor import step_flop
from gpu_setup import (
    COMPILATION_S,
    LATE,
    NO_GPU,
    PAPER,
    ROOT,
    STEP_S,
    Setup,
    TableRow,
    multiplications,
)
from measure import peak_megabytes, synchronise
from torch import Tensor

from liif.data.gpu import DeviceSampler
from liif.data.loader import Batch, batches, draw_sample
from liif.data.random_scale import RandomScaleSource
from liif.models import reference
from liif.models.build import ModelConfig, build_model
from liif.models.model import SRModel
from liif.models.precision_names import UsedPrecision
from liif.training.optimizers import Muon
from liif.training.step import train_step

TIMED_S = 2.0
"""Seconds for which training steps and batches are timed."""


def data(setup: Setup) -> list[TableRow]:
    """Measure training samples per second: on the host, and on the device with drawn crops."""
    source, count = setup.source(), 4 * setup.batch * setup.rounds
    made = DeviceSampler(source, setup.device)
    start = time.perf_counter()
    for number in range(count):
        draw_sample(source, 0, number)
    drawn = count / (time.perf_counter() - start)
    rows: list[TableRow] = [{"": "random numbers, one core of the host", "samples/s": drawn}]
    for name, device in (("host, one core", None), ("device, drawn by one core", made)):
        supply = _endless(source, setup, device)
        rows.append({"": name, "samples/s": setup.batch / _each(lambda s=supply: next(s), setup)})
    return rows


def _endless(
    source: RandomScaleSource, setup: Setup, made: DeviceSampler | None
) -> Iterator[Batch]:
    endless = partial(batches, source, seed=0, batch_size=setup.batch, start=0, stop=10**9)
    return (batch.to(setup.device) for batch in endless(device_sampler=made))


def _each(run: Callable[[], Any], setup: Setup) -> float:
    """Return the seconds of one run among many without synchronisation between them: for about two
    seconds, after three runs that are not counted."""
    run()
    synchronise(setup.device)
    start = time.perf_counter()
    for _ in range(2):
        run()
    synchronise(setup.device)
    one = (time.perf_counter() - start) / 2
    start, runs = time.perf_counter(), max(1, min(500, round(TIMED_S / one)))
    for _ in range(runs):
        run()
    synchronise(setup.device)
    return (time.perf_counter() - start) / runs


def training(setup: Setup) -> list[TableRow]:
    """Measure whole steps of the published LIIF recipe, and of a light decoder, with their data."""
    names = ["published, float32", *(f"ours, {p}" for p in setup.precisions)]
    if setup.is_gpu:
        names += [f"ours, {setup.half}, Muon", f"lm-liif, {setup.half}"]
    return [_training_row(setup, name) for name in names]


def compiled_training(setup: Setup) -> list[TableRow]:
    """As `training`, with torch.compile."""
    names = [f"ours, {setup.half}, compile"]
    if not setup.quick:
        names += [f"ours, {setup.half}, compile max-autotune", f"lm-liif, {setup.half}, compile"]
    return [_training_row(setup, name) for name in names]


def _training_row(setup: Setup, name: str) -> TableRow:
    row: TableRow = {"": name}
    if "compile" in name and not setup.is_gpu:
        return row | {"note": NO_GPU}
    if setup.left() < (COMPILATION_S if "compile" in name else 0):
        return row | {"note": LATE}
    setup.say(f"training: {name}")
    precision: UsedPrecision = next(p for p in setup.precisions if f", {p}" in name)
    pixels, fused_adam = setup.batch * setup.patch**2, setup.is_gpu or None
    if name.startswith("lm-liif"):
        parts = {"encoder": {"name": "edsr-baseline"}, "decoder": {"name": "lm-liif"}}
        config = ModelConfig.model_validate(parts)
        model = build_model(config, seed=0).to(setup.device)
        flop = 3 * 2 * multiplications(config, pixels, pixels)
    else:
        model = copy.deepcopy(setup.models[PAPER])
        flop = step_flop(model, pixels, pixels)
    model.train()
    optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), fused=fused_adam)
    if "Muon" in name:
        optimizer = Muon(model, 1e-3, bf16=precision == "bf16", fused=fused_adam)
    forward: Callable[..., Tensor] = model
    if name.startswith("published"):
        forward = partial(_published, model)
    elif "compile" in name:
        forward = torch.compile(model, mode="max-autotune" if "max" in name else None)
    source = setup.source()
    supply = _endless(source, setup, DeviceSampler(source, setup.device))
    scaler = torch.amp.GradScaler(setup.device.type) if precision == "fp16" else None

    def step() -> None:
        batch = next(supply)
        train_step(
            model, optimizer, batch, learning_rate=1e-4, forward=forward, precision=precision,
            scaler=scaler,
        )  # fmt: skip

    try:
        taken = _each(step, setup)
    except Exception as error:
        return row | {"note": f"failed: {type(error).__name__}: {error}"[:150]}
    row |= {"ms": 1e3 * taken, "steps/s": 1 / taken, "hours for a million": taken * 1e6 / 3600}
    row |= setup.speed(flop, taken, precision)
    return row | {"peak MB": peak_megabytes(step, setup.device)}


def _published(model: SRModel, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    return reference.forward(model, lr, coord, cell[:, None].expand(-1, coord.shape[1], -1))


def whole_runs(setup: Setup) -> list[TableRow]:
    """Train with the command, as users do: by one process, and by two where there are two cards.
    The recipe is the published one, on the photographs of the package."""
    if not setup.is_gpu:
        return [{"": "liif train", "note": NO_GPU}]
    rows = [_whole_run(setup, "one process", "run")]
    rows.append(_whole_run(setup, "without CUDA graphs", "run-eager", cuda_graphs="false"))
    if torch.cuda.device_count() > 1:
        rows.append(_whole_run(setup, "two processes share the batch", "run-two", processes=2))
    return rows


def _whole_run(setup: Setup, title: str, name: str, processes: int = 1, **options: str) -> TableRow:
    row: TableRow = {"": f"{title}, {setup.half}"}
    steps = 400 if setup.quick else 2000
    if setup.left() < steps * STEP_S:
        return row | {"note": LATE}
    setup.say(f"liif train: {title}")
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command += ["liif", "train", "--config", str(ROOT / "configs" / "edsr-liif.yaml")]
    command += ["--name", name, "--device", "cuda", "--resume", "never"]
    values = {"train_data.images": "builtin:train", "train_data.cache": "device"}
    values |= {"train_data.patch": setup.patch, "train_data.queries": setup.patch**2}
    values |= {"steps": steps, "log_every": steps // 4, "precision": setup.half}
    values |= {"batch_size": setup.batch, "milestones": "[]", "valid": "null", "test": "null"}
    for key, value in (values | options).items():
        command += ["--set", f"{key}={value}"]
    path, limit = setup.out / f"{name}.txt", setup.left() + 60  # rather late than "failed"
    shutil.rmtree(setup.out / "runs" / name, ignore_errors=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    try:
        with path.open("w") as file:
            subprocess.run(
                command, cwd=setup.out, env=env, timeout=limit, check=True, stdout=file,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        return row | {"note": f"failed: not done in {limit:.0f} s"}
    except subprocess.CalledProcessError:
        lines = path.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no output")
        return row | {"note": f"failed: {last}"[:200]}
    return row | _speed_of_run(setup, setup.out / "runs" / name / "metrics.jsonl")


def _speed_of_run(setup: Setup, path: Path) -> TableRow:
    """Return the figures of a run's last quarter."""
    lines = map(json.loads, path.read_text().splitlines())
    last = [line for line in lines if "images_per_s" in line][-1]
    taken = setup.batch / last["images_per_s"]
    pixels = setup.batch * setup.patch**2
    row: TableRow = {"ms": 1e3 * taken, "steps/s": 1 / taken, "waiting for data": last["data_wait"]}
    flop = step_flop(setup.models[PAPER], pixels, pixels)
    return row | setup.speed(flop, taken, setup.half)
