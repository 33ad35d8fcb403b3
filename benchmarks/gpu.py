"""Check and measure one GPU in ten minutes; `gpu.sh` runs this file.

python benchmarks/gpu.py [--out FOLDER] [--device cpu --quick]

It first checks the results of the fast paths, then measures their speed beside the published
formulation in the same run. A part that fails or is skipped says so in its table and the others
continue; files are written after every part. The exit status is 1 if a part or a check failed.
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
from gpu_parts import Setup, TableRow, checks, cuts, decoding, samples, training
from measure import machine, matrix_rate, paper_model, table

from liif.hub.catalog import find_model
from liif.models.build import ModelConfig, build_model
from liif.models.checkpoint import load_checkpoint

TINY = {
    "encoder": {"name": "edsr-baseline", "blocks": 1, "width": 8},
    "decoder": {"name": "liif", "hidden": [16, 16]},
}
PARTS: dict[str, Callable[[Setup], list[TableRow]]] = {
    "Right?": checks,
    "Decoding": decoding,
    "Launch configurations of the kernel": cuts,
    "Data": samples,
    "Training": lambda setup: training(setup, "published", "float32", "bf16", "bf16, Muon"),
    "Training, compiled": lambda setup: training(setup, "bf16 compiled", "bf16 max-autotune"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of gpu.md and gpu.json")
    help_text = "default: edsr-liif if it was downloaded, else random weights"
    parser.add_argument("--checkpoint", type=Path, help=help_text)
    parser.add_argument("--quick", action="store_true", help="use tiny sizes, as a smoke test")
    options = parser.parse_args()
    device, begin = torch.device(options.device), time.perf_counter()
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: there is no CUDA device here")
    catalogued = find_model("edsr-liif")
    official = catalogued.path if catalogued and catalogued.path.is_file() else None
    checkpoint = None if options.quick else options.checkpoint or official
    if checkpoint is not None:
        model = load_checkpoint(checkpoint, device)
    else:
        model = build_model(ModelConfig.model_validate(TINY)) if options.quick else paper_model()
        model = model.to(device).eval()
    plain = copy.deepcopy(model)
    plain.decoder.fuse = False  # pyright: ignore
    kinds = {"float32": torch.float32, "bf16": torch.bfloat16}
    row_counts = (512,) if options.quick else (4096, 16384, 65536)
    rates = {name: matrix_rate(device, kind, row_counts) for name, kind in kinds.items()}
    setup = Setup(
        *(device, model, plain, checkpoint is not None, official),
        side=60 if options.quick else 2040,
        batch=1 if options.quick else 16,
        rounds=1 if options.quick else 10,
        rates=rates,
        begin=begin,
    )
    summary = ", ".join(f"{rate / 1e12:.4g} TFLOP/s in {name}" for name, rate in rates.items())
    texts = [f"# {machine(device)}\n\nProducts of the decoder's shape: {summary}."]
    if device.type != "cuda":
        texts[0] += " There is no GPU: parts that need one are skipped."
    found: dict[str, Any] = {"machine": machine(device), "flop_per_s": rates, "parts": {}}
    options.out.mkdir(parents=True, exist_ok=True)
    for title, part in PARTS.items():
        try:
            rows = part(setup)
        except Exception as error:
            rows = [{"": f"failed: {type(error).__name__}: {error}"}]
        found["parts"][title] = rows
        texts.append(table(f"## {title}", rows))
        print(texts[-1], flush=True)  # noqa: T201
        found["seconds"] = round(time.perf_counter() - begin, 1)
        (options.out / "gpu.md").write_text("\n\n".join(texts) + "\n")
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    rows = [row for part in found["parts"].values() for row in part]
    values = [str(value) for row in rows for value in row.values()]
    return int(any(each == "NO" or each.startswith("failed") for each in values))


if __name__ == "__main__":
    sys.exit(main())
