"""The catalog of trained models: what each one is, and where its file comes from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from liif.models.build import ModelConfig

DEFAULT = "lite"
SHIPPED = Path(__file__).parent.parent / "weights"
"""Folder of the models that are part of the package."""


@dataclass(frozen=True)
class Pretrained:
    """A trained model with a name."""

    name: str
    title: str
    config: Mapping[str, object]
    """The section `model` of a configuration."""
    file: str
    """Name of its file, see `path`."""
    licence: str
    data: str
    """Training data."""
    scores: str = "not recorded"
    """Measured with this package unless stated otherwise."""
    is_shipped: bool = False
    urls: tuple[str, ...] = ()
    """Mirrors in the order in which they are tried; none for a model without a known checksum."""
    size: int | None = None
    checksum: str | None = None
    """sha256:…"""
    by_hand: str = ""
    """Instructions for a manual download, where there are no mirrors or they fail."""
    aliases: tuple[str, ...] = ()

    @property
    def model(self) -> "ModelConfig":
        """The validated configuration. Imports PyTorch, which a list of models does not need."""
        from liif.models.build import ModelConfig

        return ModelConfig.model_validate(self.config)

    @property
    def path(self) -> Path:
        """Where the file is, or will be downloaded to."""
        return (SHIPPED if self.is_shipped else models_folder()) / self.file


def _config(encoder: Mapping[str, object], hidden: int, layers: int) -> Mapping[str, object]:
    return {"encoder": encoder, "decoder": {"name": "liif", "hidden": [hidden] * layers}}


_OFFICIAL = "BSD-3-Clause (github.com/yinboc/liif); DIV2K is for academic research only"
_DIV2K = "DIV2K, 800 photographs; clean pictures reduced by bicubic, x1 to x4"
_LITE = {
    "encoder": {"name": "edsr-baseline", "blocks": 9, "width": 48},
    "decoder": {"name": "fourier", "waves": 2, "kernel": "bicubic", "head": 1},
}

MODELS = (
    Pretrained(
        name="lite",
        title="for clean pictures: EDSR of 9 blocks, 48 channels; 25 waves a code, added to the "
        "bicubic image",
        config=_LITE,
        file="lite.safetensors",
        licence="BSD-3-Clause, as this package; BSDS500 is for research and education",
        data="50 photographs of 2040 px and 399 training images of BSDS500; clean pictures "
        "reduced by bicubic, x1 to x4",
        scores="Set5 (luma) x2 37.52, x3 33.95, x4 31.70 dB",
        is_shipped=True,
    ),
    Pretrained(
        name="lite-photo",
        title="for pictures from phones and the web: lite, trained on blurred, noisy and "
        "compressed pictures",
        config=_LITE,
        file="lite-photo.safetensors",
        licence="BSD-3-Clause, as this package; BSDS500 is for research and education",
        data="the pictures of lite, blurred, resized, noisy and compressed at random, x1 to x4",
        scores="five photographs degraded as in Real-ESRGAN (RGB) x2 26.63, x4 25.60 dB",
        is_shipped=True,
    ),
    Pretrained(
        name="edsr-light",
        title="light LIIF: EDSR of 16 blocks, 48 channels, and a decoder of 3 layers, 128 wide",
        config=_config({"name": "edsr-baseline", "width": 48}, 128, 3),
        file="edsr-light.safetensors",
        licence="BSD-3-Clause, as this package; BSDS500 is for research and education",
        data="50 photographs of 2040 px and the 400 training images of BSDS500; clean pictures "
        "reduced by bicubic, x1 to x4",
        scores="Set5 (luma) x2 37.31, x3 33.51, x4 31.30 dB",
        is_shipped=True,
    ),
    Pretrained(
        name="edsr-liif",
        title="the authors' EDSR-baseline-LIIF: 16 blocks, 64 channels; 4 layers, 256 wide",
        config=_config({"name": "edsr-baseline"}, 256, 4),
        file="edsr-baseline-liif.pth",
        licence=_OFFICIAL,
        data=_DIV2K,
        scores="Set5 (luma) x2 37.99, x3 34.40, x4 32.24 dB",
        # The links of the authors' README, as direct downloads.
        urls=(
            "https://www.dropbox.com/s/6f402wcn4v83w2v/edsr-baseline-liif.pth?dl=1",
            "https://drive.usercontent.google.com/download"
            "?id=1wBHSrgPLOHL_QVhPAIAcDC30KSJLf67x&export=download&confirm=t",
        ),
        size=18_890_445,
        checksum="sha256:1cf77e16f33ee17bd04049f497eaea1e06f25585dbb1919e4c7cd1d9d4d23d57",
        by_hand="its links are in the README of https://github.com/yinboc/liif",
        aliases=("edsr-baseline-liif",),
    ),
    Pretrained(
        name="rdn-liif",
        title="the authors' RDN-LIIF: RDN of 16 blocks, 64 channels; 4 layers, 256 wide",
        config=_config({"name": "rdn"}, 256, 4),
        file="rdn-liif.pth",
        licence=_OFFICIAL,
        data=_DIV2K,
        scores="Set5 (luma) x2 38.17, x3 34.68, x4 32.50 dB, as published, not measured here",
        by_hand="manual download required (no verified checksum); the authors' links to it "
        "(256 MB) are in the README of https://github.com/yinboc/liif",
    ),
)


def models_folder() -> Path:
    """Return the folder of downloaded models: $LIIF_MODELS, else liif/models under $XDG_DATA_HOME
    or ~/.local/share."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    folder = os.environ.get("LIIF_MODELS") or f"{data}/liif/models"
    return Path(os.path.expanduser(folder))


def find_model(name: str) -> Pretrained | None:
    """Return the model with that name or alias, or None."""
    name = name.lower().replace("_", "-")
    return next((each for each in MODELS if name in (each.name, *each.aliases)), None)


def list_models() -> list[str]:
    """Return the names of the trained models that `liif.load` knows, the default first."""
    return [each.name for each in MODELS]


def model_names() -> str:
    """Return all names, separated by commas, for messages."""
    return ", ".join(each.name for each in MODELS)
