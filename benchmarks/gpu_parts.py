"""The parts of `gpu.py`: each checks or measures one thing and returns the rows of a table."""

import copy
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floor import image_flop, step_bytes, step_flop
from measure import (
    interleaved,
    peak_megabytes,
    picture,
    synchronise,
)
from torch import Tensor

from liif.data.cache import ImageStore
from liif.data.gpu import DeviceSampler
from liif.data.loader import Batch, batches, draw_sample
from liif.data.random_scale import RandomScale, RandomScaleSource
from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import ScoreProtocol
from liif.models import reference
from liif.models.checkpoint import load_checkpoint
from liif.models.geometry import grid_corners, pixel_centres
from liif.models.kernels import fused
from liif.models.model import Precision, SRModel
from liif.training.optimizers import Muon
from liif.training.step import train_step

SHARED = Path(os.environ.get("LIIF_SHARED", Path(__file__).parents[2] / "shared"))
NO_GPU = "skipped: no CUDA device"
LATE = 420
"""Seconds from the start after which nothing is compiled any more."""
CUTS = [(128, 8, 2), (128, 8, 1), (64, 4, 2), (64, 4, 1), (64, 8, 1)]
"""Of the kernel's work (fused.Launch) in bf16, the one in use first."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What is measured, and on what."""

    device: torch.device
    model: SRModel
    plain: SRModel
    """The same weights, without the kernel."""
    trained: bool
    side: int
    """Of the enlarged image; its other side is two thirds of that."""
    batch: int
    rounds: int
    rates: dict[str, float]
    """FLOP/s of products of the decoder's shape, by precision."""
    begin: float

    @property
    def size(self) -> tuple[int, int]:
        return self.side * 2 // 3, self.side

    def source(self) -> RandomScaleSource:
        """Pictures of noise as large as they are enlarged here."""
        random = np.random.default_rng(0)
        shape = (max(self.size[0], 200), max(self.size[1], 200), 3)
        images = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(4)]
        names = [f"{i}.png" for i in range(len(images))]
        config = RandomScale(images="noise")
        return RandomScaleSource(config, ImageStore(names, [shape[:2]] * 4, [], images))


def checks(of: Setting) -> list[Row]:
    """Largest differences, and what there may be; with convolutions in full float32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return _checks(of)


def _checks(of: Setting) -> list[Row]:
    lr, size = (
        picture(None, 48 if of.side > 500 else 12).to(of.device),
        (of.side // 4, of.side // 4),
    )
    rows: list[Row] = []

    def row(what: str, found: float | str, most: float) -> None:
        good = found if isinstance(found, str) else "yes" if found <= most else "NO"
        rows.append({"": what, "largest difference": found, "may be": most, "right": good})

    published = reference.upscale(of.plain, lr, size)
    plain = of.plain.upscale(lr, size, clamp=False)
    row("plain float32, published form", _apart(plain, published), 1e-3 if lr.is_cuda else 1e-5)
    half = of.plain.upscale(lr, size, clamp=False, precision="bf16")
    limits: dict[Precision, float] = {"float32": 1e-3, "bf16": 0.05}
    for precision, most in limits.items():
        found: float | str = NO_GPU
        if lr.is_cuda:
            expected = plain if precision == "float32" else half
            found = _apart(of.model.upscale(lr, size, clamp=False, precision=precision), expected)
        row(f"kernel, plain decoder, {precision}", found, most)
    if of.trained:
        whole = ScoreProtocol(luma=False, border=(0, 0))
        target = picture(None, size[0]).to(of.device)
        scores = [psnr(image.clamp(0, 1), target, whole) for image in (plain, half)]
        row("bf16, float32: PSNR in dB", abs(scores[0] - scores[1]), 0.01)
    golden = SHARED / "golden" / "official-edsr-baseline-liif.npz"
    row("golden outputs", _golden(of, golden) if golden.is_file() else "skipped: none here", 1e-4)
    source = of.source()
    four = partial(batches, source, seed=0, batch_size=4, start=0, stop=3)
    pairs = zip(four(device_sampler=DeviceSampler(source, of.device)), four(), strict=True)
    parts = [(a.cpu(), b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    row("samples, device and host", max(_apart(a.double(), b.double()) for a, b in parts), 0)
    return rows


def _apart(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def _golden(of: Setting, path: Path) -> float:
    model = load_checkpoint(SHARED / "weights" / "edsr-baseline-liif.pth").to(of.device)
    data, worst = np.load(path), 0.0
    lr = torch.from_numpy(data["lr"]).permute(2, 0, 1).to(of.device) / 255
    for name in data.files:
        if name.replace("x", "").isdigit():
            H, W = map(int, name.split("x"))
            found = model.upscale(lr, (H, W), clamp=False).permute(1, 2, 0).cpu()
            worst = max(worst, _apart(found, torch.from_numpy(data[name])))
    return worst


def decoding(of: Setting) -> list[Row]:
    """A whole image of one size from smaller and smaller ones."""
    rows: list[Row] = []
    H, W = of.size
    for scale in (2, 3, 4, 6, 12, 30):
        h, w = max(H // scale, 1), max(W // scale, 1)
        lr = picture(None, max(h, w))[:, :h, :w].to(of.device)
        ways: dict[str, Callable[[], Tensor]] = {}
        if scale == 4:
            ways["published"] = lambda lr=lr: reference.upscale(of.plain, lr, (H, W))
        for name, model in (("plain", of.plain), ("kernel", of.model)):
            for precision in ("float32", "bf16"):
                if name == "plain" or of.device.type == "cuda":
                    ways[f"{name} {precision}"] = lambda lr=lr, m=model, p=precision: m.upscale(
                        lr, (H, W), precision=p
                    )
        seconds = interleaved(ways, of.rounds, of.device)
        flop = image_flop(of.model, h * w, H * W)
        for name, taken in seconds.items():
            rate = flop / taken
            rows.append(
                {
                    "": f"x{scale} {name}",
                    "seconds": taken,
                    "megapixels/s": H * W / 1e6 / taken,
                    "TFLOP/s": rate / 1e12,
                    "share of matrix rate": rate
                    / of.rates["bf16" if "bf16" in name else "float32"],
                    "peak MB": peak_megabytes(ways[name], of.device),
                }
            )
    return rows


def cuts(of: Setting) -> list[Row]:
    """The kernel alone, its work cut in several ways."""
    if of.device.type != "cuda":
        return [{"": NO_GPU}]
    H, W = of.size
    y, x = (pixel_centres(n, of.model.mean) for n in (H, W))
    rows: list[Row] = []
    with torch.inference_mode(), torch.autocast(of.device.type, torch.bfloat16):
        field = of.model.encode(torch.rand(1, 3, H // 4, W // 4, device=of.device))
        at, bias = grid_corners(y, x, field.size, ensemble=True), field.layers[0][1]
        for cut in CUTS:
            launch = fused.Launch(*cut)
            row: Row = {"rows, warps, stages": str(cut), "seconds": "", "share of matrix rate": ""}
            try:
                one = {"": lambda launch=launch: fused.decode(field, at, bias, launch)}
                row["seconds"] = taken = interleaved(one, of.rounds, of.device)[""]
                flop = image_flop(of.model, 0, H * W)
                row["share of matrix rate"] = flop / taken / of.rates["bf16"]
            except Exception as error:
                row["seconds"] = f"failed: {type(error).__name__}: {error}"[:120]
            rows.append(row)
    return rows


def samples(of: Setting) -> list[Row]:
    """Training samples a second: what the host draws, what the device makes of it, and both."""
    source, count = of.source(), 4 * of.batch * of.rounds
    made = DeviceSampler(source, of.device)
    start = time.perf_counter()
    for number in range(count):
        draw_sample(source, 0, number)
    drawn = count / (time.perf_counter() - start)
    rows: list[Row] = [{"": "random numbers, one core of the host", "samples/s": drawn}]
    for name, device in (("host, one core", None), ("device, drawn by one core", made)):
        supply = _endless(source, of, device)
        rows.append({"": name, "samples/s": of.batch / _each(lambda s=supply: next(s), of)})
    return rows


def _endless(source: RandomScaleSource, of: Setting, made: DeviceSampler | None) -> Iterator[Batch]:
    for batch in batches(
        source, seed=0, batch_size=of.batch, start=0, stop=10**9, device_sampler=made
    ):
        yield batch.to(of.device)


def _each(run: Callable[[], Any], of: Setting) -> float:
    """Seconds of one run among many that do not wait for one another."""
    for _ in range(3):
        run()
    synchronise(of.device)
    start, runs = time.perf_counter(), 4 * of.rounds
    for _ in range(runs):
        run()
    synchronise(of.device)
    return (time.perf_counter() - start) / runs


def training(of: Setting, *names: str) -> list[Row]:
    """Whole steps, data and all, done in the ways of these names."""
    source = of.source()
    made, gpu = DeviceSampler(source, of.device), of.device.type == "cuda"
    pixels = of.batch * 48**2
    flop, moved = step_flop(of.model, pixels, pixels), step_bytes(of.model, pixels, pixels)
    rows: list[Row] = []
    for name in names:
        row: Row = {"": name, "steps/s": "", "hours for a million": "", "share of matrix rate": ""}
        row |= {"GB counted": moved / 1e9, "peak MB": ""}
        rows.append(row)
        compiled = "compiled" in name or "max" in name
        if compiled and (not gpu or time.perf_counter() - of.begin > LATE):
            row["steps/s"] = "skipped: out of time" if gpu else NO_GPU
            continue
        model, supply = copy.deepcopy(of.plain).train(), _endless(source, of, made)
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), fused=gpu or None)
        if "Muon" in name:
            optimizer = Muon(model, 1e-3, bf16="bf16" in name, fused=gpu or None)
        forward: Callable[..., Tensor] = partial(_published, model)
        if name != "published":
            forward = model
        if compiled:
            forward = torch.compile(model, mode="max-autotune" if "max" in name else None)
        step = partial(_step, model, optimizer, supply, forward, bf16="bf16" in name)

        try:
            taken = _each(step, of)
        except Exception as error:
            row["steps/s"] = f"failed: {type(error).__name__}: {error}"[:120]
            continue
        rate = of.rates["bf16" if "bf16" in name else "float32"]
        row["steps/s"], row["hours for a million"] = 1 / taken, taken * 1e6 / 3600
        row["share of matrix rate"] = flop / taken / rate
        row["peak MB"] = peak_megabytes(step, of.device)
    return rows


def _published(model: SRModel, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    return reference.forward(model, lr, coord, cell[:, None].expand(-1, coord.shape[1], -1))


def _step(
    model: SRModel,
    optimizer: torch.optim.Optimizer,
    supply: Iterator[Batch],
    forward: Callable[..., Tensor],
    *,
    bf16: bool,
) -> None:
    train_step(model, optimizer, next(supply), learning_rate=1e-4, forward=forward, bf16=bf16)
