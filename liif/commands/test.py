"""`liif test`: evaluate a model on a set of images at one scale."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from liif.commands import options as shared
from liif.commands.device import keep_freed_memory, select_device
from liif.core.config_file import load_config
from liif.core.distributed import joined
from liif.core.errors import UserError
from liif.core.files import to_json, write_atomically
from liif.core.outputs import check_outputs
from liif.core.parallel import background_map
from liif.core.progress import progress_bar
from liif.core.shipped import find_config
from liif.data.degradations.build import label
from liif.evaluation.config import TestConfig
from liif.evaluation.evaluate import Score, evaluate, mean
from liif.evaluation.protocols import get_protocol
from liif.hub.pretrained import load, resolve_checkpoint
from liif.images.channels import suffix_for, write_pixels
from liif.models.fastest import used_precision

KEYS = ("psnr", "psnr_rgb", "psnr_y", "ssim", "bicubic")
"""Fields of a Score that are written to result files."""


def run(options: argparse.Namespace) -> int:
    config = load_config(TestConfig, options.config, options.set)
    given = options.checkpoint or _configured_checkpoint(config, options.config)
    device = select_device(options.device)
    keep_freed_memory(device)
    inference = shared.inference_options(options)
    configs = shared.config_files(options.config)
    if options.output:
        check_outputs([options.output], configs, overwrite=True)  # others are not known yet
    checkpoint = resolve_checkpoint(given)
    model = load(checkpoint, device)
    pairs = config.open_pairs((model.channels.input, model.channels.output))
    pairs.warn_of_dropped_bits()
    suffix = suffix_for(pairs.forms[1])
    outputs: list[Path] = [options.output] if options.output else []
    if options.save_images:
        outputs += [options.save_images / f"{name}{suffix}" for name in pairs.names]
    inputs = [*pairs.hr, *(pairs.lr or []), checkpoint, *configs]
    check_outputs(outputs, inputs, overwrite=options.overwrite)
    protocol = get_protocol(config.protocol, config.scale)
    started = time.perf_counter()

    def save(score: Score) -> Score:
        if options.save_images and score.sr is not None:
            image = score.sr.permute(1, 2, 0).cpu().numpy()
            write_pixels(options.save_images / f"{score.name}{suffix}", image, pairs.forms[1])
        return score

    with joined(device) as team:
        found: list[Score] = []
        with progress_bar(total=len(pairs), unit="image") as bar:
            scores = evaluate(model, pairs, protocol, inference, team=team)
            for score in background_map(save, scores) if options.save_images else scores:
                found.append(score._replace(pair=None, sr=None))
                bar.update()
                if team.leads and not options.quiet:
                    bar.write(_score_line(score.name, [score]), sys.stdout)
        if not team.leads:
            return 0
    y, x = config.scale
    title = f"mean {config.set} x{y:g}" + ("" if y == x else f",{x:g}")
    print(f"{_score_line(title, found)}  protocol {config.protocol}")
    if options.output:
        result = {
            "set": config.set,
            "scale": y if y == x else [y, x],
            "protocol": config.protocol,
            **_averages(found),
            "images": [{"name": score.name, **_averages([score])} for score in found],
            "lr": config.published_lr or label(config.degradation),
            "degrade": None if config.published_lr else config.degradation.model_dump(mode="json"),
            "checkpoint": str(given),
            "precision": used_precision(device, inference.precision),
            "options": inference.non_default,
            "seconds": round(time.perf_counter() - started, 3),
        }
        write_atomically(options.output, (to_json(result, indent=1) + "\n").encode())
    return 0


def _averages(found: Sequence[Score]) -> dict[str, float]:
    return {key: mean([getattr(s, key) for s in found]) for key in KEYS}


def _score_line(name: str, found: Sequence[Score]) -> str:
    line = "{:24} PSNR {psnr:.4f} dB  SSIM {ssim:.4f}  bicubic {bicubic:.4f} dB"
    return line.format(name, **_averages(found))


def _configured_checkpoint(config: TestConfig, file: Path) -> Path:
    if config.checkpoint is None:
        raise UserError(f"{file}: checkpoint: not set; use --checkpoint FILE")
    path = Path(config.checkpoint).expanduser()
    if path.exists():
        return path
    training = file.parent / f"{path.parent.name}.yaml"
    if not training.exists():
        raise UserError(f"{file}: no checkpoint at {path}; use --checkpoint FILE for another")
    name = training.stem if find_config(Path(training.stem)) == training else training
    text = f"no checkpoint at {path}; train it with\n  liif train --config {name}"
    raise UserError(f"{text}\nor use --checkpoint FILE for another")
