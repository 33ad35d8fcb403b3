"""The parts of `gpu.py`: each one checks or measures something and returns the rows of a table."""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floor import image_flop, step_bytes, step_flop
from measure import interleaved, peak_megabytes, picture, synchronise
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
from liif.models.model import SRModel
from liif.models.precision_names import UsedPrecision
from liif.training.optimizers import Muon
from liif.training.step import train_step

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "official-edsr-baseline-liif.npz"
"""Outputs of the official code with the official weights."""
NO_GPU = "skipped: no CUDA device"
LATE = 420
"""Seconds from the start after which no compilation begins."""
CUTS = [(128, 8, 2), (128, 8, 1), (64, 4, 2), (64, 4, 1), (64, 8, 1)]
"""Launch configurations of the kernel (fused.Launch) in bf16; the first one is in use."""
TableRow = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """The device, the models and the sizes to measure."""

    device: torch.device
    model: SRModel
    plain: SRModel
    """The same weights, without the kernel."""
    trained: bool
    official: Path | None
    """File of the official weights, if it was downloaded."""
    side: int
    """Width of the enlarged image; its height is two thirds of that."""
    batch: int
    rounds: int
    rates: dict[str, float]
    """Measured FLOP/s of matrix products of the decoder's shape, by precision."""
    begin: float

    @property
    def size(self) -> tuple[int, int]:
        return self.side * 2 // 3, self.side

    def source(self) -> RandomScaleSource:
        """Return training samples of noise images of the measured size."""
        random = np.random.default_rng(0)
        shape = (max(self.size[0], 200), max(self.size[1], 200), 3)
        images = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(4)]
        names = [f"{i}.png" for i in range(len(images))]
        config = RandomScale(images="noise")
        return RandomScaleSource(config, ImageStore(names, [shape[:2]] * 4, [], images))


def checks(setup: Setup) -> list[TableRow]:
    """Compare largest differences with their limits."""
    lr = picture(None, 48 if setup.side > 500 else 12).to(setup.device)
    size = (setup.side // 4, setup.side // 4)
    rows: list[TableRow] = []

    def row(name: str, found: float | str, limit: float) -> None:
        good = found if isinstance(found, str) else "yes" if found <= limit else "NO"
        rows.append({"": name, "largest difference": found, "limit": limit, "right": good})

    published = reference.upscale(setup.plain, lr, size)
    plain = setup.plain.upscale(lr, size, clamp=False)
    row("plain float32, published form", _apart(plain, published), 1e-3 if lr.is_cuda else 1e-5)
    half = setup.plain.upscale(lr, size, clamp=False, precision="bf16")
    limits: dict[UsedPrecision, float] = {"float32": 1e-3, "bf16": 0.05}
    for precision, limit in limits.items():
        found: float | str = NO_GPU
        if lr.is_cuda:
            expected = plain if precision == "float32" else half
            output = setup.model.upscale(lr, size, clamp=False, precision=precision)
            found = _apart(output, expected)
        row(f"kernel, plain decoder, {precision}", found, limit)
    if setup.trained:
        whole = ScoreProtocol(luma=False, border=(0, 0))
        target = picture(None, size[0]).to(setup.device)
        scores = [psnr(image.clamp(0, 1), target, whole) for image in (plain, half)]
        row("bf16, float32: PSNR in dB", abs(scores[0] - scores[1]), 0.01)
    missing = "skipped: needs `liif models get edsr-liif`"
    golden = missing if setup.official is None else _golden(setup.official, setup.device)
    row("golden outputs", golden, 1e-4)
    source = setup.source()
    four = partial(batches, source, seed=0, batch_size=4, start=0, stop=3)
    pairs = zip(four(device_sampler=DeviceSampler(source, setup.device)), four(), strict=True)
    parts = [(a.cpu(), b) for one, other in pairs for a, b in zip(one[:4], other[:4], strict=True)]
    row("samples, device and host", max(_apart(a.double(), b.double()) for a, b in parts), 0)
    return rows


def _apart(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def _golden(weights: Path, device: torch.device) -> float:
    """Return the largest difference from the outputs of the official code."""
    model = load_checkpoint(weights, device)
    data, worst = np.load(GOLDEN), 0.0
    lr = torch.from_numpy(data["lr"]).permute(2, 0, 1).to(device) / 255
    for name in data.files:
        if name.replace("x", "").isdigit():
            H, W = map(int, name.split("x"))
            found = model.upscale(lr, (H, W), clamp=False).permute(1, 2, 0).cpu()
            worst = max(worst, _apart(found, torch.from_numpy(data[name])))
    return worst


def decoding(setup: Setup) -> list[TableRow]:
    """Measure whole images of one size, enlarged by different scales."""
    rows: list[TableRow] = []
    H, W = setup.size
    for scale in (2, 3, 4, 6, 12, 30):
        h, w = max(H // scale, 1), max(W // scale, 1)
        lr = picture(None, max(h, w))[:, :h, :w].to(setup.device)
        ways: dict[str, Callable[[], Tensor]] = {}
        if scale == 4:
            ways["published"] = lambda lr=lr: reference.upscale(setup.plain, lr, (H, W))
        for name, model in (("plain", setup.plain), ("kernel", setup.model)):
            for precision in ("float32", "bf16"):
                if name == "plain" or setup.device.type == "cuda":
                    ways[f"{name} {precision}"] = lambda lr=lr, m=model, p=precision: m.upscale(
                        lr, (H, W), precision=p
                    )
        seconds = interleaved(ways, setup.rounds, setup.device)
        flop = image_flop(setup.model, h * w, H * W)
        for name, taken in seconds.items():
            rate = flop / taken
            rows.append(
                {
                    "": f"x{scale} {name}",
                    "seconds": taken,
                    "megapixels/s": H * W / 1e6 / taken,
                    "TFLOP/s": rate / 1e12,
                    "share of matrix rate": rate
                    / setup.rates["bf16" if "bf16" in name else "float32"],
                    "peak MB": peak_megabytes(ways[name], setup.device),
                }
            )
    return rows


def cuts(setup: Setup) -> list[TableRow]:
    """Measure the kernel alone with several launch configurations."""
    if setup.device.type != "cuda":
        return [{"": NO_GPU}]
    H, W = setup.size
    y, x = (pixel_centres(n, setup.model.mean) for n in (H, W))
    rows: list[TableRow] = []
    with torch.inference_mode(), torch.autocast(setup.device.type, torch.bfloat16):
        field = setup.model.encode(torch.rand(1, 3, H // 4, W // 4, device=setup.device))
        at, bias = grid_corners(y, x, field.size, ensemble=True), field.layers[0][1]
        for cut in CUTS:
            launch = fused.Launch(*cut)
            row: TableRow = {
                "rows, warps, stages": str(cut),
                "seconds": "",
                "share of matrix rate": "",
            }
            try:
                one = {"": lambda launch=launch: fused.decode(field, at, bias, launch)}
                row["seconds"] = taken = interleaved(one, setup.rounds, setup.device)[""]
                flop = image_flop(setup.model, 0, H * W)
                row["share of matrix rate"] = flop / taken / setup.rates["bf16"]
            except Exception as error:
                row["seconds"] = f"failed: {type(error).__name__}: {error}"[:120]
            rows.append(row)
    return rows


def samples(setup: Setup) -> list[TableRow]:
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
    """Return the seconds of one run among many without synchronisation between them."""
    for _ in range(3):
        run()
    synchronise(setup.device)
    start, runs = time.perf_counter(), 4 * setup.rounds
    for _ in range(runs):
        run()
    synchronise(setup.device)
    return (time.perf_counter() - start) / runs


def training(setup: Setup, *names: str) -> list[TableRow]:
    """Measure whole training steps including data, in the variants with these names."""
    source = setup.source()
    made, gpu = DeviceSampler(source, setup.device), setup.device.type == "cuda"
    pixels = setup.batch * 48**2
    flop, moved = step_flop(setup.model, pixels, pixels), step_bytes(setup.model, pixels, pixels)
    rows: list[TableRow] = []
    for name in names:
        row: TableRow = {"": name, "steps/s": "", "hours for a million": ""}
        row |= {"share of matrix rate": "", "GB counted": moved / 1e9, "peak MB": ""}
        rows.append(row)
        compiled = "compiled" in name or "max" in name
        if compiled and (not gpu or time.perf_counter() - setup.begin > LATE):
            row["steps/s"] = "skipped: out of time" if gpu else NO_GPU
            continue
        model, supply = copy.deepcopy(setup.plain).train(), _endless(source, setup, made)
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), fused=gpu or None)
        if "Muon" in name:
            optimizer = Muon(model, 1e-3, bf16="bf16" in name, fused=gpu or None)
        forward: Callable[..., Tensor] = partial(_published, model)
        if name != "published":
            forward = model
        if compiled:
            forward = torch.compile(model, mode="max-autotune" if "max" in name else None)
        precision: UsedPrecision = "bf16" if "bf16" in name else "float32"
        step = partial(_step, model, optimizer, supply, forward, precision)

        try:
            taken = _each(step, setup)
        except Exception as error:
            row["steps/s"] = f"failed: {type(error).__name__}: {error}"[:120]
            continue
        rate = setup.rates[precision]
        row["steps/s"], row["hours for a million"] = 1 / taken, taken * 1e6 / 3600
        row["share of matrix rate"] = flop / taken / rate
        row["peak MB"] = peak_megabytes(step, setup.device)
    return rows


def _published(model: SRModel, lr: Tensor, coord: Tensor, cell: Tensor) -> Tensor:
    return reference.forward(model, lr, coord, cell[:, None].expand(-1, coord.shape[1], -1))


def _step(
    model: SRModel,
    optimizer: torch.optim.Optimizer,
    supply: Iterator[Batch],
    forward: Callable[..., Tensor],
    precision: UsedPrecision,
) -> None:
    train_step(
        model, optimizer, next(supply), learning_rate=1e-4, forward=forward, precision=precision
    )
