"""LPIPS (Zhang et al., CVPR 2018), from its authors' package, the extra [metrics]."""

import contextlib
import importlib
import io
import warnings
from urllib.error import URLError

import torch
from torch import Tensor

from liif.core.errors import UserError
from liif.evaluation.evaluate import Perceptual
from liif.evaluation.protocols import ScoreProtocol


def lpips_score(device: torch.device) -> Perceptual:
    """LPIPS with AlexNet, version 0.1, of RGB without the protocol's border; lower is closer.

    Raises:
        UserError: the package or the network's weights, which it fetches once, are not there.
    """
    try:
        package = importlib.import_module("lpips")
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision's older ways, which it uses
            network = package.LPIPS(net="alex", verbose=False).to(device).eval()
    except ImportError:
        raise UserError('--lpips needs a further package: pip install "liif[metrics]"') from None
    except (URLError, OSError) as error:
        raise UserError(f"--lpips: the weights of AlexNet cannot be fetched: {error}") from None

    @torch.inference_mode()
    def score(sr: Tensor, hr: Tensor, protocol: ScoreProtocol) -> float:
        a, b = (protocol.crop(image)[None] * 2 - 1 for image in (sr.to(device), hr.to(device)))
        return network(a, b).item()

    return score
