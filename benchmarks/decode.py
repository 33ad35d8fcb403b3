"""Measure whole images: the published formulation and ours, on the same photograph.

python benchmarks/decode.py [--checkpoint FILE] [--image FILE] [--side 128] [--scale 4]
"""

from pathlib import Path

import torch
from measure import (
    arguments,
    interleaved,
    machine,
    matrix_rate,
    paper_model,
    peak_megabytes,
    picture,
    precisions,
    report,
)

from liif.evaluation.metrics import psnr
from liif.evaluation.protocols import ScoreProtocol
from liif.models import reference
from liif.models.checkpoint import load_checkpoint

EDSR_FLOP = 2 * 9 * (3 * 64 + 33 * 64 * 64)  # per low-resolution pixel
FOLD_FLOP = 2 * 9 * 64 * 256
MLP_FLOP = 4 * 2 * (3 * 256 * 256 + 256 * 3)  # per pixel: four corners, after the first layer


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--checkpoint", type=Path, help="of EDSR-baseline-LIIF; default: random")
    parser.add_argument("--image", type=Path, help="an image; default: a bundled photograph")
    parser.add_argument("--side", type=int, default=128, help="side of the low-resolution image")
    parser.add_argument("--scale", type=float, default=4.0)
    options = parser.parse_args()
    device = torch.device(options.device)
    model = load_checkpoint(options.checkpoint) if options.checkpoint else paper_model().eval()
    model.to(device)
    lr = picture(options.image, options.side).to(device)
    side = round(options.side * options.scale)
    size = (side, side)
    chosen = precisions(device)
    candidates = {"published": lambda: reference.upscale(model, lr, size)}
    candidates |= {
        f"ours {name}": lambda name=name: model.upscale(lr, size, clamp=False, precision=name)
        for name in chosen
    }
    outputs = {name: run() for name, run in candidates.items()}
    memory = {name: peak_megabytes(run, device) for name, run in candidates.items()}
    seconds = interleaved(candidates, options.rounds, device)
    rates: dict[str, float] = {name: matrix_rate(device, name) for name in chosen}
    rates_text = ", ".join(f"{rate / 1e9:.0f} GFLOP/s {name}" for name, rate in rates.items())
    rates["published"] = rates["float32"]
    flop = (EDSR_FLOP + FOLD_FLOP) * options.side**2 + MLP_FLOP * side**2
    whole = ScoreProtocol(luma=False, border=(0, 0))
    published = outputs["published"]
    rows = [
        {
            "": name,
            "seconds": seconds[name],
            "times as fast": seconds["published"] / seconds[name],
            "megapixels/s": side**2 / 1e6 / seconds[name],
            "GFLOP/s": flop / 1e9 / seconds[name],
            "share of matrix rate": flop / seconds[name] / rates[name.split()[-1]],
            "peak MB": memory[name],
            "PSNR to published": psnr(output, published, whole),
            "largest difference": (output - published).abs().max().item(),
        }
        for name, output in outputs.items()
    ]
    title = (
        f"{options.side}² -> {side}², {machine(device)}; products of the decoder's shape: "
        f"{rates_text}. GFLOP/s counts our operations; the published form needs more."
    )
    report(title, rows, options.json)


if __name__ == "__main__":
    main()
