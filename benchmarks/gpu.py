"""Check and measure one GPU, or two, with one command, and pack all of it into one archive.

python benchmarks/gpu.py [--quick] [--seconds 600] [--parts checks decoding]

The results of the fast paths are checked first: a figure of a wrong result is worth nothing. Then
speed and memory are measured beside the published formulation, in the same run. A part that fails
or is skipped says so in its table, and the others continue; the files are written after every part.
The folder --out gets report.md, report.json with the same figures for programs, log.txt with all
warnings and pytest.txt with the output of the tests. The archive is that folder's name with .zip:
the one file to send back.
The exit status is 1 if a part or a check failed.
"""

import argparse
import json
import logging
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_checks import checks, tests
from gpu_decoding import decoding, launches, light_decoding, memory
from gpu_machine import environment, yardstick
from gpu_setup import Setup, TableRow, models
from gpu_training import compiled_training, data, training, whole_runs
from measure import table

PARTS: dict[str, tuple[str, Callable[[Setup], list[TableRow]]]] = {
    "tests": ("Tests of the package on this device", tests),
    "checks": ("Right?", checks),
    "decoding": ("Decoding", decoding),
    "light": ("Decoding with light decoders", light_decoding),
    "launches": ("Launch configurations of the decoder's kernel", launches),
    "memory": ("Memory of large images", memory),
    "data": ("Data", data),
    "training": ("Training steps", training),
    "compiled": ("Training steps, compiled", compiled_training),
    "runs": ("Whole trainings by `liif train`", whole_runs),
}
QUICK_S, WHOLE_S = 120, 600
"""Seconds from the start after which no part and no row begins."""


def main() -> int:
    options = arguments()
    device, begin = torch.device(options.device), time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    record_warnings(options.out / "log.txt")

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - begin:6.1f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    report = Report(options.out, environment(device))
    if device.type != "cuda":
        report.note("**No GPU: this shows only that the script runs. Figures are a CPU's.**")
        say("no GPU is measured: this only shows that the script runs")
    say("yardstick: large matrix products")
    peaks, rows = yardstick(device)
    report.add("yardstick", "Yardstick: large matrix products", rows)
    setup = Setup(
        device=device,
        models=models(device, options.checkpoint),
        peaks=peaks,
        quick=options.quick,
        side=options.side,
        batch=options.batch,
        out=options.out,
        deadline=begin + options.seconds,
        say=say,
    )
    for name in options.parts:
        title, part = PARTS[name]
        say(title)
        begun = time.perf_counter()
        try:
            rows = part(setup) if setup.left() > 0 else [{"": "skipped: out of time"}]
        except Exception as error:
            logging.exception("part %s", name)
            rows = [{"": f"failed: {type(error).__name__}: {error}"[:300]}]
        report.add(name, title, rows, time.perf_counter() - begun)
    archive = report.write()
    say(f"done: {'something FAILED' if report.has_failed() else 'all right'}; send {archive}")
    return int(report.has_failed())


def arguments() -> argparse.Namespace:
    """Return the options; ends with a message if there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="default: cuda; cpu shows that it runs")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="folder, and archive")
    help_text = "of EDSR-baseline-LIIF; default: edsr-liif if it was downloaded"
    parser.add_argument("--checkpoint", type=Path, help=help_text)
    parser.add_argument("--quick", action="store_true", help="two minutes: fewer rows and rounds")
    parser.add_argument("--seconds", type=float, help="time limit; default: 600, --quick 120")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--side", type=int, default=2040, help="width of the enlarged images")
    parser.add_argument("--batch", type=int, default=16, help="samples of a training step")
    options = parser.parse_args()
    if options.out.exists() and not (options.out / "log.txt").is_file():
        parser.error(f"--out {options.out}: exists, and is no earlier report; choose another name")
    archive = options.out.with_name(options.out.name + ".zip")
    if archive.exists() and not options.out.exists():
        parser.error(f"{archive}: exists already; move it away, or choose another --out")
    options.seconds = options.seconds or (QUICK_S if options.quick else WHOLE_S)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            f"--device {options.device}: PyTorch {torch.__version__} finds no CUDA device here, so "
            "there is nothing to measure; --device cpu --quick --side 60 shows that the script runs"
        )
    return options


def record_warnings(path: Path) -> None:
    """Write all warnings of Python and of the package's log to a file, too."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    warnings.simplefilter("default")


class Report:
    """The tables found so far, and the files that hold them."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.begin = folder, time.perf_counter()
        self.found: dict[str, Any] = {"environment": environment, "parts": {}}
        rows = [{"": name, "value": value} for name, value in environment.items()]
        self.texts = [table(f"# {environment.get('GPU', 'No GPU')}", rows)]

    def note(self, text: str) -> None:
        self.texts.append(text)

    def add(self, name: str, title: str, rows: list[TableRow], seconds: float = 0.0) -> None:
        """Add a table, print it and write the files."""
        self.found["parts"][name] = {"title": title, "seconds": round(seconds, 1), "rows": rows}
        self.texts.append(table(f"## {title}", rows))
        print(self.texts[-1], "\n", flush=True)  # noqa: T201
        self.write()

    def has_failed(self) -> bool:
        rows = [row for part in self.found["parts"].values() for row in part["rows"]]
        values = [str(value) for row in rows for value in row.values()]
        return any(each == "NO" or each.startswith("failed") for each in values)

    def write(self) -> Path:
        """Write the files and return the archive's path."""
        self.found["seconds"] = round(time.perf_counter() - self.begin, 1)
        log = self.folder / "log.txt"
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if "WARNING" in line]
        unique = list(dict.fromkeys(line.split(" WARNING ", 1)[-1][:300] for line in lines))
        self.found["warnings"] = unique
        ending = ["## Warnings\n", *(f"- {line}" for line in unique[:50] or ["none"])]
        text = "\n\n".join([*self.texts, "\n".join(ending)])
        (self.folder / "report.md").write_text(text + "\n", encoding="utf-8")
        content = json.dumps(self.found, indent=1)
        (self.folder / "report.json").write_text(content + "\n", encoding="utf-8")
        archive = self.folder.with_name(self.folder.name + ".zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(self.folder.iterdir()):
                if path.is_file():
                    packed.write(path, f"{self.folder.name}/{path.name}")
        return archive


if __name__ == "__main__":
    sys.exit(main())
