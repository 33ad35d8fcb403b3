"""Measure every decoder on one picture: this package beside the plain way, in which chunks of
30,000 points are asked one after the other (all at once where a colour depends on the others).

    python benchmarks/decoders.py [--decoders liif lte] [--scales 2 4 8] [--side 128]

Each has the size of its default configuration, random weights and the same encoder, which is
measured alone, too: the rows of decoders hold it.
"""

import sys
from typing import Any

import torch
from measure import arguments, interleaved, machine, matrix_rate, peak_megabytes, picture, report
from torch.utils.flop_counter import FlopCounterMode

from liif.models import reference
from liif.models.build import DECODERS, ModelConfig, build_model
from liif.models.model import SRModel

Row = dict[str, Any]


def linear_flop(x: torch.Size, weight: torch.Size, *_: Any, **__: Any) -> int:  # noqa: ANN401
    """Return the operations of oneDNN's fused product, which PyTorch's counter does not know."""
    return 2 * x.numel() * weight[0]


FUSED = {torch.ops.mkldnn._linear_pointwise: linear_flop}


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--decoders", nargs="+", choices=list(DECODERS), default=list(DECODERS))
    parser.add_argument("--scales", type=int, nargs="+", default=[4])
    parser.add_argument("--side", type=int, default=128, help="side of the low-resolution image")
    options = parser.parse_args()
    device = torch.device(options.device)
    rate = matrix_rate(device, "float32")
    lr = picture(None, options.side).to(device)
    rows: list[Row] = []
    for name in options.decoders:
        for scale in options.scales:
            model = build(name, scale).to(device).eval()
            if not rows:
                rows.append(measured_encoder(model, lr, options.rounds, rate))
            rows.append(measured(name, model, lr, scale, options.rounds, rate))
            seconds, ratio = rows[-1]["seconds"], rows[-1]["times as fast"]
            done = f"{name} x{scale}: {seconds:.3g} s, {ratio:.3g} times as fast as the plain way"
            print(done, file=sys.stderr, flush=True)  # noqa: T201
    title = (
        f"From {options.side}², float32, {machine(device)}; products of LIIF's shape: "
        f"{rate / 1e9:.0f} GFLOP/s. The bound is the time of the counted products at that rate."
    )
    report(title, rows, options.json)


def build(name: str, scale: int) -> SRModel:
    fixed = {"scale": scale} if "scale" in DECODERS[name].model_fields else {}
    config = {"encoder": {"name": "edsr-baseline"}, "decoder": {"name": name, **fixed}}
    return build_model(ModelConfig.model_validate(config), seed=0)


def measured_encoder(model: SRModel, lr: torch.Tensor, rounds: int, rate: float) -> Row:
    with torch.no_grad():
        seconds = interleaved({"": lambda: model.encode(lr[None])}, rounds, lr.device)[""]
        with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
            model.encode(lr[None])
    memory = peak_megabytes(lambda: model.encode(lr[None]), lr.device)
    return row("edsr-baseline, encoder alone", "", seconds, "", counter, rate, memory, "")


def measured(
    name: str, model: SRModel, lr: torch.Tensor, scale: int, rounds: int, rate: float
) -> Row:
    size = (lr.shape[1] * scale, lr.shape[2] * scale)

    def ours() -> torch.Tensor:
        return model.upscale(lr, size, clamp=False)

    def plain() -> torch.Tensor:
        return reference.upscale(model, lr, size)

    difference = (ours() - plain()).abs().max().item()
    seconds = interleaved({"ours": ours, "plain": plain}, rounds, lr.device)
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
        ours()
    return row(
        name, f"x{scale}", seconds["ours"], seconds["plain"], counter, rate,
        peak_megabytes(ours, lr.device), difference, size[0] * size[1] / 1e6,
    )  # fmt: skip


def row(
    name: str,
    scale: str,
    seconds: float,
    plain: float | str,
    counter: FlopCounterMode,
    rate: float,
    memory: float,
    difference: float | str,
    megapixels: float | None = None,
) -> Row:
    flop = counter.get_total_flops()
    return {
        "": name,
        "scale": scale,
        "seconds": seconds,
        "plain, seconds": plain,
        "times as fast": plain / seconds if isinstance(plain, float) else "",
        "megapixels/s": megapixels / seconds if megapixels else "",
        "GFLOP": flop / 1e9,
        "share of the bound": flop / rate / seconds,
        "peak MB": memory,
        "largest difference": difference,
    }


if __name__ == "__main__":
    main()
