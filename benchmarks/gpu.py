"""One GPU, checked and measured in ten minutes; `gpu.sh` runs it.

python benchmarks/gpu.py [--out FOLDER] [--device cpu --quick]

First whether the fast ways are right, then how fast they are, beside the published formulation in
the same run. A part that fails, or finds no time, says so in its table and the others go on; files
are written after every part. The exit status is 1 if a part failed or a check was not passed.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_parts import SHARED, Row, Setting, checks, cuts, decoding, samples, training
from measure import machine, matrix_rate, paper_model, table

from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint

TINY = {
    "encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8},
    "decoder": {"name": "liif", "hidden": [16, 16]},
}
PARTS: dict[str, Callable[[Setting], list[Row]]] = {
    "Right?": checks,
    "Decoding": decoding,
    "The kernel's work, cut in several ways": cuts,
    "Data": samples,
    "Training": lambda of: training(of, "published", "float32", "bf16", "bf16, Muon"),
    "Training, compiled": lambda of: training(of, "bf16 compiled", "bf16 max-autotune"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of gpu.md and gpu.json")
    parser.add_argument("--checkpoint", type=Path, help="EDSR-baseline-LIIF; default: random")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    device, begin = torch.device(options.device), time.perf_counter()
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: there is no CUDA device here")
    official = options.checkpoint or SHARED / "weights" / "edsr-baseline-liif.pth"
    trained = official.is_file() and not options.quick
    model = build_model(ModelConfig.model_validate(TINY)) if options.quick else paper_model()
    model = (load_checkpoint(official) if trained else model).to(device).eval()
    plain = copy.deepcopy(model)
    plain.decoder.fuse = False  # pyright: ignore[reportAttributeAccessIssue]
    kinds = {"float32": torch.float32, "bf16": torch.bfloat16}
    several = (512,) if options.quick else (4096, 16384, 65536)
    rates = {name: matrix_rate(device, kind, several) for name, kind in kinds.items()}
    of = Setting(
        *(device, model, plain, trained),
        side=60 if options.quick else 2040,
        batch=1 if options.quick else 16,
        rounds=1 if options.quick else 10,
        rates=rates,
        begin=begin,
    )
    said = ", ".join(f"{rate / 1e12:.4g} TFLOP/s in {name}" for name, rate in rates.items())
    texts = [f"# {machine(device)}\n\nProducts of the decoder's shape: {said}."]
    if device.type != "cuda":
        texts[0] += " No GPU: what needs one is skipped."
    found: dict[str, Any] = {"machine": machine(device), "flop_per_s": rates, "parts": {}}
    options.out.mkdir(parents=True, exist_ok=True)
    for title, part in PARTS.items():
        try:
            rows = part(of)
        except Exception as error:
            rows = [{"": f"failed: {type(error).__name__}: {error}"}]
        found["parts"][title] = rows
        texts.append(table(f"## {title}", rows))
        print(texts[-1], flush=True)  # noqa: T201
        found["seconds"] = round(time.perf_counter() - begin, 1)
        (options.out / "gpu.md").write_text("\n\n".join(texts) + "\n")
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    rows = [row for part in found["parts"].values() for row in part]
    said = [str(value) for row in rows for value in row.values()]
    return int(any(each == "NO" or each.startswith("failed") for each in said))


if __name__ == "__main__":
    sys.exit(main())
