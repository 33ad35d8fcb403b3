"""The parts of `gpu.py`: each one checks or measures something and returns the rows of a table.

"float32" rows round nothing; rows that round inputs to TF32 say so. A row of the kernel is timed
only if the kernel was called: what PyTorch computed in its place is not its time. Shares are those
of the yardstick's rate in the row's precision.
"""

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from floor import image_flop, step_flop
from measure import interleaved, paper_model, peak_megabytes, picture, precisions, synchronise
from torch import Tensor

from liif.data.cache import ImageStore
from liif.data.gpu import DeviceSampler
from liif.data.loader import Batch, batches, draw_sample
from liif.data.random_scale import RandomScale, RandomScaleSource
from liif.hub.catalog import find_model
from liif.models import reference
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint
from liif.models.cost import decoder_cost, encoder_cost
from liif.models.decoders.liif import Liif
from liif.models.geometry import grid_corners, pixel_centres
from liif.models.kernels import fused
from liif.models.model import SRModel
from liif.models.precision import precision_context
from liif.models.precision_names import UsedPrecision
from liif.training.optimizers import Muon
from liif.training.step import train_step

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "official-edsr-baseline-liif.npz"
"""Outputs of the official code with the official weights."""
NO_GPU = "skipped: no CUDA device"
LATE = "skipped: out of time"
NOT_CALLED = "the kernel was not called: PyTorch decoded"
TIMED_S = 2.0
"""Seconds for which training steps and batches are timed."""
COMPILATION_S = 45
"""Seconds that must be left for a row that compiles."""
OTHERS = {
    torch.bfloat16: (fused.Launch(128, 8, 1), fused.Launch(64, 4, 2)),
    torch.float32: (fused.Launch(128, 8, 1),),
}
"""Launch configurations that are not in use, to compare with."""
LIGHT = ("bilinear", "fourier", "lm-liif", "thera")
"""Decoders that compute little for each pixel of the result."""
PAPER, TRAINED = "256 wide", "edsr-light, trained"
TableRow = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """The device, the models and the sizes to measure."""

    device: torch.device
    models: dict[str, SRModel]
    """PAPER: EDSR-baseline-LIIF, whose decoder is 256 wide. TRAINED: the model of the package."""
    peaks: dict[str, float]
    """FLOP/s of the yardstick by precision."""
    quick: bool
    side: int
    """Width of the enlarged image; its height is two thirds of that."""
    batch: int
    out: Path
    deadline: float
    say: Callable[[str], None]

    @property
    def size(self) -> tuple[int, int]:
        return self.side * 2 // 3, self.side

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 7

    @property
    def patch(self) -> int:
        """Side of a training sample: the recipe's 48, less where a test asks for small images."""
        return min(48, self.side // 5)

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def precisions(self) -> list[UsedPrecision]:
        return ["float32", "tf32", "bf16"] if self.is_gpu else precisions(self.device)

    def left(self) -> float:
        """Return the seconds until no further row begins."""
        return self.deadline - time.perf_counter()

    def speed(self, flop: float, seconds: float, precision: UsedPrecision) -> TableRow:
        """Return the columns that all measurements of products have."""
        rate = flop / seconds
        return {"TFLOP/s": rate / 1e12, "share of the peak": rate / self.peaks[precision]}

    def source(self) -> RandomScaleSource:
        """Return training samples of noise images of the measured size."""
        random = np.random.default_rng(0)
        shape = (max(self.size[0], 200), max(self.size[1], 200), 3)
        images = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(4)]
        names = [f"{i}.png" for i in range(len(images))]
        config = RandomScale(images="noise", patch=self.patch, queries=self.patch**2)
        return RandomScaleSource(config, ImageStore(names, [shape[:2]] * 4, [], images))


def models(device: torch.device, checkpoint: Path | None) -> dict[str, SRModel]:
    """Return the models to measure. Without a file, the decoder of the paper's model gets weights
    as large as trained ones: those of a new model give one gray, in which no error shows."""
    official = find_model("edsr-liif")
    if checkpoint is None and official is not None and official.path.is_file():
        checkpoint = official.path
    if checkpoint is not None:
        paper = load_checkpoint(checkpoint)
    else:
        paper = paper_model().eval()
        assert isinstance(paper.decoder, Liif)
        generator = torch.Generator().manual_seed(0)
        for layer in paper.decoder.mlp.linear:
            bound = 2 / layer.in_features**0.5
            for parameter in (layer.weight, layer.bias):
                parameter.data.uniform_(-bound, bound, generator=generator)
    light = find_model("edsr-light")
    assert light is not None
    return {PAPER: paper.to(device), TRAINED: load_checkpoint(light.path).to(device)}


def without_kernel(model: SRModel) -> SRModel:
    """Return the same model, decoded by PyTorch."""
    plain = copy.deepcopy(model)
    assert isinstance(plain.decoder, Liif)
    plain.decoder.fuse = False
    return plain


@contextmanager
def kernel_calls() -> Generator[list[int], None, None]:
    """Yield a list that gets an item with every call of the kernel that returns."""
    calls: list[int] = []
    decode = fused.decode

    def counted(*arguments: Any, **options: Any) -> Tensor:  # noqa: ANN401
        result = decode(*arguments, **options)
        calls.append(1)
        return result

    fused.decode = counted
    try:
        yield calls
    finally:
        fused.decode = decode


def calls_of(run: Callable[[], Any]) -> int:
    """Return how often a second run calls the kernel; the first one may try it."""
    run()
    with kernel_calls() as calls:
        run()
    return len(calls)


def tests(setup: Setup) -> list[TableRow]:
    """Run the tests with the mark gpu in a process of their own."""
    folder, name = ROOT / "tests" / "cuda", "pytest -m gpu tests/cuda"
    if not setup.is_gpu:
        return [{"": name, "result": NO_GPU}]
    if not folder.is_dir():
        return [{"": name, "result": "skipped: this copy of the package has none"}]
    limit = max(min(setup.left() / 2, 300), 1)
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rA", "--tb=short", str(folder)]
    command += ["-p", "no:cacheprovider"]
    path = setup.out / "pytest.txt"
    with path.open("w") as file:
        try:
            done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, timeout=limit)
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = -1
    texts = {0: "all passed", 5: "skipped: no test has the mark gpu", -1: f"failed: {limit:.0f} s"}
    lines = path.read_text(errors="replace").splitlines() or ["no output"]
    rows = [{"": name, "result": texts.get(status, "failed"), "last line": lines[-1][:150]}]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR "))]
    return rows + [{"": line[:200], "result": "failed", "last line": ""} for line in failed[:40]]


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
    side = min(48, max(setup.side // 5, 8))
    lr, size = picture(None, side).to(setup.device), (4 * side - 3, 4 * side + 1)
    plain = without_kernel(model)
    exact = reference.upscale(plain, lr, size)
    outputs = {p: plain.upscale(lr, size, clamp=False, precision=p) for p in setup.precisions}
    limits = {"float32": 1e-4, "tf32": 1e-2, "bf16": 0.1}
    rows: list[TableRow] = [
        {"": f"{name}: PyTorch, {p}", **compared(outputs[p], exact, limit=limits[p])}
        for p in setup.precisions
    ]
    if not setup.is_gpu:
        return [*rows, {"": f"{name}: kernel", "right": NO_GPU}]
    # As near to the exact result as PyTorch in the same precision, whose limit is above.
    for p in ("tf32", "bf16"):
        run = partial(model.upscale, lr, size, clamp=False, precision=p)
        calls = calls_of(run)
        limit = 1.5 * relative_error(outputs[p], exact)
        row: TableRow = {"": f"{name}: kernel, {p}", **compared(run(), exact, limit=limit)}
        if calls == 0:
            is_expected = _is_expected(setup, p)
            row = {"": row[""], "right": "NO" if is_expected else "skipped", "note": NOT_CALLED}
        rows.append({**row, "kernel calls": calls})
    return [*rows, _check_kernel(setup, name, model, lr, size)]


def _is_expected(setup: Setup, precision: UsedPrecision) -> bool:
    """Whether the package means to use its kernel on this card."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
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


def decoding(setup: Setup) -> list[TableRow]:
    """Measure whole images of one size, enlarged by different scales."""
    rows: list[TableRow] = []
    H, W = setup.size
    for name in (PAPER, TRAINED):
        model = setup.models[name]
        plain = without_kernel(model)
        for scale in (4,) if setup.quick or name == TRAINED else (4, 2, 12, 30):
            if setup.left() < 0:
                return [*rows, {"": f"{name} x{scale}", "note": LATE}]
            setup.say(f"decoding: {name} x{scale}")
            h, w = max(H // scale, 1), max(W // scale, 1)
            lr = picture(None, max(h, w))[:, :h, :w].to(setup.device)
            rows += _decode(setup, f"{name} x{scale}", model, plain, lr, scale == 4)
    return rows


def _decode(
    setup: Setup, title: str, model: SRModel, plain: SRModel, lr: Tensor, with_published: bool
) -> list[TableRow]:
    """Measure the ways to enlarge one image, in turn."""
    (H, W), (h, w) = setup.size, lr.shape[1:]
    ways: dict[str, Callable[[], Tensor]] = {}
    used: dict[str, UsedPrecision] = {}
    notes: dict[str, TableRow] = {}
    if with_published:
        used["published, float32"] = "float32"
        ways["published, float32"] = lambda: reference.upscale(plain, lr, (H, W))
    for kind, each in (("PyTorch", plain), ("kernel", model)):
        for precision in setup.precisions:
            way = f"{kind}, {precision}"
            run = partial(each.upscale, lr, (H, W), precision=precision)
            if kind == "kernel":
                calls = calls_of(run) if setup.is_gpu else 0
                if calls == 0:
                    notes[way] = {"": f"{title} {way}", "note": NOT_CALLED}
                    continue
                notes[way] = {"kernel calls": calls}
            ways[way], used[way] = run, precision
    seconds = interleaved(ways, setup.rounds, setup.device)
    flop = image_flop(model, h * w, H * W)
    rows: list[TableRow] = []
    for way, taken in seconds.items():
        row = {"": f"{title} {way}", "seconds": taken, "megapixels/s": H * W / 1e6 / taken}
        row |= setup.speed(flop, taken, used[way])
        row["peak MB"] = peak_megabytes(ways[way], setup.device)
        rows.append(row | notes.pop(way, {}))
    return [*rows, *notes.values()]


def light_decoding(setup: Setup) -> list[TableRow]:
    """Measure whole images at x4 by light decoders behind EDSR-baseline, with random weights."""
    (H, W), rows = setup.size, list[TableRow]()
    lr = picture(None, W // 4)[:, : H // 4].to(setup.device)
    for name in LIGHT[2:3] if setup.quick else LIGHT:
        if setup.left() < 0:
            return [*rows, {"": name, "note": LATE}]
        setup.say(f"light decoders: {name}")
        parts = {"encoder": {"name": "edsr-baseline"}, "decoder": {"name": name}}
        config = ModelConfig.model_validate(parts)
        model = build_model(config, seed=0).to(setup.device).eval()
        flop = 2 * multiplications(config, lr.shape[1] * lr.shape[2], H * W)
        ways = {p: partial(model.upscale, lr, (H, W), precision=p) for p in setup.precisions}
        seconds = interleaved(ways, setup.rounds, setup.device)
        for precision, taken in seconds.items():
            row = {"": f"{name} x4, {precision}", "seconds": taken}
            row |= {"megapixels/s": H * W / 1e6 / taken, **setup.speed(flop, taken, precision)}
            rows.append(row | {"peak MB": peak_megabytes(ways[precision], setup.device)})
    return rows


def multiplications(config: ModelConfig, inputs: int, outputs: int) -> float:
    """Return the multiplications of a model for so many pixels in and out, at x4."""
    width = build_model(config).encoder.width
    encoder = encoder_cost(config.encoder)  # pyright: ignore[reportArgumentType]
    decoder = decoder_cost(config.decoder, width, 4)  # pyright: ignore[reportArgumentType]
    once = encoder.per_input_pixel + decoder.per_input_pixel
    return once * inputs + decoder.per_output_pixel * outputs


def launches(setup: Setup) -> list[TableRow]:
    """Measure the kernel alone with several launch configurations."""
    if not setup.is_gpu:
        return [{"": NO_GPU}]
    (H, W), model, rows = setup.size, setup.models[PAPER], list[TableRow]()
    y, x = (pixel_centres(n, model.mean) for n in (H, W))
    kinds: list[tuple[torch.dtype, UsedPrecision]] = [(torch.bfloat16, "bf16")]
    if not setup.quick:
        kinds += [(torch.float32, "float32"), (torch.float32, "tf32")]
    for dtype, precision in kinds:
        with torch.inference_mode(), precision_context(setup.device, precision):
            field = model.encode(torch.rand(1, 3, H // 4, W // 4, device=setup.device))
            at, bias = grid_corners(y, x, field.size, ensemble=True), field.layers[0][1]
            expected = fused.plain(field, at, bias).float()
            for launch in [*fused.candidates(setup.device, dtype), *OTHERS[dtype]]:
                row: TableRow = {"": f"{precision}, {tuple(launch)}"}
                if setup.left() < 0:
                    return [*rows, row | {"note": LATE}]
                setup.say(f"kernel: {precision} {tuple(launch)}")
                try:
                    run = partial(fused.decode, field, at, bias, launch)
                    error = relative_error(run(), expected)
                    taken = interleaved({"": run}, setup.rounds, setup.device)[""]
                    row |= {"seconds": taken, "error / deviation": error}
                    flop = image_flop(model, 0, H * W)
                    row |= setup.speed(flop, taken, precision)
                except Exception as error:
                    row["note"] = f"{type(error).__name__}: {error}"[:150]
                rows.append(row)
            del expected
    return rows


def memory(setup: Setup) -> list[TableRow]:
    """Measure the memory of results larger than a strip, in bf16 where the device has it."""
    rows: list[TableRow] = []
    precision: UsedPrecision = "bf16" if setup.is_gpu else "float32"
    widths = [setup.side, 2 * setup.side] if setup.quick else [setup.side * k for k in (1, 2, 4)]
    for name in (PAPER,):
        for width in widths:
            if setup.left() < 0:
                return [*rows, {"": f"{name}, width {width}", "note": LATE}]
            setup.say(f"memory: {name}, {width} px")
            lr = picture(None, width // 4)[:, : width // 6].to(setup.device)
            size, model = (width * 2 // 3, width), setup.models[name]
            run = partial(model.upscale, lr, size, precision=precision)
            peak = peak_megabytes(run, setup.device)
            taken = interleaved({"": run}, 1, setup.device)[""]
            row = {"": f"{name} x4, {size[1]}×{size[0]} px, {precision}", "seconds": taken}
            flop = image_flop(model, lr.shape[1] * lr.shape[2], size[0] * size[1])
            row |= {**setup.speed(flop, taken, precision), "peak MB": peak}
            if setup.is_gpu:
                row["reserved MB"] = torch.cuda.max_memory_reserved(setup.device) / 2**20
            rows.append(row)
    return rows


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
    names = ["published, float32", *(f"ours, {p}" for p in setup.precisions), "ours, bf16, Muon"]
    names += ["lm-liif, bf16"]
    if not setup.is_gpu:
        names = ["published, float32", "ours, float32"]
    return [_training_row(setup, name) for name in names]


def compiled_training(setup: Setup) -> list[TableRow]:
    """As `training`, with torch.compile."""
    names = ["ours, bf16, compile"]
    if not setup.quick:
        names += ["ours, bf16, compile max-autotune", "lm-liif, bf16, compile"]
    return [_training_row(setup, name) for name in names]


def _training_row(setup: Setup, name: str) -> TableRow:
    row: TableRow = {"": name}
    if "compile" in name and not setup.is_gpu:
        return row | {"note": NO_GPU}
    if setup.left() < (COMPILATION_S if "compile" in name else 0):
        return row | {"note": LATE}
    setup.say(f"training: {name}")
    precision = next(p for p in ("tf32", "bf16", "float32") if p in name)
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
        optimizer = Muon(model, 1e-3, bf16=True, fused=fused_adam)
    forward: Callable[..., Tensor] = model
    if name.startswith("published"):
        forward = partial(_published, model)
    elif "compile" in name:
        forward = torch.compile(model, mode="max-autotune" if "max" in name else None)
    source = setup.source()
    supply = _endless(source, setup, DeviceSampler(source, setup.device))

    def step() -> None:
        train_step(
            *(model, optimizer, next(supply)),
            **{"learning_rate": 1e-4, "forward": forward, "precision": precision},
        )

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
    steps = 100 if setup.quick else 400
    rows = [_whole_run(setup, "one process, bf16", 1, steps)]
    if torch.cuda.device_count() > 1:
        rows.append(_whole_run(setup, "two processes, bf16, the batch shared", 2, steps))
    return rows


def _whole_run(setup: Setup, title: str, processes: int, steps: int) -> TableRow:
    row: TableRow = {"": title}
    if setup.left() < COMPILATION_S:
        return row | {"note": LATE}
    setup.say(f"liif train: {title}")
    name = f"run-{processes}"
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    command += ["liif", "train", "--config", str(ROOT / "configs" / "edsr-liif.yaml")]
    command += ["--name", name, "--device", "cuda"]
    values = {"train_data.images": "builtin:train", "train_data.cache": "device"}
    values |= {"steps": steps, "log_every": steps // 4, "precision": "bf16", "valid": "null"}
    values |= {"milestones": "[]", "test": "null", "batch_size": setup.batch}
    command += [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    path = setup.out / f"{name}.txt"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    with path.open("w") as file:
        try:
            limit = max(setup.left(), COMPILATION_S)
            done = subprocess.run(
                command, cwd=setup.out, stdout=file, stderr=file, timeout=limit, env=env
            )
        except subprocess.TimeoutExpired:
            return row | {"note": f"failed: not done in {limit:.0f} s"}
    if done.returncode:
        last = (path.read_text(errors="replace").splitlines() or [""])[-1]
        return row | {"note": f"failed: {last}"[:200]}
    return row | _speed_of_run(setup, name)


def _speed_of_run(setup: Setup, name: str) -> TableRow:
    """Return the last quarter's figures from the run's record."""
    lines = (setup.out / "runs" / name / "metrics.jsonl").read_text().splitlines()
    last = [line for line in map(json.loads, lines) if "images_per_s" in line][-1]
    taken = setup.batch / last["images_per_s"]
    flop = step_flop(setup.models[PAPER], setup.batch * 48**2, setup.batch * 48**2)
    row = {"ms": 1e3 * taken, "steps/s": 1 / taken, "waiting for data": last["data_wait"]}
    return row | setup.speed(flop, taken, "bf16")
