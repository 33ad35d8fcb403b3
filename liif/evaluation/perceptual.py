"""LPIPS (Zhang et al., CVPR 2018) by its authors' package, which the extra [metrics] installs."""

import contextlib
import importlib
import io
import warnings

import torch
from torch import Tensor

from liif.core.errors import UserError
from liif.evaluation.evaluate import Perceptual
from liif.evaluation.protocols import ScoreProtocol
from liif.models.precision import precision_context

SMALLEST = 31
"""Side in pixels below which AlexNet's pooling layers leave nothing of an image."""


def lpips_score(device: torch.device, option: str = "--lpips") -> Perceptual:
    """Return a function that scores with LPIPS 0.1 and AlexNet; lower is more similar.

    It compares the RGB images without the protocol's border, in float32 without TF32. Raises
    UserError, which names the option or key that asked for LPIPS, if the package is not installed,
    or its weights cannot be downloaded.
    """
    try:
        package = importlib.import_module("lpips")
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips calls deprecated torchvision functions
            network = package.LPIPS(net="alex", verbose=False).to(device).eval()
    except ImportError:
        raise UserError(f'{option} needs the package lpips: pip install "liif[metrics]"') from None
    except OSError as error:
        raise UserError(f"{option}: cannot download the weights of AlexNet: {error}") from None

    @torch.inference_mode()
    def score(sr: Tensor, hr: Tensor, protocol: ScoreProtocol) -> float:
        a, b = (protocol.crop(image)[None] * 2 - 1 for image in (sr.to(device), hr.to(device)))
        with precision_context(device, "float32"):
            return network(a, b).item()

    return score
