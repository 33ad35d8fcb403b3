"""Metrics of the package pyiqa by its own names: LPIPS, DISTS, NIQE, MUSIQ and a hundred more."""

import difflib
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from liif.core.errors import UserError
from liif.models.precision import precision_context

QualityScores = dict[str, float]
"""Scores of one image, by the names of the metrics."""


class Quality(NamedTuple):
    """A metric of pyiqa. It compares all channels of whole images on PyTorch's threads, which are
    those of all cores, or on the device it was made for."""

    name: str
    needs_reference: bool
    lower_is_better: bool
    network: Callable[..., Any]
    device: torch.device

    @torch.inference_mode()
    def score(self, sr: Tensor, hr: Tensor | None = None) -> float:
        """Return the score of an image (C, H, W) in [0, 1], in float32 without TF32. Gray images
        are scored as RGB. Raises ValueError if pyiqa cannot score the image, e.g. a small one, or
        if the metric compares with a true image, and there is none."""
        if self.needs_reference and hr is None:
            raise ValueError(f"{self.name} compares with a true image")
        images = [sr, hr] if self.needs_reference and hr is not None else [sr]
        if any(len(each) not in (1, 3) for each in images):
            raise ValueError(f"{self.name} of pyiqa scores gray and RGB images")
        batches = [each.float().expand(3, -1, -1)[None].to(self.device) for each in images]
        with precision_context(self.device, "float32"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return float(self.network(*batches))
            except torch.OutOfMemoryError:
                raise
            # Each metric has errors of its own for an image that it does not take.
            except Exception as error:
                size = f"{sr.shape[1]}×{sr.shape[2]} px"
                raise ValueError(f"{self.name} of pyiqa fails on {size}: {_line(error)}") from None


def quality_metrics(
    names: Sequence[str], device: torch.device, option: str = "--metric"
) -> list[Quality]:
    """Return metrics by pyiqa's names, ready: their weights are downloaded here, if they have any.

    Raises UserError, which names the option, if pyiqa is not installed or cannot be imported, has
    no metric of a name, or cannot set one up.
    """
    if not names:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            package = importlib.import_module("pyiqa")
        except ModuleNotFoundError as error:
            if error.name != "pyiqa":
                raise UserError(f"{option}: pyiqa cannot be imported: {error}") from None
            text = f'{option} {names[0]} needs the package pyiqa: pip install "liif[iqa]"'
            raise UserError(text) from None
        except Exception as error:  # of one of its many dependencies
            raise UserError(f"{option}: pyiqa cannot be imported: {_line(error)}") from None
        known = list(package.list_models())
        for name in names:  # before any download
            if name not in known:
                close = difflib.get_close_matches(name, known, n=3)
                hint = f"; did you mean {' or '.join(close)}?" if close else ""
                raise UserError(f"{option} {name}: not among pyiqa's {len(known)} metrics{hint}")
        return [_quality(package, name, device, option) for name in dict.fromkeys(names)]


def _quality(package: Any, name: str, device: torch.device, option: str) -> Quality:  # noqa: ANN401
    try:
        network = package.create_metric(name, device=device)
    # Weights come from several hosts, by libraries with exceptions of their own.
    except Exception as error:
        reason = f"pyiqa cannot set it up, which downloads its weights: {_line(error)}"
        raise UserError(f"{option} {name}: {reason}") from None
    needs_reference = str(network.metric_mode) == "FR"
    return Quality(name, needs_reference, bool(network.lower_better), network, device)


def _line(error: Exception) -> str:
    """Return the first line of an error, or its kind."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
