"""Speed and memory of whole images, for `gpu.py`.

"float32" rows round nothing; rows that round inputs to TF32 say so. A row of the kernel is timed
only if the kernel was called: what PyTorch computed in its place is not its time. Shares are those
of the yardstick's rate in the row's precision.
"""

from collections.abc import Callable
from functools import partial

import torch
from floor import image_flop
from gpu_checks import relative_error
from gpu_setup import (
    LATE,
    NO_GPU,
    PAPER,
    TRAINED,
    Setup,
    TableRow,
    calls_of,
    multiplications,
    without_kernel,
)
from measure import interleaved, peak_megabytes, picture
from torch import Tensor

from liif.models import reference
from liif.models.build import ModelConfig, build_model
from liif.models.geometry import grid_corners, pixel_centres
from liif.models.kernels import fused
from liif.models.model import SRModel
from liif.models.precision import HALF_TYPES, precision_context
from liif.models.precision_names import UsedPrecision

NOT_CALLED = "the kernel was not called: PyTorch decoded"
OTHERS = {
    torch.bfloat16: tuple(fused.Launch(*of) for of in ((64, 8, 3), (128, 8, 1), (64, 4, 2))),
    torch.float32: (fused.Launch(128, 8, 1),),
}
"""Launch configurations that are not in use on all cards, to compare with."""
LIGHT = ("bilinear", "fourier", "lm-liif", "thera")
"""Decoders that compute little for each pixel of the result."""


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
        row: TableRow = {"": f"{title} {way}", "seconds": taken}
        row |= {"megapixels/s": H * W / 1e6 / taken, **setup.speed(flop, taken, used[way])}
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
        ways: dict[UsedPrecision, Callable[[], Tensor]]
        ways = {p: partial(model.upscale, lr, (H, W), precision=p) for p in setup.precisions}
        seconds = interleaved({**ways}, setup.rounds, setup.device)
        for precision, run in ways.items():
            taken = seconds[precision]
            row: TableRow = {"": f"{name} x4, {precision}", "seconds": taken}
            row |= {"megapixels/s": H * W / 1e6 / taken, **setup.speed(flop, taken, precision)}
            rows.append(row | {"peak MB": peak_megabytes(run, setup.device)})
    return rows


def launches(setup: Setup) -> list[TableRow]:
    """Measure the kernel alone with several launch configurations."""
    if not setup.is_gpu:
        return [{"": NO_GPU}]
    (H, W), model, rows = setup.size, setup.models[PAPER], list[TableRow]()
    y, x = (pixel_centres(n, model.mean) for n in (H, W))
    kinds: list[UsedPrecision] = [setup.half] if setup.quick else [setup.half, "tf32", "float32"]
    for precision in kinds:
        dtype = HALF_TYPES.get(precision, torch.float32)
        with torch.inference_mode(), precision_context(setup.device, precision):
            field = model.encode(torch.rand(1, 3, H // 4, W // 4, device=setup.device))
            at, bias = grid_corners(y, x, field.size, ensemble=True), field.layers[0][1]
            few = grid_corners(y[:64], x[:64], field.size, ensemble=True)
            expected = fused.plain(field, few, bias).float()
            compared = [*fused.candidates(setup.device, dtype), *OTHERS.get(dtype, ())]
            for launch in dict.fromkeys(compared):
                row: TableRow = {"": f"{precision}, {tuple(launch)}"}
                if setup.left() < 0:
                    return [*rows, row | {"note": LATE}]
                setup.say(f"kernel: {precision} {tuple(launch)}")
                try:
                    run = partial(fused.decode, field, at, bias, launch)
                    error = relative_error(fused.decode(field, few, bias, launch), expected)
                    taken = interleaved({"": run}, setup.rounds, setup.device)[""]
                    row |= {"seconds": taken, "error / deviation": error}
                    flop = image_flop(model, 0, H * W)
                    row |= setup.speed(flop, taken, precision)
                except Exception as error:
                    row["note"] = f"{type(error).__name__}: {error}"[:150]
                rows.append(row)
    return rows


def memory(setup: Setup) -> list[TableRow]:
    """Measure the memory of results that are larger than a strip."""
    rows, model = list[TableRow](), setup.models[PAPER]
    precision = setup.half if setup.is_gpu else "float32"
    for width in (setup.side * k for k in ((1, 2) if setup.quick else (1, 2, 4))):
        if setup.left() < 0:
            return [*rows, {"": f"width {width}", "note": LATE}]
        setup.say(f"memory: width {width}")
        lr = picture(None, width // 4)[:, : width // 6].to(setup.device)
        H, W = size = (width * 2 // 3, width)
        run = partial(model.upscale, lr, size, precision=precision)
        peak = peak_megabytes(run, setup.device)
        row: TableRow = {"": f"{PAPER} x4, {W}×{H} px, {precision}", "peak MB": peak}
        if setup.is_gpu:
            row["reserved MB"] = torch.cuda.max_memory_reserved(setup.device) / 2**20
        row["seconds"] = taken = interleaved({"": run}, 1, setup.device)[""]
        flop = image_flop(model, lr.shape[1] * lr.shape[2], H * W)
        rows.append(row | setup.speed(flop, taken, precision))
    return rows
